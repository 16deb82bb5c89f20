"""The one place that converts between tensors and SimpleITK, ITK, nibabel and DICOM geometry.

Inside rtmotion the world is LPS mm, as in ITK and DICOM; nibabel's RAS is turned here. No reader or writer flips an
axis of its own: voxels keep the index order in which they were stored, and the grid says where they lie.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rtmotion.errors import GeometryError
from rtmotion.field import DisplacementField
from rtmotion.grid import Grid
from rtmotion.sequence import Volume

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


@contextmanager
def quiet_itk() -> Iterator[None]:
    """ITK's modules load at first use and warn of their own wrapping; as an error that warning crashes the process.

    A context, or a decorator of what uses ITK.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def grid_from_sitk(image: Any) -> Grid:
    """The grid of a 3D SimpleITK image."""
    if image.GetDimension() != 3:
        raise GeometryError(f"a 3D image was expected, this one has {image.GetDimension()} dimensions")
    return Grid(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def frame_grid_from_sitk(image: Any) -> Grid:
    """The grid of one frame of a 4D SimpleITK image, or of an image reader that has read the header of one."""
    if image.GetDimension() != 4:
        raise GeometryError(f"a 4D image was expected, this one has {image.GetDimension()} dimensions")
    direction = np.reshape(image.GetDirection(), (4, 4))[:3, :3]
    return Grid(
        image.GetSize()[:3], image.GetSpacing()[:3], image.GetOrigin()[:3], tuple(direction.reshape(-1).tolist())
    )


def _place_sitk(image: Any, grid: Grid) -> Any:
    image.SetSpacing(grid.spacing)
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    return image


def tensor_from_array(array: npt.NDArray[Any]) -> Tensor:
    """A tensor of an array of any byte order, unsigned types widened to what torch and HU need."""
    widened = {"u2": np.int32, "u4": np.int64}.get(array.dtype.str[1:])
    target = np.dtype(widened) if widened else array.dtype.newbyteorder("=")
    return torch.from_numpy(np.array(array, dtype=target, order="C", copy=not array.flags.writeable or None))


def volume_from_sitk(image: Any) -> Volume:
    """A volume of a 3D SimpleITK image with one component; the number type is kept."""
    import SimpleITK as sitk  # noqa: N813

    return Volume(tensor_from_array(sitk.GetArrayFromImage(image)), grid_from_sitk(image))


def volume_to_sitk(volume: Volume) -> Any:
    """The SimpleITK image of a volume; the number type is kept."""
    return scalars_to_sitk(volume.data, volume.grid)


def scalars_to_sitk(data: Tensor, grid: Grid) -> Any:
    """The SimpleITK image of one value a voxel, shape (z, y, x); bool becomes uint8."""
    import SimpleITK as sitk  # noqa: N813

    array = data.detach().cpu()
    array = array.to(torch.uint8) if array.dtype is torch.bool else array
    return _place_sitk(sitk.GetImageFromArray(array.numpy()), grid)


def field_to_sitk(field: DisplacementField) -> Any:
    """The SimpleITK vector image of a displacement field, mm, LPS, float32.

    `sitk.DisplacementFieldTransform(sitk.Cast(image, sitk.sitkVectorFloat64))` maps fixed to moving points, so
    `sitk.Resample(moving, fixed, transform)` gives the warped moving image.
    """
    import SimpleITK as sitk  # noqa: N813

    components_last = field.data.detach().cpu().float().movedim(0, -1).contiguous().numpy()
    return _place_sitk(sitk.GetImageFromArray(components_last, isVector=True), field.grid)


def field_from_sitk(image: Any) -> DisplacementField:
    """The displacement field of a SimpleITK vector image with three components, mm, LPS."""
    import SimpleITK as sitk  # noqa: N813

    if image.GetNumberOfComponentsPerPixel() != 3:
        raise GeometryError(f"a displacement has three components, not {image.GetNumberOfComponentsPerPixel()}")
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    return DisplacementField(torch.from_numpy(array).movedim(-1, 0).contiguous(), grid_from_sitk(image))


@quiet_itk()
def volume_to_itk(volume: Volume) -> Any:
    """The ITK image (as itk-elastix takes it) of a volume, float32."""
    import itk

    image = itk.image_from_array(volume.data.detach().cpu().float().contiguous().numpy())
    image.SetSpacing([float(s) for s in volume.grid.spacing])
    image.SetOrigin([float(o) for o in volume.grid.origin])
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(volume.grid.direction_matrix)))
    return image


@quiet_itk()
def stack_to_itk(frames: Tensor, grid: Grid) -> Any:
    """The 4D ITK image of volumes on one grid, float32, along the grid's own axes.

    Args:
        frames: Shape (n, z, y, x).
        grid: Of each frame; the image keeps its spacing, with the origin at 0 and without its direction, so that what
            is found on it has to be turned by the direction. Frames are 1 apart along the fourth axis.
    """
    import itk

    image = itk.image_from_array(frames.detach().cpu().float().contiguous().numpy())
    image.SetSpacing([*(float(s) for s in grid.spacing), 1.0])
    return image


