"""Test-time adaptation: how far the network is to be trusted on this patient, told by phases that were left out.

The last observed phases are left out and forecast from those before them, by the motion model and by the network.
What is adapted is how much of the network's correction is taken and how much of linear closure is mixed in: two
numbers, in closed form, drawn towards "all of it" and "none" as far as the left-out phases say little. They are kept
only where they forecast the left-out phases better.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PRIOR_MM = 0.7
"""Corrections of this length a phase that was left out count as much as the prior: the noise of a registration."""

TRUSTED = (0.0, 1.3)
MIXED = (0.0, 0.6)
"""Limits of the two numbers."""


@dataclass(frozen=True)
class Trust:
    """What is taken of the network's correction and of linear closure.

    Attributes:
        network: Share of the network's correction; 1 takes all of it, 0 leaves the motion model's forecast.
        closure: Share of the way from there to linear closure.
        before: Error at the left-out phases with the network as it is, mm (root mean square around the lung).
        after: The same with these shares.
        expected: What the network expected its error there to be, mm; 0 where nothing was left out.
        phases: Number of left-out phases.
    """

    network: float = 1.0
    closure: float = 0.0
    before: float = 0.0
    after: float = 0.0
    expected: float = 0.0
    phases: int = 0


@dataclass(frozen=True, eq=False)
class LeftOut:
    """A phase that was left out and forecast; all mm, LPS, shape (3, z, y, x).

    Attributes:
        observed: Its registered velocity.
        proposal: The motion model's.
        network: The network's.
        closure: Linear closure's.
        scale: The network's own expectation of its error, mm, shape (z, y, x).
    """

    observed: Tensor
    proposal: Tensor
    network: Tensor
    closure: Tensor
    scale: Tensor


def find_trust(left_out: Sequence[LeftOut], region: Tensor) -> Trust:
    """The shares that forecast the left-out phases best.

    Args:
        left_out: The phases.
        region: Where errors count, bool, shape (z, y, x).
    """
    if not left_out or not bool(region.any()):
        return Trust()
    correction = _columns([p.network - p.proposal for p in left_out], region)
    closing = _columns([p.closure - p.network for p in left_out], region)
    missing = _columns([p.observed - p.network for p in left_out], region)
    # missing = (network - 1) correction + closure · closing, with a prior that both are zero
    design = torch.stack([correction, closing], dim=1)
    prior = PRIOR_MM**2 * torch.eye(2, dtype=design.dtype, device=design.device)
    matrix = design.T @ design / int(region.sum()) + prior
    change = torch.linalg.solve(matrix, design.T @ missing / int(region.sum()))
    network = float(np.clip(1.0 + float(change[0]), *TRUSTED))
    closure = float(np.clip(float(change[1]), *MIXED))

    def error(network: float, closure: float) -> float:
        left = missing - (network - 1.0) * correction - closure * closing
        return float((left.square().sum() / (int(region.sum()) * len(left_out))).sqrt())

    before, after = error(1.0, 0.0), error(network, closure)
    expected = float(torch.stack([p.scale[region].square().mean() for p in left_out]).mean().sqrt())
    if after >= before:
        network, closure, after = 1.0, 0.0, before
    return Trust(network, closure, before, after, expected, len(left_out))


def _columns(fields: Sequence[Tensor], region: Tensor) -> Tensor:
    return torch.cat([f[:, region].flatten() for f in fields]).double()


def splits(count: int) -> list[int]:
    """How many phases are kept in each round: all but one and all but two, at least two."""
    return [k for k in (count - 1, count - 2) if k >= 2]
