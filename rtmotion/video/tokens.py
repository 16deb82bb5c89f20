"""What goes into the video network and what comes out, on the working grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rtmotion.cycle.waveforms import Array
from rtmotion.field import exp, warp
from rtmotion.grid import Grid
from rtmotion.types import VectorStack

WORKING_SPACING_MM = 8.0
"""Isotropic spacing of the working grid."""

HARMONICS = 3
VELOCITY_UNIT_MM = 10.0
CHANGE_UNIT_MM = 4.0
"""Of velocities, and of how far they are from the last observed one."""

TOKEN_CHANNELS = 5
"""Two windows of the image and the motion."""

FACTS = 2 * HARMONICS + 3
"""What is said of a whole phase: its place in the cycle, what kind of token it is, the motion model's doubt."""


def box(shape: Sequence[int]) -> Grid:
    """A working grid of that shape (..., z, y, x), wherever it lies."""
    return Grid((shape[-1], shape[-2], shape[-3]), (WORKING_SPACING_MM,) * 3)


class Scene(NamedTuple):
    """What a rollout starts from, on the working grid.

    A named tuple, as what goes through Lightning Fabric must be.

    Attributes:
        images: Observed phases, HU, shape (k, z, y, x).
        velocities: Theirs to the reference, mm, LPS, shape (k, 3, z, y, x).
        angles: Fractions of the cycle from the reference to each observed phase, shape (k,).
        reference: Index of the reference.
        proposals: The motion model's velocities of the targets, in the order of time, mm, LPS, shape (m, 3, z, y, x).
        target_angles: Fractions of the cycle from the reference to each target, shape (m,).
        doubts: Standard deviation of the first mode's coefficient in units of its observed range, shape (m,).
        amplitude: A recorded waveform at the observed phases and then the targets, any unit, shape (k + m,), or None.
    """

    images: Tensor
    velocities: VectorStack
    angles: Array
    reference: int
    proposals: VectorStack
    target_angles: Array
    doubts: Array
    amplitude: Array | None = None

    @property
    def grid(self) -> Grid:
        """A grid of the working grid's spacing; nothing here depends on where it lies."""
        return box(self.images.shape)


@dataclass(frozen=True, eq=False)
class Token:
    """A phase as the network sees it.

    Attributes:
        fields: Image and motion, see `token_fields`, shape (5, z, y, x).
        facts: See `token_facts`, shape (FACTS,).
    """

    fields: Tensor
    facts: Tensor


class Correction(NamedTuple):
    """What the network adds to a proposal; all on the working grid.

    Attributes:
        weights: Change of the weight of each phase before, shape (n, z, y, x).
        residual: Residual velocity, mm, LPS, shape (3, z, y, x).
        log_scale: Logarithm of the expected length of the error that is left, log mm, shape (z, y, x).
    """

    weights: Tensor
    residual: Tensor
    log_scale: Tensor

    def applied(self, proposal: Tensor, velocities: Tensor) -> Tensor:
        """The corrected velocity, shape (3, z, y, x).

        Args:
            proposal: The motion model's, mm, LPS, shape (3, z, y, x).
            velocities: Those of the phases before, shape (n, 3, z, y, x).
        """
        # no einsum: under autocast it would be done in half precision
        return proposal + (self.weights.float()[:, None] * velocities).sum(dim=0) + self.residual.float()


def token_fields(image: Tensor, velocity: Tensor, last: Tensor | None = None) -> Tensor:
    """Image and motion of a phase in the network's units.

    Args:
        image: HU, shape (z, y, x).
        velocity: To the reference, mm, LPS, shape (3, z, y, x).
        last: That of the last observed phase, where the motion since then is wanted.
    """
    lung = (image.clamp(-1000, -500) + 750) / 250
    soft = (image.clamp(-500, 300) + 100) / 400
    motion = velocity / VELOCITY_UNIT_MM if last is None else (velocity - last) / CHANGE_UNIT_MM
    return torch.cat([torch.stack([lung, soft]), motion])


def token_facts(angle: float, *, observed: bool, target: bool, doubt: float = 0.0) -> Tensor:
    """What is said of a whole phase.

    Args:
        angle: Its fraction of the cycle after the reference phase.
        observed: Whether it was observed; a phase that was predicted before is neither observed nor the target.
        target: Whether it is the phase to predict.
        doubt: Standard deviation of the first mode's coefficient, in units of its observed range.
    """
    turns = 2 * torch.pi * angle * torch.arange(1, HARMONICS + 1)
    return torch.cat([turns.sin(), turns.cos(), torch.tensor([float(observed), float(target), min(doubt, 2.0)])])


def moved_image(still: Tensor, velocity: Tensor, grid: Grid) -> Tensor:
    """A phase that was not observed: the image of the reference, moved, HU.

    Args:
        still: HU, shape (z, y, x).
        velocity: Of the phase to the reference, mm, LPS, shape (3, z, y, x).
        grid: The working grid.
    """
    return warp(still, exp(velocity, grid), grid)


def corrected(scene: Scene, corrections: Sequence[Correction]) -> list[Tensor]:
    """The velocities of the targets that the corrections make, mm, LPS, shape (3, z, y, x) each."""
    velocities, found = scene.velocities, []
    for proposal, correction in zip(scene.proposals, corrections, strict=True):
        velocity = correction.applied(proposal, velocities)
        velocities = torch.cat([velocities, velocity.detach()[None]])
        found.append(velocity)
    return found
