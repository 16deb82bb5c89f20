"""Where a registration looks: the masks of `rtmotion register --mask`."""

from pathlib import Path
from typing import TYPE_CHECKING

from rtmotion.errors import GeometryError, ReadError, RtmotionError

if TYPE_CHECKING:
    from rtmotion.grid import Grid
    from rtmotion.sequence import PhaseSequence, Volume
    from rtmotion.types import MaskVolume

NAMED = ("lung", "body")
"""Masks that are found in every phase; anything else is the name of a file."""

RIM_MM = 10.0
"""A lung mask reaches so far beyond the lung: its border and the diaphragm are what guides a registration."""


def similarity_masks(sequence: "PhaseSequence", choice: str | None) -> "list[MaskVolume] | None":
    """One mask a phase, inside which a registration compares the images; None leaves it to the engine.

    Args:
        sequence: The phases.
        choice: `lung` (the lungs of each phase and 10 mm around), `body`, the name of a file with a mask for all
            phases (not 0 where it counts), or None.

    Raises:
        ReadError: If the file cannot be read as a mask.
        GeometryError: If the file's mask lies outside of the volumes.
        RtmotionError: If a phase has no lung or body.
    """
    if choice is None:
        return None
    if choice not in NAMED:
        return [read_mask(Path(choice), sequence.grid)] * len(sequence)
    masks = [_around_lung(v) if choice == "lung" else _body(v) for v in sequence.volumes]
    for label, mask in zip(sequence.labels, masks, strict=True):
        if not bool(mask.any()):
            raise RtmotionError(f"--mask {choice}: none was found in {label}; leave --mask out, or give a file")
    return masks


def read_mask(path: Path, grid: "Grid") -> "MaskVolume":
    """The mask in a 3D image file on a grid: not 0 where it counts; outside of the file's image nothing counts.

    Raises:
        ReadError: If the file cannot be read as a 3D image.
        GeometryError: If nothing of the mask lies on the grid.
    """
    import SimpleITK as sitk  # noqa: N813

    from rtmotion.field import resample
    from rtmotion.interop import volume_from_sitk

    if not path.is_file():
        raise ReadError(f"--mask {path}: {' or '.join(NAMED)} or a 3D image file was expected; there is no such file")
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise ReadError(f"--mask {path}: a 3D image file was expected; it cannot be read as one") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise ReadError(f"--mask {path}: a 3D image of one value a voxel was expected")
    stored = volume_from_sitk(image)
    mask = resample((stored.data != 0).float(), stored.grid, grid, mode="nearest", fill=0.0) > 0.5
    if not bool(mask.any()):
        raise GeometryError(f"--mask {path}: nothing of this mask lies inside the volumes; is it of this scan?")
    return mask


def _body(volume: "Volume") -> "MaskVolume":
    from rtmotion.evaluation.regions import body_mask

    return body_mask(volume)


def _around_lung(volume: "Volume") -> "MaskVolume":
    """The lungs and what lies within `RIM_MM` of them."""
    import torch
    from scipy import ndimage

    from rtmotion.evaluation.regions import lung_mask

    lung = lung_mask(volume).cpu().numpy()
    if not lung.any():
        return torch.from_numpy(lung)
    distance = ndimage.distance_transform_edt(~lung, sampling=volume.grid.spacing[::-1])
    return torch.from_numpy(distance <= RIM_MM)
