"""Target registration error: how far from the truth a displacement field carries anatomical points."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rtmotion.errors import GeometryError
from rtmotion.field import DisplacementField, sample_at_index
from rtmotion.grid import Grid
from rtmotion.types import Points, ScalarVolume

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TargetError:
    """Distances over a set of landmarks, mm: their mean, standard deviation, median, 95th percentile and maximum.

    The standard deviation is that of the sample (n - 1), as DIR-Lab states it; 0 for one landmark.
    """

    mean: float
    sd: float
    median: float
    p95: float
    max: float
    count: int


def target_registration_errors(
    displacement: DisplacementField, fixed: Points, moving: Points, *, snap: Grid | None = None
) -> Tensor:
    """The distance of each mapped landmark from where it belongs.

    Args:
        displacement: Fixed to moving, mm, LPS: `x -> x + u(x)`.
        fixed: Landmarks of the fixed phase (for a forecast: the predicted one), LPS mm, shape (n, 3).
        moving: The same landmarks in the moving phase (for a forecast: its reference), LPS mm, shape (n, 3).
        snap: Where given, mapped points and their targets are rounded to the nearest voxel centre of this grid, as
            in DIR-Lab's protocol (whose targets are voxel centres); it forgives errors of less than half a voxel.

    Returns:
        mm, shape (n,).
    """
    return _lengths(target_registration_vectors(displacement, fixed, moving, snap=snap))


def target_registration_vectors(
    displacement: DisplacementField, fixed: Points, moving: Points, *, snap: Grid | None = None
) -> Points:
    """From where each landmark belongs to where it is carried, LPS mm, shape (n, 3): errors with their direction.

    Arguments are those of `target_registration_errors`.
    """
    _check(fixed, moving)
    mapped = displacement.transform_points(fixed.double())
    target = moving.double()
    if snap is not None:
        mapped, target = snap_to_voxels(mapped, snap), snap_to_voxels(target, snap)
    return mapped - target


def identity_errors(fixed: Points, moving: Points) -> Tensor:
    """The distance of each landmark between the two phases, mm, shape (n,): the error of doing nothing.

    Beside a TRE it shows that units, axes and direction are right: it depends on the landmarks alone.
    """
    _check(fixed, moving)
    return _lengths(fixed.double() - moving.double())


def snap_to_voxels(points: Points, grid: Grid) -> Points:
    """World points (LPS, mm) moved to the nearest voxel centre of the grid, shape (n, 3)."""
    return grid.index_to_world(grid.world_to_index(points).round())


def summarise(errors: Tensor) -> TargetError:
    """Mean, SD, median, 95th percentile and maximum of distances, mm; distances that are not finite are left out.

    Raises:
        GeometryError: If no distance is left.
    """
    values: Array = errors.detach().cpu().double().numpy()
    values = values[np.isfinite(values)]
    if not values.size:
        raise GeometryError("there are no landmarks that both phases have")
    sd = float(values.std(ddof=1)) if values.size > 1 else 0.0
    median, p95 = (float(v) for v in np.percentile(values, [50, 95]))
    return TargetError(float(values.mean()), sd, median, p95, float(values.max()), values.size)


def _lengths(vectors: Points) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return lengths


def _check(fixed: Points, moving: Points) -> None:
    if fixed.shape != moving.shape or fixed.ndim != 2 or fixed.shape[1] != 3:
        raise GeometryError(
            f"landmarks of two phases must be two (n, 3) tensors of the same points, got {tuple(fixed.shape)} and "
            f"{tuple(moving.shape)}"
        )


def sample_at_points(values: ScalarVolume, grid: Grid, points: Points) -> Tensor:
    """Values of a volume at world points (LPS, mm), interpolated linearly, shape (n,); border values go on outside."""
    index = grid.world_to_index(points.double())
    return sample_at_index(values[None].double(), index.T[:, None, None, :])[0, 0, 0]
