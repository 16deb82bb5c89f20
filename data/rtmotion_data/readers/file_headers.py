"""NIfTI, NRRD and MetaImage: what the header says, and the voxels frame by frame."""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from rtmotion.errors import GeometryError, ReadError
from rtmotion.grid import Grid
from rtmotion.interop import (
    frame_grid_from_sitk,
    grid_from_affine_ras,
    grid_from_sitk,
    tensor_from_nibabel_array,
    volume_from_sitk,
)

FORMATS = {
    ".nii.gz": "nifti",
    ".nii": "nifti",
    ".nrrd": "nrrd",
    ".nhdr": "nrrd",
    ".mha": "metaimage",
    ".mhd": "metaimage",
}
"""File endings, and what they are."""

DAMAGED = (EOFError, OSError, ValueError, RuntimeError, IndexError, zlib.error)
"""What the libraries raise for files that are damaged or cut off."""

SPACING_TOLERANCE = 0.01
"""A spacing in pixdim that differs from the affine's by more than this share is worth a warning."""


@dataclass(frozen=True)
class Header:
    """A volume file without its voxels.

    Attributes:
        path: The file.
        format: `nifti`, `nrrd` or `metaimage`.
        grid: The grid of a frame.
        frames: Number of volumes in the file: 1 for 3D, the length of the fourth or list axis for 4D.
        warnings: What is doubtful in the header.
    """

    path: Path
    format: str
    grid: Grid
    frames: int
    warnings: tuple[str, ...] = ()


def ending_of(path: Path) -> str | None:
    """The ending that names a format of this module, in lower case, or None."""
    name = path.name.lower()
    return next((e for e in FORMATS if name.endswith(e)), None)


def read_header(path: Path) -> Header:
    """Reads the header of a 3D or 4D volume; no voxel is read.

    Raises:
        ReadError: If the file is damaged, or not one or several scalar volumes.
        GeometryError: If its spacing or orientation is of no use.
    """
    kind = FORMATS[ending_of(path) or ".nii"]
    try:
        header = _nifti_header(path) if kind == "nifti" else _itk_header(path, kind)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from None
    except DAMAGED as error:
        raise ReadError(f"{path}: is no {kind} file that can be read ({_reason(error)})") from None
    if min(header.grid.size) < 2:
        size = "×".join(str(n) for n in header.grid.size)
        raise ReadError(f"{path}: holds {size} voxels, a slice; volumes of at least two slices were expected")
    return header


def read_frames(header: Header) -> Iterator[Tensor]:
    """The voxels of a file, volume by volume, shape (z, y, x), scaled as the header says.

    Raises:
        ReadError: If the file is damaged or cut off.
    """
    frames = _nifti_frames(header) if header.format == "nifti" else _itk_frames(header)
    try:
        yield from frames
    except DAMAGED as error:
        raise ReadError(
            f"{header.path}: voxels cannot be read ({_reason(error)}): the file is damaged or cut off; copy it again"
        ) from None


def _reason(error: BaseException) -> str:
    """The last line of what a library says, without its preamble."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return re.sub(r"^.*?ERROR: \w+\(0x[0-9a-f]+\):\s*", "", lines[-1])[:160]


def _nifti_header(path: Path) -> Header:
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.openers import ImageOpener
    from nibabel.spatialimages import HeaderDataError

    try:
        image = nib.load(path)
        with ImageOpener(path) as stream:
            raw = type(image.header).from_fileobj(stream, check=False)
    except (ImageFileError, HeaderDataError) as error:
        raise ReadError(f"{path}: is no NIfTI file that can be read ({_reason(error)})") from None
    spacing = np.asarray(raw["pixdim"][1:4], dtype=float)
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise GeometryError(
            f"the spacing in the header is {spacing.tolist()}; three positive numbers in mm were expected"
        )
    unit = raw.get_xyzt_units()[0]
    if unit not in ("mm", "unknown"):
        raise GeometryError(f"the unit in the header is {unit}; mm was expected")
    shape = tuple(int(n) for n in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if not 3 <= len(shape) <= 4 or image.get_data_dtype().fields is not None:
        kind = "coloured" if len(shape) in (3, 4) else f"{len(shape)}D"
        raise ReadError(f"{path}: is {kind} (shape {image.shape}); a 3D or 4D volume of one value a voxel was expected")
    grid = grid_from_affine_ras(image.affine, (shape[0], shape[1], shape[2]))
    warnings = []
    if raw["qform_code"] == 0 and raw["sform_code"] == 0:
        warnings.append(f"{path.name} says nothing of its orientation: the axes may be turned or mirrored")
    elif not np.allclose(spacing, grid.spacing, rtol=SPACING_TOLERANCE):
        warnings.append(
            f"{path.name}: pixdim gives a spacing of {_mm(spacing)}, the affine {_mm(grid.spacing)} is taken"
        )
    return Header(path, "nifti", grid, shape[3] if len(shape) == 4 else 1, tuple(warnings))


def _mm(spacing: Any) -> str:
    return " × ".join(f"{float(s):.4g}" for s in spacing) + " mm"


def _nifti_frames(header: Header) -> Iterator[Tensor]:
    import nibabel as nib

    # no memory map: the tensors must not change when the file does
    proxy: Any = nib.load(header.path, mmap=False).dataobj
    stored = np.asanyarray(proxy.get_unscaled())  # [x, y, z] or [x, y, z, t], as in the file
    stored = stored.reshape(*header.grid.size, header.frames, order="F")
    for i in range(header.frames):
        frame = stored[..., i]
        if proxy.slope != 1 or proxy.inter != 0:
            frame = frame * np.float64(proxy.slope) + np.float64(proxy.inter)
        yield tensor_from_nibabel_array(frame)


def _itk_header(path: Path, kind: str) -> Header:
    import SimpleITK as sitk  # noqa: N813

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    dimension, components = reader.GetDimension(), reader.GetNumberOfComponents()
    warnings = []
    if kind == "nrrd" and not re.search(r"(?im)^space(?: dimension)?:", _text_header(path)):
        warnings.append(f"{path.name} says nothing of its orientation: the axes may be turned or mirrored")
    if dimension == 3 and components == 1:
        return Header(path, kind, grid_from_sitk(reader), 1, tuple(warnings))
    if dimension == 4 and components == 1:
        return Header(path, kind, frame_grid_from_sitk(reader), int(reader.GetSize()[3]), tuple(warnings))
    if dimension == 3 and kind == "nrrd" and re.search(r"(?im)^kinds:.*\blist\b", _text_header(path)):
        return Header(path, kind, grid_from_sitk(reader), int(components), tuple(warnings))
    what = f"{dimension}D with {components} components a voxel" if components > 1 else f"{dimension}D"
    raise ReadError(f"{path}: is {what}; a 3D or 4D volume of one value a voxel was expected")


def _text_header(path: Path) -> str:
    """The header of a NRRD file: all before the first empty line."""
    with path.open("rb") as stream:
        return re.split(rb"\r?\n\r?\n", stream.read(65536), maxsplit=1)[0].decode("latin-1")


def _itk_frames(header: Header) -> Iterator[Tensor]:
    import SimpleITK as sitk  # noqa: N813

    image = sitk.ReadImage(str(header.path))
    for i in range(header.frames):
        if image.GetDimension() == 4:
            frame = image[:, :, :, i]
        elif header.frames > 1:
            frame = sitk.VectorIndexSelectionCast(image, i)
        else:
            frame = image
        yield volume_from_sitk(frame).data
