"""How well two segmentations of a structure agree, in overlap, surface distance and place."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmotion.errors import GeometryError
from rtmotion.evaluation.intensity import mask_box
from rtmotion.grid import Grid
from rtmotion.types import AnyVolume, Points

Array = npt.NDArray[Any]


def dice(predicted: AnyVolume, truth: AnyVolume) -> float:
    """Dice similarity coefficient of two masks, 0 to 1; 1 where both are empty."""
    a, b = _pair(predicted, truth)
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 1.0


@dataclass(frozen=True)
class SurfaceDistance:
    """Distances between the surfaces of two masks, mm.

    Attributes:
        hd95: The larger of the two directed 95th percentiles.
        mda: Mean distance to agreement: the mean over the voxels of both surfaces.
    """

    hd95: float
    mda: float


def surface_distance(predicted: AnyVolume, truth: AnyVolume, grid: Grid) -> SurfaceDistance | None:
    """95 % Hausdorff distance and mean distance to agreement of two masks on one grid, by MONAI.

    Surfaces are voxel centres at the border of a mask. Returns None where one of the masks is empty.
    """
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_distance import compute_average_surface_distance

    a, b = _pair(predicted, truth)
    if not (a.any() and b.any()):
        return None
    # the rest of the volume changes nothing but the time; the margin keeps borders from the box's own
    box = mask_box(a | b, 2)
    if box is None:
        return None
    pair = [torch.from_numpy(np.pad(m[box], 1))[None, None].float() for m in (a, b)]
    spacing = grid.spacing[::-1]
    with warnings.catch_warnings():
        # MONAI 1.6 warns of an argument that it passes to itself
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        hd95 = compute_hausdorff_distance(*pair, include_background=True, percentile=95, spacing=spacing)
        mda = compute_average_surface_distance(*pair, include_background=True, symmetric=True, spacing=spacing)
    return SurfaceDistance(float(hd95), float(mda))


@dataclass(frozen=True)
class CentroidError:
    """Distance of two centroids, mm: in space, and along superior-inferior, anterior-posterior and left-right."""

    total: float
    si: float
    ap: float
    lr: float


def centroid(mask: AnyVolume, grid: Grid) -> Points:
    """The centre of mass of a mask, LPS mm, float64, shape (3,).

    Raises:
        GeometryError: If the mask is empty.
    """
    import torch

    where = torch.nonzero(mask.detach().cpu() > 0)
    if not len(where):
        raise GeometryError("an empty mask has no centroid")
    return grid.index_to_world(where.double().mean(dim=0).flip(0)[None])[0]


def centroid_error(predicted: AnyVolume, truth: AnyVolume, grid: Grid) -> CentroidError:
    """How far the centroid of the predicted mask lies from the true one; absolute values, mm."""
    lr, ap, si = (centroid(predicted, grid) - centroid(truth, grid)).tolist()
    return CentroidError(float(np.linalg.norm([lr, ap, si])), abs(si), abs(ap), abs(lr))


def range_of_motion(centroids: Sequence[Points]) -> CentroidError:
    """How far a centroid travels over the phases, mm: the largest distance of two of them, and the range an axis."""
    places: Array = np.stack([c.numpy() for c in centroids])
    total = max(float(np.linalg.norm(places - place, axis=1).max()) for place in places)
    lr, ap, si = np.ptp(places, axis=0).tolist()
    return CentroidError(total, si, ap, lr)


def range_of_motion_error(predicted: Sequence[Points], truth: Sequence[Points]) -> CentroidError:
    """Absolute difference of the ranges of motion of predicted and true centroids over the same phases, mm."""
    a, b = range_of_motion(predicted), range_of_motion(truth)
    return CentroidError(abs(a.total - b.total), abs(a.si - b.si), abs(a.ap - b.ap), abs(a.lr - b.lr))


def _pair(predicted: AnyVolume, truth: AnyVolume) -> tuple[Array, Array]:
    if predicted.shape != truth.shape:
        raise GeometryError(
            f"masks to compare must have one shape (z, y, x), got {tuple(predicted.shape)} and {tuple(truth.shape)}"
        )
    return predicted.detach().cpu().numpy() > 0, truth.detach().cpu().numpy() > 0
