"""From stored values to Hounsfield units: number types, and the offset that some files are stored with."""

from pathlib import Path

import torch
from torch import Tensor

from rtmotion.errors import ReadError

OFFSET = 1024
"""What is added to HU where a volume is stored without negative values."""

PADDING = -1500
"""Nothing in CT is below this: voxels outside the field of view."""

AIR_STORED_BELOW = 124
"""With the offset, air (-1024 to -900 HU) is stored below this."""

TISSUE_STORED = (924, 1224)
"""With the offset, soft tissue (-100 to 200 HU) is stored in this range."""

MINIMUM_TISSUE = 0.02
"""Share of the voxels that must look like tissue stored with the offset."""

SAMPLE = 500_000
"""So many voxels, evenly spread, are enough to decide on; the whole would double the memory of a volume."""


def to_hu(values: Tensor, path: Path) -> Tensor:
    """Values of any number type as int16 where they are whole and fit, else as float32.

    Raises:
        ReadError: If there are values that are no numbers, or complex ones.
    """
    if values.is_complex():
        raise ReadError(f"{path}: holds complex numbers; CT in HU was expected")
    if not values.is_floating_point():
        fits = int(values.min()) >= -32768 and int(values.max()) <= 32767
        return values.to(torch.int16 if fits else torch.float32)
    if not bool(torch.isfinite(values).all()):
        bad = int((~torch.isfinite(values)).sum())
        raise ReadError(f"{path}: {bad} voxels are NaN or infinite; CT in HU was expected: write the file again")
    fits = float(values.min()) >= -32768 and float(values.max()) <= 32767
    whole = fits and bool((values == values.round()).all())
    return values.to(torch.int16 if whole else torch.float32)


def is_stored_with_offset(values: Tensor) -> bool:
    """Whether a volume holds HU + 1024 instead of HU; decided from its air.

    It does if nothing but padding is negative, the most frequent value of its side faces (outside the patient there is
    air; for a crop inside the patient, the lowest hundredth of all voxels instead) is what -1024 to -900 HU are stored
    as, and at least 2 % of its voxels are what soft tissue is stored as.

    Args:
        values: Shape (z, y, x).
    """
    if bool(((values < 0) & (values > PADDING)).any()):
        return False
    stride = max(1, round((values.numel() / SAMPLE) ** (1 / 3)))
    sample = values[::stride, ::stride, ::stride]
    inside = sample[sample > PADDING].float()
    if inside.numel() == 0:
        return False
    tissue = ((inside >= TISSUE_STORED[0]) & (inside <= TISSUE_STORED[1])).float().mean()
    if float(tissue) < MINIMUM_TISSUE:
        return False
    faces = torch.cat([values[:, [0, -1], :].reshape(-1), values[:, :, [0, -1]].reshape(-1)])
    faces = faces[faces > PADDING]
    border = float(faces.round().to(torch.int64).mode().values) if faces.numel() else float("inf")
    lowest = float(inside.kthvalue(max(1, inside.numel() // 100)).values)
    return min(border, lowest) < AIR_STORED_BELOW


def remove_offset(values: Tensor) -> Tensor:
    """HU of a volume stored as HU + 1024, in the same memory; padding becomes -1024 HU."""
    return values.sub_(OFFSET).clamp_(min=-OFFSET)
