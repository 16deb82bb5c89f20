"""Conversions: every axis orientation, through every library, and the same HU at the same place in the patient."""

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from scipy.spatial.transform import Rotation

from rtmotion.errors import GeometryError
from rtmotion.field import DisplacementField, warp
from rtmotion.grid import Grid
from rtmotion.interop import (
    affine_ras_from_grid,
    field_from_itk,
    field_from_sitk,
    field_to_sitk,
    frame_grid_from_sitk,
    grid_from_affine_ras,
    grid_from_dicom,
    grid_from_itk,
    grid_from_sitk,
    tensor_from_array,
    volume_from_nibabel,
    volume_from_sitk,
    volume_to_itk,
    volume_to_nibabel,
    volume_to_sitk,
)
from rtmotion.sequence import Volume

# ITK's SWIG types warn when they are first loaded, and crash where the warning is made an error
pytestmark = pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")

NIFTI_MM = 1e-4
"""mm; NIfTI stores its affine in single precision."""

RESAMPLE_HU = 0.5
"""HU, of a range of 2000: ITK interpolates in double precision, rtmotion in single."""

SIZE, SPACING, ORIGIN = (5, 4, 3), (0.9, 1.7, 3.1), (-103.5, 41.25, 612.0)


def orientations() -> dict[str, tuple[float, ...]]:
    """The 48 ways in which index axes can lie along the axes of the world, and an oblique one."""
    found = {}
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            for column, (row, sign) in enumerate(zip(order, signs, strict=True)):
                matrix[row, column] = sign
            names = [("LR", "PA", "SI")[row][sign < 0] for row, sign in zip(order, signs, strict=True)]
            found["".join(names)] = tuple(matrix.reshape(-1).tolist())
    oblique = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
    return {**found, "oblique": tuple(oblique.reshape(-1).tolist())}


ORIENTATIONS = orientations()
ALL = pytest.mark.parametrize("direction", ORIENTATIONS.values(), ids=ORIENTATIONS.keys())
PLACES = [(0, 0, 0), (4, 0, 0), (0, 3, 0), (0, 0, 2), (3, 1, 2)]
"""Voxel indices (x, y, z) that tell every flip and swap of axes."""


def volume(direction: tuple[float, ...]) -> Volume:
    values = torch.randperm(60, generator=torch.Generator().manual_seed(0)).to(torch.int16) * 37 - 1024
    return Volume(values.reshape(3, 4, 5), Grid(SIZE, SPACING, ORIGIN, direction))


def worlds(made: Volume) -> list[tuple[list[float], int]]:
    """World positions of voxels, LPS mm, and their HU."""
    points = made.grid.index_to_world(torch.tensor(PLACES).double()).tolist()
    return [(p, int(made.data[z, y, x])) for p, (x, y, z) in zip(points, PLACES, strict=True)]


def test_there_are_48_orientations() -> None:
    assert len(ORIENTATIONS) == 49
    assert ORIENTATIONS["LPS"] == Grid((1, 1, 1)).direction


@ALL
def test_simpleitk_round_trip_and_places(direction: tuple[float, ...]) -> None:
    made = volume(direction)
    image = volume_to_sitk(made)
    back = volume_from_sitk(image)
    assert torch.equal(back.data, made.data)
    assert back.data.dtype is torch.int16
    assert back.grid == made.grid
    for point, hu in worlds(made):
        assert image.GetPixel(image.TransformPhysicalPointToIndex(point)) == hu


@ALL
def test_itk_round_trip_and_places(direction: tuple[float, ...]) -> None:
    made = volume(direction)
    image = volume_to_itk(made)
    assert np.array_equal(itk.array_from_image(image), made.hu.numpy())
    assert grid_from_itk(image).is_close(made.grid, 1e-9)
    for point, hu in worlds(made):
        assert image.GetPixel(image.TransformPhysicalPointToIndex(point)) == hu


@ALL
def test_nibabel_round_trip_and_places(direction: tuple[float, ...], tmp_path: Path) -> None:
    made = volume(direction)
    nib.save(volume_to_nibabel(made), tmp_path / "volume.nii")
    image: Any = nib.load(tmp_path / "volume.nii")
    back = volume_from_nibabel(image)
    assert torch.equal(back.data, made.data)
    assert back.data.dtype is torch.int16
    assert back.grid.is_close(made.grid, NIFTI_MM)
    values = np.asanyarray(image.dataobj)
    for (left, posterior, superior), hu in worlds(made):
        index = np.linalg.inv(image.affine) @ [-left, -posterior, superior, 1.0]
        assert values[tuple(np.round(index[:3]).astype(int))] == hu


