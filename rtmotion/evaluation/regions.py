"""The regions that a forecast is scored on: body and lung of a CT volume."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rtmotion.errors import GeometryError
from rtmotion.grid import Grid
from rtmotion.sequence import PhaseSequence, Volume
from rtmotion.types import MaskVolume

Array = npt.NDArray[Any]

BODY_HU = -500.0
"""Above this a voxel is tissue; below, it is air or lung."""

LUNG_HU = -400.0
"""Inside the body, lung is below this."""

AIR_HU = -950.0
"""A region whose median is below this holds air alone (outside, trachea, bowel gas); lung has blood in it."""

CROP_ML = 50.0
"""Air that touches the border of a crop and is smaller than this, and than `CROP_FRACTION`, is an airway."""

CROP_FRACTION = 0.05
SHELL_MM = 3.0
"""Thinner structures (the shell of a table) do not join what they touch to the body."""

AIRWAY_HU = -930.0
"""A smoothed volume is below this in the trachea and the main bronchi."""

AIRWAY_MM = 4.0
"""Airways narrower than about twice this stay part of the lung."""

AIRWAY_ML = 1.0
"""Smaller pieces of thin air are noise or emphysema."""

AIRWAY_WALL_MM = 3.0
"""The rim of an airway that the smoothing and the wall's partial volume hide."""

LUNG_PART = 0.05
"""Pieces of lung smaller than this fraction of the largest are left out."""

MOVING_BODY_HU = -675.0
MOVING_DIFFERENCE_HU = 65.0


def body_mask(volume: Volume) -> MaskVolume:
    """The patient: the largest component above -500 HU with everything that it encloses, without table and clothes.

    Holes are filled slice by slice. In a crop, lung that touches the border of the volume is told from air outside
    by its density, so that it belongs to the body.

    Returns:
        Shape (z, y, x), all False where no voxel is above -500 HU.
    """
    hu, axis = _slices_first(volume)
    spacing = _spacing_slices_first(volume, axis)
    voxel_ml = float(np.prod(spacing)) / 1000.0
    core = _largest(_without_shells(hu > BODY_HU, spacing))
    if not core.any():
        return torch.zeros(volume.grid.shape, dtype=torch.bool)
    inside = ~_outside(hu, ~core, voxel_ml)
    # what is enclosed or lies in a filled region may be bounded by tissue that the opening took away
    return torch.from_numpy(np.moveaxis(_largest(inside), 0, axis).copy())


def lung_mask(volume: Volume, body: MaskVolume | None = None) -> MaskVolume:
    """The lungs: voxels of the body below -400 HU, connected, without trachea, main bronchi and gas in the bowel.

    Args:
        volume: CT in HU.
        body: The body mask; None computes it.

    Returns:
        Shape (z, y, x), all False where there is no lung.
    """
    from scipy import ndimage

    hu, axis = _slices_first(volume)
    spacing = _spacing_slices_first(volume, axis)
    inside = np.moveaxis((body_mask(volume) if body is None else body).cpu().numpy(), axis, 0)
    if inside.shape != hu.shape:
        raise GeometryError(f"the body mask {inside.shape} and the volume {hu.shape} have different shapes")
    air = inside & (hu < LUNG_HU)
    box = _bounding_box(air)
    if box is None:
        return torch.zeros(volume.grid.shape, dtype=torch.bool)
    found = np.zeros(hu.shape, dtype=bool)
    air_box, hu_box = air[box], hu[box]
    lung = air_box & ~_airways(hu_box, air_box, spacing)
    labels, count = ndimage.label(lung)
    if count:
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        sizes[0] = 0
        keep = [n for n in np.flatnonzero(sizes >= LUNG_PART * sizes.max()) if _is_lung(hu_box[labels == n])]
        found[box] = np.isin(labels, keep) if keep else False
    return torch.from_numpy(np.moveaxis(found, 0, axis).copy())


def moving_body_mask(sequence: PhaseSequence) -> MaskVolume:
    """One body for all phases: the mean over phases is above -675 HU or the phases differ by more than 65 HU.

    Returns:
        Shape (z, y, x). It counts lung that is denser than -675 HU or moves, and air next to a moving skin.
    """
    total = torch.zeros(sequence.grid.shape)
    low = torch.full(sequence.grid.shape, torch.inf)
    high = torch.full(sequence.grid.shape, -torch.inf)
    for volume in sequence.volumes:
        hu = volume.hu.cpu()
        total += hu
        low, high = torch.minimum(low, hu), torch.maximum(high, hu)
    return (total / len(sequence) > MOVING_BODY_HU) | (high - low > MOVING_DIFFERENCE_HU)


