"""Grid: index and world, other resolutions, what it refuses."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from rtmotion.errors import GeometryError
from rtmotion.grid import Grid

EXACT = 1e-9
"""mm; double precision over coordinates of some hundred mm."""

OBLIQUE = tuple(Rotation.from_euler("xyz", [12, -25, 40], degrees=True).as_matrix().reshape(-1).tolist())


def oblique() -> Grid:
    return Grid((12, 10, 7), (0.9, 1.7, 3.0), (-120.0, 33.0, 810.5), OBLIQUE)


def test_world_position_by_hand() -> None:
    grid = Grid((4, 5, 6), (2.0, 3.0, 4.0), (10.0, 20.0, 30.0), (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    # index axis x runs along world y, index axis y along world -x
    world = grid.index_to_world(torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64))
    assert world.tolist() == [[10.0 - 6.0, 20.0 + 2.0, 30.0 + 12.0]]


def test_shape_is_slices_first() -> None:
    assert Grid((2, 3, 4)).shape == (4, 3, 2)
    assert Grid((2, 3, 4)).voxels == 24
    assert Grid((2, 3, 4), (2.0, 0.5, 3.0)).voxel_volume == 3.0


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_world_and_index_are_inverse(index: list[float]) -> None:
    at = torch.tensor([index], dtype=torch.float64)
    back = oblique().world_to_index(oblique().index_to_world(at))
    assert torch.allclose(back, at, rtol=0, atol=EXACT)


def test_world_distances_are_mm() -> None:
    grid = oblique()
    corners = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    world = grid.index_to_world(corners)
    assert torch.allclose((world[1:] - world[0]).norm(dim=1), torch.tensor(grid.spacing).double(), atol=1e-6)


def test_contains_reaches_to_the_border_of_the_outer_voxels() -> None:
    grid = Grid((4, 4, 4), (2.0, 2.0, 2.0))
    points = torch.tensor([[-0.99, 0.0, 0.0], [-1.01, 0.0, 0.0], [6.99, 6.99, 6.99], [7.01, 0.0, 0.0]])
    assert grid.contains(points).tolist() == [True, False, True, False]


@pytest.mark.parametrize("size", [(6, 5, 14), (24, 30, 3), (12, 10, 7), (1, 1, 1)])
def test_resized_keeps_the_outer_borders(size: tuple[int, int, int]) -> None:
    grid, other = oblique(), oblique().resized(size)
    assert other.size == size
    for corner in ((0.0, 0.0, 0.0), (1.0, 0.0, 1.0), (1.0, 1.0, 1.0)):
        ends = [
            torch.tensor([[c * n - 0.5 for c, n in zip(corner, g.size, strict=True)]]).double() for g in (grid, other)
        ]
        assert torch.allclose(grid.index_to_world(ends[0]), other.index_to_world(ends[1]), rtol=0, atol=1e-6)


def test_with_spacing_is_never_finer_and_respects_the_minimum() -> None:
    grid = Grid((100, 80, 20), (1.0, 1.0, 3.0))
    assert grid.with_spacing(2.0).size == (50, 40, 20)
    assert grid.with_spacing(0.5).size == grid.size
    assert grid.with_spacing((4.0, 2.0, 6.0)).spacing == (4.0, 2.0, 6.0)
    assert grid.with_spacing(50.0, minimum=8).size == (8, 8, 8)
    assert Grid((4, 80, 20)).with_spacing(50.0, minimum=8).size == (4, 8, 8)


def test_is_close_sees_every_part_of_the_geometry() -> None:
    grid = oblique()
    assert grid.is_close(Grid(grid.size, grid.spacing, grid.origin, grid.direction))
    moved = (grid.origin[0] + 0.01, *grid.origin[1:])
    turned = Rotation.from_euler("z", 0.1, degrees=True).as_matrix() @ grid.direction_matrix
    for other in (
        Grid((12, 10, 8), grid.spacing, grid.origin, grid.direction),
        Grid(grid.size, (0.9, 1.7, 3.01), grid.origin, grid.direction),
        Grid(grid.size, grid.spacing, moved, grid.direction),
        Grid(grid.size, grid.spacing, grid.origin, tuple(turned.reshape(-1).tolist())),
    ):
        assert not grid.is_close(other)
    assert grid.is_close(Grid(grid.size, grid.spacing, moved, grid.direction), tolerance=0.02)


def test_left_handed_grids_are_grids() -> None:
    grid = Grid((3, 3, 3), direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    assert np.linalg.det(grid.direction_matrix) == pytest.approx(-1)
    assert grid.index_to_world(torch.tensor([[0.0, 0.0, 2.0]])).tolist() == [[0.0, 0.0, -2.0]]


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"size": (0, 4, 4)}, "sizes of at least 1"),
        ({"size": (4, 4)}, "three sizes"),
        ({"spacing": (1.0, 0.0, 1.0)}, "positive spacings"),
        ({"spacing": (1.0, -1.0, 1.0)}, "positive spacings"),
        ({"spacing": (1.0, math.nan, 1.0)}, "positive spacings"),
        ({"origin": (0.0, math.inf, 0.0)}, "finite"),
        ({"direction": (1.0, 0.0)}, "nine finite numbers"),
        ({"direction": (1.0, 0.1, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}, "perpendicular"),
        ({"direction": (2.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}, "perpendicular"),
        ({"direction": (0.0,) * 9}, "perpendicular"),
    ],
)
def test_refuses_what_is_no_grid(kwargs: dict[str, object], words: str) -> None:
    with pytest.raises(GeometryError, match=words):
        Grid(**{"size": (4, 4, 4), **kwargs})  # type: ignore[arg-type]
