"""The motion of the observed phases: their velocities to a reference phase, and what temporal models need of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from rtmotion.cycle.waveforms import Array
from rtmotion.field import VelocityField, log, resample
from rtmotion.grid import Grid
from rtmotion.registration import Registration, RegistrationEngine, register_sequence
from rtmotion.sequence import PhaseSequence
from rtmotion.types import MaskVolume, ScalarVolume, VectorStack, VectorVolume

AIR_HU = -950.0
LUNG_HU = -400.0
NEAR_LUNG_MM = 10.0
SMALLEST_LUNG = 0.02
"""Lung between AIR_HU and LUNG_HU counts as found from this share of the volume on."""

LOG_SPACING_MM = 4.0
"""Grid on which the logarithm of an engine's displacement is taken."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class ObservedMotion:
    """The motion of the observed phases.

    Attributes:
        velocities: Each observed phase to the reference, mm, LPS, shape (k, 3, z, y, x); zero for the reference.
        grid: Grid of the velocities.
        reference: Index of the reference among the observed phases.
        gram: Inner products of the velocities in and around the lung, mm² a voxel, shape (k, k).
        inhale: How far inhaled each phase is: the mean displacement to the reference in z, mm, shape (k,).
        region: Where the inner products were taken, on the grid of the velocities.
        seconds: Wall time of the registrations.
    """

    velocities: VectorStack
    grid: Grid
    reference: int
    gram: Array
    inhale: Array
    region: MaskVolume
    seconds: float

    def with_velocities(self, velocities: VectorStack) -> "ObservedMotion":
        """The same phases with other velocities, mm, LPS, shape (k, 3, z, y, x)."""
        gram, inhale = inner_products(velocities, self.region)
        return replace(self, velocities=velocities, gram=gram, inhale=inhale)

    def products(self, velocity: VectorVolume) -> Array:
        """Inner products of another velocity with those of the observed phases, mm² a voxel, shape (k,)."""
        flat = self.velocities[..., self.region].flatten(1).double()
        other = velocity[..., self.region].flatten().double()
        return np.asarray((flat @ other / max(int(self.region.sum()), 1)).cpu().numpy())


def observe_motion(
    observed: PhaseSequence, engine: RegistrationEngine, reference: int, progress: Progress | None = None
) -> ObservedMotion:
    """Registers every observed phase to one of them and measures the velocities' inner products."""
    done = None if progress is None else partial(progress, "registering observed phases")
    registrations = register_sequence(engine, observed, reference, done)
    fields = [_velocity(r) for r in registrations]
    grid = fields[0].grid
    velocities = torch.stack([f.data for f in fields])
    region = breathing_region(observed, grid, velocities.device)
    gram, inhale = inner_products(velocities, region)
    return ObservedMotion(velocities, grid, reference, gram, inhale, region, sum(r.seconds for r in registrations))


def _velocity(registration: Registration) -> VelocityField:
    """The velocity of a registration; for an engine that has none, the logarithm of its displacement."""
    if registration.velocity is not None:
        return registration.velocity
    field = registration.displacement
    coarse = field.grid.with_spacing(LOG_SPACING_MM, minimum=4)
    return VelocityField(log(resample(field.data, field.grid, coarse), coarse), coarse)


def breathing_region(observed: PhaseSequence, grid: Grid, device: torch.device) -> MaskVolume:
    """Where motion is measured, on the velocities' grid; see `near_lung`."""
    mean = torch.stack([resample(v.hu.to(device), v.grid, grid) for v in observed.volumes]).mean(0)
    return near_lung(mean, grid)


def near_lung(hu: ScalarVolume, grid: Grid) -> MaskVolume:
    """The lung and what lies within 10 mm of it.

    Elsewhere the fields follow noise in even tissue. Without lung in the volume, everything but air counts.
    """
    inside = hu > AIR_HU
    lung = (inside & (hu < LUNG_HU)).float()[None, None]
    reach = [2 * max(1, round(NEAR_LUNG_MM / s)) + 1 for s in reversed(grid.spacing)]
    near = torch.nn.functional.max_pool3d(lung, reach, 1, [r // 2 for r in reach])[0, 0] > 0
    return near & inside if float(lung.mean()) > SMALLEST_LUNG else inside


def inner_products(velocities: VectorStack, region: MaskVolume) -> tuple[Array, Array]:
    """What a temporal model needs of velocities to a reference.

    Args:
        velocities: mm, LPS, shape (k, 3, z, y, x).
        region: Where they count.

    Returns:
        Their inner products, mm² a voxel, shape (k, k), and how far inhaled each phase is, mm, shape (k,).
    """
    masked = velocities[..., region]  # (k, 3, n)
    flat = masked.reshape(len(velocities), -1).double()
    gram = (flat @ flat.T / max(int(region.sum()), 1)).cpu().numpy()
    # on inhale the anatomy goes down: a phase that must go up to reach the reference is inhaled further than that
    inhale = masked[:, 2].sum(dim=1).double() / max(int(region.sum()), 1)
    return gram, inhale.cpu().numpy()