def slice_axis(grid: Grid) -> int:
    """The tensor axis (of z, y, x) that runs nearest to superior-inferior."""
    return 2 - int(np.abs(grid.direction_matrix[2]).argmax())


def _slices_first(volume: Volume) -> tuple[Array, int]:
    axis = slice_axis(volume.grid)
    return np.moveaxis(volume.data.detach().cpu().numpy(), axis, 0), axis


def _spacing_slices_first(volume: Volume, axis: int) -> list[float]:
    spacing = list(volume.grid.spacing[::-1])
    return [spacing.pop(axis), *spacing]


def _largest(mask: Array) -> Array:
    """The largest 6-connected component."""
    from scipy import ndimage

    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _without_shells(tissue: Array, spacing: list[float]) -> Array:
    """Tissue opened in the slice, where the voxels are small enough to tell a table's shell from a chest wall."""
    from scipy import ndimage

    width = [1, *(2 * round(SHELL_MM / (2 * s)) + 1 for s in spacing[1:])]
    if max(width) == 1 or min(tissue.shape[1:]) < 32:
        return tissue
    eroded = ndimage.minimum_filter(tissue, size=width, mode="nearest")
    return np.asarray(ndimage.maximum_filter(eroded, size=width, mode="nearest") & tissue)


def _outside(hu: Array, complement: Array, voxel_ml: float) -> Array:
    """What of the complement of the patient's tissue is not enclosed by it."""
    from scipy import ndimage

    in_slice = np.zeros((3, 3, 3), dtype=bool)
    in_slice[1] = ndimage.generate_binary_structure(2, 1)
    labels, count = ndimage.label(complement, structure=in_slice)
    rows, columns = labels[:, [0, -1], :], labels[:, :, [0, -1]]
    touching = np.union1d(rows, columns)
    open_ = np.zeros(count + 1, dtype=bool)
    open_[touching[touching > 0]] = True
    # the median of a region's air is below AIR_HU where more than half of it is
    is_air = complement & (hu <= BODY_HU)
    air = np.bincount(labels[is_air], minlength=count + 1)
    thin = np.bincount(labels[is_air & (hu < AIR_HU)], minlength=count + 1)
    outside = (open_ & (2 * thin > air))[labels]
    pieces, count = ndimage.label(outside)
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)
    enough = (sizes * voxel_ml >= CROP_ML) | (sizes >= CROP_FRACTION * hu.size)
    enough[0] = False
    return np.asarray(enough[pieces])


def _bounding_box(mask: Array) -> tuple[slice, ...] | None:
    """The box of the True voxels, one voxel wider where there is room."""
    box = []
    for axis in range(mask.ndim):
        occupied = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        if not occupied.size:
            return None
        box.append(slice(max(int(occupied[0]) - 1, 0), int(occupied[-1]) + 2))
    return tuple(box)


def _airways(hu: Array, air: Array, spacing: list[float]) -> Array:
    """Trachea, main bronchi and bowel gas: wide regions of air as thin as outside, with the rim of their walls."""
    from scipy import ndimage

    smooth = ndimage.uniform_filter(hu.astype(np.float32), size=[max(1, 2 * round(1.5 / s) + 1) for s in spacing])
    thin = air & (smooth < AIRWAY_HU)
    width = [2 * round(AIRWAY_MM / (2 * s)) + 1 for s in spacing]
    core = ndimage.minimum_filter(thin, size=width)
    labels, count = ndimage.label(core)
    sizes = np.bincount(labels.ravel(), minlength=count + 1) * np.prod(spacing) / 1000.0
    keep = np.zeros(count + 1, dtype=bool)
    large = [n for n in range(1, count + 1) if sizes[n] >= AIRWAY_ML]
    if not large:
        return np.zeros(hu.shape, dtype=bool)
    keep[large] = [float(np.median(hu[labels == n])) < AIR_HU for n in large]
    core = keep[labels]
    rim = [w + 2 * max(1, round(AIRWAY_WALL_MM / s)) for w, s in zip(width, spacing, strict=True)]
    return np.asarray(air & ndimage.maximum_filter(core, size=rim))


def _is_lung(values: Array) -> bool:
    return bool(np.median(values) >= AIR_HU)