@quiet_itk()
def grid_from_itk(image: Any) -> Grid:
    """The grid of a 3D ITK image."""
    import itk

    direction = np.asarray(itk.array_from_matrix(image.GetDirection())).reshape(-1)
    return Grid(
        tuple(int(n) for n in itk.size(image)),  # type: ignore[arg-type]
        tuple(float(s) for s in image.GetSpacing()),  # type: ignore[arg-type]
        tuple(float(o) for o in image.GetOrigin()),  # type: ignore[arg-type]
        tuple(float(d) for d in direction),
    )


@quiet_itk()
def field_from_itk(image: Any) -> DisplacementField:
    """The displacement field of an ITK vector image with three components, mm, LPS."""
    import itk

    array = np.asarray(itk.array_from_image(image)).astype(np.float32)
    return DisplacementField(torch.from_numpy(array).movedim(-1, 0).contiguous(), grid_from_itk(image))


def grid_from_affine_ras(affine: npt.NDArray[np.float64], size: tuple[int, int, int]) -> Grid:
    """The grid of a nibabel affine (index to world, RAS, mm)."""
    matrix = RAS_TO_LPS @ np.asarray(affine, dtype=float)[:3, :3]
    spacing = np.linalg.norm(matrix, axis=0)
    if not (np.isfinite(matrix).all() and (spacing > 0).all()):
        raise GeometryError(f"the affine has no usable axes: {np.asarray(affine).tolist()}")
    origin = RAS_TO_LPS @ np.asarray(affine, dtype=float)[:3, 3]
    direction = tuple((matrix / spacing).reshape(-1).tolist())
    return Grid(size, tuple(spacing.tolist()), tuple(origin.tolist()), direction)


def affine_ras_from_grid(grid: Grid) -> npt.NDArray[np.float64]:
    """The nibabel affine (index to world, RAS, mm), 4×4, of a grid."""
    affine = np.eye(4)
    affine[:3, :3] = RAS_TO_LPS @ grid.index_to_world_matrix
    affine[:3, 3] = RAS_TO_LPS @ np.asarray(grid.origin)
    return affine


def volume_from_nibabel(image: Any) -> Volume:
    """A volume of a 3D nibabel image; int16 where the file holds unscaled integers, float32 otherwise."""
    if len(image.shape) != 3:
        raise GeometryError(f"a 3D image was expected, this one has shape {image.shape}")
    grid = grid_from_affine_ras(image.affine, tuple(int(n) for n in image.shape))  # type: ignore[arg-type]
    return Volume(tensor_from_nibabel_array(np.asanyarray(image.dataobj)), grid)


def tensor_from_nibabel_array(array: npt.NDArray[Any]) -> Tensor:
    """A tensor [z, y, x] of a nibabel array [x, y, z]."""
    array = array.astype(np.float32) if array.dtype == np.float64 else array
    return tensor_from_array(np.ascontiguousarray(array.T))


def volume_to_nibabel(volume: Volume) -> Any:
    """The nibabel NIfTI image of a volume; the number type is kept."""
    import nibabel as nib

    return nib.Nifti1Image(volume.data.detach().cpu().numpy().T, affine_ras_from_grid(volume.grid))


def grid_from_dicom(
    orientation: tuple[float, ...],
    pixel_spacing: tuple[float, float],
    first_position: tuple[float, float, float],
    last_position: tuple[float, float, float],
    size: tuple[int, int, int],
) -> Grid:
    """The grid of a stack of DICOM slices in the order of their position along the normal.

    Args:
        orientation: ImageOrientationPatient: direction cosines of a row (increasing column index), then of a column.
        pixel_spacing: PixelSpacing: distance of rows, then of columns, mm.
        first_position: ImagePositionPatient of slice 0, LPS mm.
        last_position: ImagePositionPatient of the last slice, LPS mm.
        size: Columns, rows, slices.

    Raises:
        GeometryError: If the slices are not stacked along the normal of the image plane (tilted gantry).
    """
    row = np.asarray(orientation[:3], dtype=float)
    column = np.asarray(orientation[3:6], dtype=float)
    row, column = row / np.linalg.norm(row), column / np.linalg.norm(column)
    normal = np.cross(row, column)
    step = np.asarray(last_position, dtype=float) - np.asarray(first_position, dtype=float)
    distance = float(np.linalg.norm(step))
    if size[2] > 1 and distance > 0:
        # the normal itself is the axis, forwards or backwards: cosines in the file are rounded
        along = step @ normal
        if abs(along) < 0.9998 * distance:
            angle = np.degrees(np.arccos(np.clip(abs(along) / distance, -1, 1)))
            raise GeometryError(
                f"the slices are stacked {angle:.1f}° off the normal of the image plane (tilted gantry)"
            )
        normal = normal * np.sign(along)
    spacing_z = distance / (size[2] - 1) if size[2] > 1 else 1.0
    direction = np.stack([row, column, normal], axis=1)
    return Grid(
        size,
        (float(pixel_spacing[1]), float(pixel_spacing[0]), spacing_z),
        tuple(float(p) for p in first_position),  # type: ignore[arg-type]
        tuple(direction.reshape(-1).tolist()),
    )
