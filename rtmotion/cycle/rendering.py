"""Predicted velocities made into volumes and displacement fields."""

from collections.abc import Iterable, Sequence

from rtmotion.cycle.appearance import AppearanceConfig, render
from rtmotion.cycle.observed import ObservedMotion, Progress
from rtmotion.cycle.waveforms import Array
from rtmotion.field import DisplacementField, VelocityField
from rtmotion.sequence import PhaseSequence, Volume
from rtmotion.types import VectorVolume


def render_targets(
    observed: PhaseSequence,
    motion: ObservedMotion,
    targets: Iterable[VectorVolume],
    shares: Sequence[Array],
    appearance: AppearanceConfig,
    progress: Progress | None = None,
) -> tuple[tuple[Volume, ...], tuple[DisplacementField, ...]]:
    """The predicted volumes and displacement fields, on the CPU.

    Args:
        observed: The observed phases.
        motion: Their motion.
        targets: The velocity of each target phase to the reference, mm, LPS, on `motion.grid`.
        shares: How much each observed phase counts in the image of each target, (k,) each.
        appearance: How the image is made.
        progress: Called with the stage's name, phases done and phases in all.
    """
    volumes: list[Volume] = []
    displacements: list[DisplacementField] = []
    if progress is not None:
        progress("predicting phases", 0, len(shares))
    for velocity, share in zip(targets, shares, strict=True):
        image = render(velocity, motion.velocities, motion.grid, observed.volumes, share, appearance)
        volumes.append(Volume(image.cpu(), observed.grid))
        displacements.append(VelocityField(velocity, motion.grid).displacement(observed.grid).to("cpu"))
        if progress is not None:
            progress("predicting phases", len(volumes), len(shares))
    return tuple(volumes), tuple(displacements)
