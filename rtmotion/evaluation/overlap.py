"""How well two segmentations of a structure agree, in overlap, surface distance and place."""

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


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface of a mask: the centres of its border voxels, ready for looking up the nearest of them.

    Attributes:
        voxels: Their numbers in the volume, increasing, shape (n,).
        points: Along z, y, x of the index, mm from the first voxel, shape (n, 3).
        tree: The same points as a `scipy.spatial.KDTree`.
    """

    voxels: Array
    points: Array
    tree: Any


def surface(mask: AnyVolume, grid: Grid) -> Surface | None:
    """The surface of a mask: its voxels that touch a voxel outside by a face; None for an empty mask.

    The volume ends with its border: a mask that reaches it has a surface there.
    """
    from scipy.ndimage import binary_erosion
    from scipy.spatial import KDTree

    whole: Array = mask.detach().cpu().numpy() > 0
    box = mask_box(whole)
    if box is None:
        return None
    inside = whole[box]
    border = np.argwhere(inside & ~binary_erosion(inside)) + [s.start for s in box]
    points = border * np.asarray(grid.spacing[::-1])
    return Surface(np.ravel_multi_index(tuple(border.T), whole.shape), points, KDTree(points, leafsize=32))


def surface_distance(predicted: AnyVolume, truth: AnyVolume, grid: Grid) -> SurfaceDistance | None:
    """95 % Hausdorff distance and mean distance to agreement of two masks on one grid; None where one is empty.

    Surfaces are voxel centres at the border of a mask, as MONAI takes them.
    """
    _pair(predicted, truth)
    a, b = surface(predicted, grid), surface(truth, grid)
    return None if a is None or b is None else distance_of_surfaces(a, b)


def distance_of_surfaces(predicted: Surface, truth: Surface) -> SurfaceDistance:
    """95 % Hausdorff distance and mean distance to agreement of two surfaces of masks on one grid."""
    there, back = _distances(predicted, truth), _distances(truth, predicted)
    hd95 = max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))
    return SurfaceDistance(hd95, float(np.concatenate([there, back]).mean()))


def _distances(surface: Surface, other: Surface) -> Array:
    """The distance of each point of a surface from the other one, mm."""
    place = np.searchsorted(other.voxels, surface.voxels).clip(max=len(other.voxels) - 1)
    away = other.voxels[place] != surface.voxels  # what both have need not be looked up
    found = np.zeros(len(surface.voxels))
    found[away] = other.tree.query(surface.points[away])[0]
    return found


@dataclass(frozen=True)
class CentroidError:
    """Distance of two centroids, mm: in space, and along superior-inferior, anterior-posterior and left-right."""

    total: float
    si: float
    ap: float
    lr: float


def centroid(mask: AnyVolume, grid: Grid) -> Points:
    """The mean world position (LPS, mm) of a mask's voxels, float64, shape (3,).

    Raises:
        GeometryError: If the mask is empty.
    """
    import torch

    inside: Array = mask.detach().cpu().numpy() > 0
    total = int(np.count_nonzero(inside))
    if not total:
        raise GeometryError("an empty mask has no centroid")
    # voxels a plane, then planes: what a list of all voxels would give, without the list
    planes = [np.count_nonzero(inside, axis=axes) for axes in ((0, 1), (0, 2), (1, 2))]
    index = [float(counts @ np.arange(len(counts))) / total for counts in planes]
    return grid.index_to_world(torch.tensor([index], dtype=torch.float64))[0]


def centroid_error(predicted: Points, truth: Points) -> CentroidError:
    """How far a predicted centroid (`centroid`, LPS mm, shape (3,)) lies from the true one; absolute values, mm."""
    lr, ap, si = (predicted - truth).tolist()
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