@ALL
def test_nifti_means_the_same_to_itk(direction: tuple[float, ...], tmp_path: Path) -> None:
    made = volume(direction)
    nib.save(volume_to_nibabel(made), tmp_path / "volume.nii")
    image = sitk.ReadImage(str(tmp_path / "volume.nii"))
    for point, hu in worlds(made):
        assert image.GetPixel(image.TransformPhysicalPointToIndex(point)) == hu
    assert volume_from_sitk(image).grid.is_close(made.grid, NIFTI_MM)


@ALL
def test_affine_round_trip(direction: tuple[float, ...]) -> None:
    grid = Grid(SIZE, SPACING, ORIGIN, direction)
    assert grid_from_affine_ras(affine_ras_from_grid(grid), SIZE).is_close(grid, 1e-9)


@ALL
def test_dicom_round_trip_and_places(direction: tuple[float, ...]) -> None:
    made = volume(direction)
    axes = made.grid.direction_matrix
    positions = [made.grid.index_to_world(torch.tensor([[0.0, 0.0, k]]).double())[0].tolist() for k in range(SIZE[2])]
    orientation = (*axes[:, 0], *axes[:, 1])
    grid = grid_from_dicom(orientation, (SPACING[1], SPACING[0]), tuple(positions[0]), tuple(positions[-1]), SIZE)
    assert grid.is_close(made.grid, 1e-9)
    for point, hu in worlds(made):
        # PS3.3 C.7.6.2.1.1: P = S + X Δi (column index) + Y Δj (row index)
        away = np.asarray(point) - np.asarray(positions)
        k = int(np.argmin(np.abs(away @ np.cross(axes[:, 0], axes[:, 1]))))
        column = round(float(away[k] @ axes[:, 0]) / SPACING[0])
        row = round(float(away[k] @ axes[:, 1]) / SPACING[1])
        assert int(made.data[k, row, column]) == hu


def test_dicom_refuses_a_tilted_gantry() -> None:
    step = float(np.tan(np.radians(10)) * 30)
    with pytest.raises(GeometryError, match=r"10\.0° off the normal.*tilted gantry"):
        grid_from_dicom((1, 0, 0, 0, 1, 0), (1.0, 1.0), (0.0, 0.0, 0.0), (0.0, step, 30.0), (4, 4, 11))


def test_dicom_with_rounded_cosines_is_no_tilt() -> None:
    grid = grid_from_dicom((0.99985, 0.0175, 0, -0.0175, 0.99985, 0), (1, 1), (0, 0, 0), (0.001, 0, 30), (4, 4, 11))
    assert grid.spacing[2] == pytest.approx(3.0)


@ALL
def test_field_round_trip(direction: tuple[float, ...]) -> None:
    grid = Grid(SIZE, SPACING, ORIGIN, direction)
    field = DisplacementField(torch.randn(3, *grid.shape, generator=torch.Generator().manual_seed(1)), grid)
    back = field_from_sitk(field_to_sitk(field))
    assert torch.equal(back.data, field.data)
    assert back.grid == grid


def test_field_round_trip_through_itk(tmp_path: Path) -> None:
    grid = Grid(SIZE, SPACING, ORIGIN, ORIENTATIONS["oblique"])
    field = DisplacementField(torch.randn(3, *grid.shape, generator=torch.Generator().manual_seed(1)), grid)
    sitk.WriteImage(field_to_sitk(field), str(tmp_path / "field.mha"))
    back = field_from_itk(itk.imread(str(tmp_path / "field.mha")))
    assert torch.equal(back.data, field.data)
    assert back.grid.is_close(grid, 1e-9)


