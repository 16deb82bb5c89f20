"""Metrics of displacement fields: folding, compression, and smoothness in time. Fields in mm, LPS, fixed to moving."""

import numpy as np

from rtmotion.errors import GeometryError
from rtmotion.field import folds, jacobian_determinant
from rtmotion.grid import Grid
from rtmotion.types import MaskVolume, VectorStack, VectorVolume


def folding_percent(displacement: VectorVolume, grid: Grid, mask: MaskVolume | None = None) -> float:
    """Percentage of voxels at which the map folds, by ten finite differences; see `rtmotion.field.folds`.

    Args:
        displacement: mm, LPS, shape (3, z, y, x).
        grid: Its grid.
        mask: The voxels to count; None counts all.
    """
    folded = folds(displacement, grid)
    return 100.0 * float((folded if mask is None else folded[mask.to(folded.device)]).float().mean())


def sd_log_jacobian(displacement: VectorVolume, grid: Grid, mask: MaskVolume | None = None) -> float:
    """Standard deviation of the log of the Jacobian determinant (central differences) where it is positive.

    0 for a rigid motion; large where a field compresses and expands tissue at random.
    """
    determinant = jacobian_determinant(displacement, grid)
    values = determinant.flatten() if mask is None else determinant[mask.to(determinant.device)]
    positive = values[values > 0].double()
    return float(positive.log().std(correction=0)) if positive.numel() else float("nan")


def temporal_smoothness(displacements: VectorStack, mask: MaskVolume | None = None) -> float:
    """Mean over voxels and phases of `|u(t+1) - 2 u(t) + u(t-1)|`, mm.

    Args:
        displacements: mm, LPS, shape (n, 3, z, y, x), of evenly spaced successive phases.
        mask: The voxels to take the mean over; None takes all.

    Raises:
        GeometryError: If there are fewer than three phases.
    """
    if displacements.shape[0] < 3:
        raise GeometryError(f"smoothness in time needs three successive phases, got {displacements.shape[0]}")
    total = 0.0
    for before, now, after in zip(displacements, displacements[1:], displacements[2:], strict=False):
        total += _mean_length(after - 2.0 * now + before, mask)
    return total / (displacements.shape[0] - 2)


def closure(last: VectorVolume, first: VectorVolume, mask: MaskVolume | None = None) -> float:
    """Mean over voxels of `|u(first) - u(last)|`, mm: the step by which the cycle closes, T90 to T00.

    Both fields point to one reference; where the first phase is itself the reference its field is zero.
    """
    return _mean_length(first - last, mask)


def _mean_length(vectors: VectorVolume, mask: MaskVolume | None) -> float:
    length = vectors.float().square().sum(dim=0).sqrt()
    values = length if mask is None else length[mask.to(length.device)]
    return float(np.mean(values.cpu().double().numpy()))
