"""What the network sees: the observed phases and their motion on one coarse grid along the patient's axes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rtmotion.cycle.observed import ObservedMotion
from rtmotion.field import resample
from rtmotion.grid import Grid
from rtmotion.sequence import PhaseSequence
from rtmotion.types import VectorStack
from rtmotion.video.tokens import WORKING_SPACING_MM


@dataclass(frozen=True, eq=False)
class WorkingMotion:
    """The observed phases on the working grid.

    Attributes:
        images: HU, float32, shape (k, z, y, x).
        velocities: Each phase to the reference, mm, LPS, shape (k, 3, z, y, x).
        reference: Index of the reference among them.
        grid: The working grid.
    """

    images: Tensor
    velocities: VectorStack
    reference: int
    grid: Grid


def on_working_grid(observed: PhaseSequence, motion: ObservedMotion) -> WorkingMotion:
    """The observed phases and their velocities on the working grid of their volumes."""
    grid = observed.grid.along_patient_axes(WORKING_SPACING_MM)
    device = motion.velocities.device
    images = torch.stack([resample(v.hu.to(device), v.grid, grid) for v in observed.volumes])
    return WorkingMotion(images, resample(motion.velocities, motion.grid, grid), motion.reference, grid)
