"""Volumes as NIfTI."""

from pathlib import Path

import torch
from torch import Tensor

from rtmotion.grid import Grid
from rtmotion.interop import volume_to_nibabel
from rtmotion.sequence import Volume
from rtmotion_data.writers.atomic import replacing

SCANNER = 1
"""NIfTI's code for coordinates of the scanner."""


def write_nifti(path: Path, data: Tensor, grid: Grid) -> None:
    """Writes one value a voxel as NIfTI (`.nii.gz` compressed, `.nii` not), mm, both forms of the orientation set.

    Args:
        path: The file; an existing one is replaced.
        data: Shape (z, y, x); the number type is kept, bool becomes uint8, float64 and float16 become float32.
        grid: Where the voxels lie.

    Raises:
        WriteError: If the file cannot be written.
        GeometryError: If the data do not fill the grid.
    """
    import nibabel as nib

    kept = data.detach().cpu()
    if kept.dtype is torch.bool:
        kept = kept.to(torch.uint8)
    elif kept.is_floating_point() or kept.dtype is torch.int64:
        kept = kept.float() if kept.is_floating_point() else kept.to(torch.int32)
    image = volume_to_nibabel(Volume(kept, grid))
    affine = image.affine
    image.set_sform(affine, code=SCANNER)
    image.set_qform(affine, code=SCANNER)
    image.header.set_xyzt_units("mm")
    with replacing(path) as beside:
        nib.save(image, beside)