@pytest.mark.parametrize("name", ["LPS", "AIR", "SRP", "oblique"])
def test_a_field_means_the_same_to_simpleitk(name: str) -> None:
    """`sitk.Resample` through `DisplacementFieldTransform` is `rtmotion.field.warp`, also from another moving grid."""
    generator = torch.Generator().manual_seed(2)
    fixed = Grid((16, 14, 12), (1.1, 1.6, 2.3), (12.0, -30.0, 55.0), ORIENTATIONS[name])
    turned = Rotation.from_euler("zyx", [5, 10, -7], degrees=True).as_matrix() @ fixed.direction_matrix
    middle = fixed.index_to_world(torch.tensor([[7.5, 6.5, 5.5]]).double())[0].numpy()
    spacing = np.array([1.3, 1.4, 1.9])
    origin = middle - turned @ (spacing * (np.array([40, 38, 36]) - 1) / 2)
    moving_grid = Grid(
        (40, 38, 36), tuple(spacing.tolist()), tuple(origin.tolist()), tuple(turned.reshape(-1).tolist())
    )
    moving = Volume(torch.randint(-1000, 1000, moving_grid.shape, generator=generator).float(), moving_grid)
    field = DisplacementField(3.0 * torch.randn(3, *fixed.shape, generator=generator), fixed)

    transform = sitk.DisplacementFieldTransform(sitk.Cast(field_to_sitk(field), sitk.sitkVectorFloat64))
    reference = volume_to_sitk(Volume(torch.zeros(fixed.shape), fixed))
    theirs = sitk.GetArrayFromImage(sitk.Resample(volume_to_sitk(moving), reference, transform, sitk.sitkLinear, 0.0))
    ours = warp(moving.data, field.data, fixed, moving_grid=moving_grid)
    assert np.abs(theirs).max() > 500
    assert np.abs(ours.numpy() - theirs).max() < RESAMPLE_HU

    points = fixed.index_to_world(torch.tensor([[3.2, 4.7, 5.1], [8.0, 9.0, 3.0]]).double())
    expected = [transform.TransformPoint(p) for p in points.tolist()]
    assert np.allclose(field.transform_points(points).numpy(), expected, rtol=0, atol=1e-3)


def test_frame_grid_of_a_4d_image() -> None:
    image = sitk.Image([5, 4, 3, 2], sitk.sitkInt16)
    direction = np.eye(4)
    direction[:3, :3] = np.reshape(ORIENTATIONS["oblique"], (3, 3))
    image.SetSpacing([*SPACING, 0.5])
    image.SetOrigin([*ORIGIN, 0.0])
    image.SetDirection(direction.reshape(-1).tolist())
    assert frame_grid_from_sitk(image) == Grid(SIZE, SPACING, ORIGIN, ORIENTATIONS["oblique"])
    with pytest.raises(GeometryError, match="3D image was expected"):
        grid_from_sitk(image)
    with pytest.raises(GeometryError, match="4D image was expected"):
        frame_grid_from_sitk(image[:, :, :, 0])


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (">i2", torch.int16),
        ("<i2", torch.int16),
        ("u1", torch.uint8),
        (">u2", torch.int32),
        ("u4", torch.int64),
        (">f4", torch.float32),
        ("f8", torch.float64),
    ],
)
def test_arrays_of_any_type_and_byte_order(stored: str, expected: torch.dtype) -> None:
    array = np.array([[[1, 200]]], dtype=stored)
    array.flags.writeable = False
    tensor = tensor_from_array(array)
    assert tensor.dtype is expected
    assert tensor.tolist() == [[[1, 200]]]


def test_large_unsigned_values_do_not_wrap_around() -> None:
    assert tensor_from_array(np.array([[[65535]]], dtype=np.uint16)).item() == 65535


def test_writeable_arrays_are_not_copied() -> None:
    array = np.zeros((2, 2, 2), dtype=np.int16)
    tensor_from_array(array)[0, 0, 0] = 7
    assert array[0, 0, 0] == 7


def test_refuses_what_is_no_volume_or_field() -> None:
    with pytest.raises(GeometryError, match="three components"):
        field_from_sitk(sitk.Image([3, 3, 3], sitk.sitkVectorFloat32, 2))
    with pytest.raises(GeometryError, match="3D image was expected"):
        volume_from_nibabel(nib.Nifti1Image(np.zeros((3, 3), dtype=np.int16), np.eye(4)))
    with pytest.raises(GeometryError, match="no usable axes"):
        grid_from_affine_ras(np.diag([0.0, 1, 1, 1]), (2, 2, 2))


def test_itk_loads_where_every_warning_is_an_error() -> None:
    """Its compiled modules crash the process when the warning of their own wrapping is an error."""
    code = (
        "import torch\n"
        "from rtmotion.grid import Grid\n"
        "from rtmotion.interop import grid_from_itk, volume_to_itk\n"
        "from rtmotion.sequence import Volume\n"
        "grid = Grid((4, 3, 2))\n"
        "assert grid_from_itk(volume_to_itk(Volume(torch.zeros(2, 3, 4), grid))) == grid\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
