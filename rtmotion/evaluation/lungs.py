"""What the motion does to the lungs: the height of each dome of the diaphragm, and the volume."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rtmotion.errors import GeometryError
from rtmotion.evaluation.regions import LUNG_HU, slice_axis
from rtmotion.grid import Grid
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume

Array = npt.NDArray[Any]

ONE_LUNG_MM = 180.0
"""A connected lung mask that is wider than this from left to right holds both lungs."""

SECOND_LUNG = 0.2
"""A component smaller than this fraction of the largest is no second lung."""

RIM_MM = 15.0
"""Columns nearer than this to the border of a lung's footprint run along the chest wall or the heart."""

ENOUGH_COLUMNS = 9


def lung_volume_error(predicted: MaskVolume, truth: MaskVolume) -> float:
    """Volume of the predicted lung minus that of the true one, % of the true one; masks on one grid.

    Raises:
        GeometryError: If the true lung is empty.
    """
    voxels = int(truth.sum())
    if not voxels:
        raise GeometryError("the true lung is empty")
    return 100.0 * (int(predicted.sum()) - voxels) / voxels


def split_lungs(lung: MaskVolume, grid: Grid) -> dict[str, MaskVolume]:
    """The lung mask of each side.

    Returns:
        `left` and `right` (the patient's), or `lung` where there is one lung only (a crop); empty for an empty mask.
    """
    from scipy import ndimage

    mask: Array = lung.cpu().numpy()
    labels, count = ndimage.label(mask)
    if not count:
        return {}
    sizes = np.bincount(labels.ravel())[1:]
    order = np.argsort(-sizes)
    if count > 1 and sizes[order[1]] >= SECOND_LUNG * sizes[order[0]]:
        parts = [labels == order[0] + 1, labels == order[1] + 1]
    else:
        whole = np.asarray(labels == order[0] + 1)
        cut = _middle(whole, grid)
        if cut is None:
            return {"lung": torch.from_numpy(whole)}
        axis, at = cut
        first = np.zeros_like(whole)
        index = [slice(None)] * 3
        index[axis] = slice(0, at)
        first[tuple(index)] = whole[tuple(index)]
        parts = [first, whole & ~first]
    # LPS: the patient's left has the larger x
    parts.sort(key=lambda part: _mean_x(part, grid))
    return {"right": torch.from_numpy(parts[0].copy()), "left": torch.from_numpy(parts[1].copy())}


def dome_columns(lung: MaskVolume, grid: Grid) -> MaskVolume:
    """The columns (along the axis nearest to superior-inferior) through the dome under one lung.

    Columns well inside the lung's footprint, whose lowest lung voxel lies on tissue, not on the border of the volume.

    Returns:
        Bool, the shape of a slice: that of the mask without the axis of `slice_axis`. All False where there are none.
    """
    from scipy import ndimage

    upright, step = _upright(lung.cpu().numpy(), grid)
    footprint = upright.any(axis=0)
    depth = ndimage.distance_transform_edt(np.pad(footprint, 1), sampling=_slice_spacing(grid))[1:-1, 1:-1]
    standing = footprint & ~upright[0]
    rim = RIM_MM
    columns = standing & (depth > rim)
    while int(columns.sum()) < ENOUGH_COLUMNS and rim > min(step, RIM_MM) / 2:
        rim /= 2
        columns = standing & (depth > rim)
    return torch.from_numpy(columns)


def dome_heights(volume: Volume, lung: MaskVolume, columns: MaskVolume) -> Array:
    """The SI position of the floor of a lung in each column, mm, float64, shape (columns,); NaN without lung.

    The height is where HU cross -400 below the lowest lung voxel, interpolated between the voxels.
    """
    upright, step = _upright(lung.cpu().numpy(), volume.grid)
    hu, _ = _upright(volume.data.detach().cpu().numpy(), volume.grid)
    where: Array = columns.cpu().numpy()
    lung_columns, hu_columns = upright[:, where], hu[:, where].astype(np.float64)
    lowest = lung_columns.argmax(axis=0)
    at = np.arange(lowest.size)
    above, below = hu_columns[lowest, at], hu_columns[np.maximum(lowest - 1, 0), at]
    rise = np.where(below > above, below - above, np.inf)
    heights = (lowest - np.clip((LUNG_HU - above) / rise, 0.0, 1.0)) * step
    return np.asarray(np.where(lung_columns.any(axis=0), heights, np.nan))


@dataclass(frozen=True, eq=False)
class Dome:
    """The floor of a true lung.

    Attributes:
        region: What the region is called: `lung-left`, `lung-right`, or `lung` where there is one lung only.
        columns: The columns that show the dome, see `dome_columns`.
        heights: Its SI position in them, mm, see `dome_heights`.
    """

    region: str
    columns: MaskVolume
    heights: Array


def true_dome(region: str, truth: Volume, true_lung: MaskVolume) -> Dome | None:
    """The floor of one true lung; None where no column shows the dome."""
    columns = dome_columns(true_lung, truth.grid)
    return Dome(region, columns, dome_heights(truth, true_lung, columns)) if columns.any() else None


def diaphragm_error(predicted: Volume, predicted_lung: MaskVolume, dome: Dome) -> float | None:
    """How far the predicted dome under one lung lies from the true one along SI, mm.

    The absolute value of the median over the true dome's columns of the difference in height.

    Returns:
        mm, or None where the predicted lung is in none of the columns.
    """
    difference = dome_heights(predicted, predicted_lung, dome.columns) - dome.heights
    difference = difference[np.isfinite(difference)]
    return abs(float(np.median(difference))) if difference.size else None


def _upright(values: Array, grid: Grid) -> tuple[Array, float]:
    """The array with its SI axis first, index 0 the most inferior, and the SI distance of neighbours, mm."""
    axis = slice_axis(grid)
    step = float(grid.index_to_world_matrix[2, 2 - axis])
    first = np.moveaxis(values, axis, 0)
    return (first if step > 0 else first[::-1]), abs(step)


def _slice_spacing(grid: Grid) -> list[float]:
    axis = slice_axis(grid)
    return [s for a, s in enumerate(grid.spacing[::-1]) if a != axis]


def _left_right_axis(grid: Grid) -> int:
    return 2 - int(np.abs(grid.direction_matrix[0]).argmax())


def _middle(whole: Array, grid: Grid) -> tuple[int, int] | None:
    """Where a fused pair of lungs is narrowest between left and right: tensor axis and index; None for one lung."""
    axis = _left_right_axis(grid)
    profile = whole.sum(axis=tuple(a for a in range(3) if a != axis))
    occupied = np.flatnonzero(profile)
    width = occupied[-1] - occupied[0] + 1
    if width * grid.spacing[2 - axis] < ONE_LUNG_MM:
        return None
    start = occupied[0] + width // 3
    return axis, int(start + profile[start : start + max(1, width // 3)].argmin())


def _mean_x(part: Array, grid: Grid) -> float:
    z, y, x = (float(c.mean()) for c in np.nonzero(part))
    return float(grid.index_to_world(torch.tensor([[x, y, z]]).double())[0, 0])
