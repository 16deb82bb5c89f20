"""What the network sees: the observed phases and their motion on one coarse grid along the patient's axes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rtmotion.cycle.observed import ObservedMotion
from rtmotion.cycle.waveforms import Array
from rtmotion.field import resample
from rtmotion.grid import Grid
from rtmotion.sequence import PhaseSequence
from rtmotion.types import VectorBatch, VectorStack
from rtmotion.video.tokens import WORKING_SPACING_MM


@dataclass(frozen=True, eq=False)
class WorkingMotion:
    """The observed phases on the working grid.

    Attributes:
        images: HU, float32, shape (k, z, y, x).
        velocities: Each phase to the reference, mm, LPS, shape (k, 3, z, y, x).
        fractions: Of the cycle, shape (k,).
        reference: Index of the reference among them.
        grid: The working grid.
    """

    images: Tensor
    velocities: VectorStack
    fractions: Array
    reference: int
    grid: Grid


def working_grid(grid: Grid, spacing: float = WORKING_SPACING_MM) -> Grid:
    """The grid along the patient's axes (direction identity) that covers a volume of any direction.

    Args:
        grid: Of the volume.
        spacing: mm, the same along all axes.
    """
    ends = torch.tensor([(-0.5, n - 0.5) for n in grid.size], dtype=torch.float64)
    corners = grid.index_to_world(torch.cartesian_prod(*ends.unbind(0)))
    low, high = corners.min(dim=0).values, corners.max(dim=0).values
    # a volume that is a whole number of voxels long up to rounding is not given one more
    size = torch.ceil((high - low) / spacing - 1e-3).long().clamp_min(1)
    origin = (low + high) / 2 - (size - 1) * spacing / 2
    x, y, z = size.tolist()
    return Grid((x, y, z), (spacing, spacing, spacing), tuple(origin.tolist()))


def on_working_grid(observed: PhaseSequence, motion: ObservedMotion) -> WorkingMotion:
    """The observed phases and their velocities on the working grid of their volumes."""
    grid = working_grid(observed.grid)
    device = motion.velocities.device
    images = torch.stack([resample(v.hu.to(device), v.grid, grid) for v in observed.volumes])
    velocities = coarse(motion.velocities, motion.grid, grid)
    return WorkingMotion(images, velocities, np.asarray(observed.fractions), motion.reference, grid)


def coarse(fields: VectorBatch, grid: Grid, working: Grid) -> VectorBatch:
    """Fields (mm, LPS) on the working grid: smoothed where that is coarser."""
    return resample(fields, grid, working)
