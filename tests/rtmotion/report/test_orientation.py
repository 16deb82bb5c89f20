"""The patient stands upright, whichever way the file was stored."""

import numpy as np
import pytest
import torch

from rtmotion.grid import Grid
from rtmotion.report.orientation import orientation_of, sample_field
from rtmotion.report.slices import VIEWS, body_box, describe_views, liveliest, plane
from tests.rtmotion.report.case import every_direction

SIZE = (5, 6, 7)
SPACING = (1.0, 2.0, 3.0)


def oblique(degrees: float) -> tuple[float, ...]:
    """A rotation about the long axis, with x and y of the index swapped and one of them flipped."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return tuple((rotation @ np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1.0]])).reshape(-1).tolist())


def extreme_corner(grid: Grid) -> torch.Tensor:
    """A volume that is 1 at the most left, posterior and superior voxel, else 0."""
    corners = torch.cartesian_prod(*(torch.tensor([0, n - 1]) for n in grid.size))
    world = grid.index_to_world(corners.double())
    direction = orientation_of(grid).matrix.sum(axis=0)
    x, y, z = corners[int((world @ torch.from_numpy(direction)).argmax())].tolist()
    volume = torch.zeros(grid.shape)
    volume[z, y, x] = 1
    return volume


@pytest.mark.parametrize("direction", [*every_direction(), oblique(12.0)])
def test_left_posterior_superior_is_the_last_voxel(direction: tuple[float, ...]) -> None:
    grid = Grid(SIZE, SPACING, (10.0, -20.0, 30.0), direction)
    orientation = orientation_of(grid)
    upright = orientation.upright(extreme_corner(grid).numpy())
    assert upright[-1, -1, -1] == 1
    assert upright.shape == orientation.size[::-1]
    for axis, spacing in enumerate(orientation.spacing):
        assert spacing == SPACING[orientation.axes[axis]]


@pytest.mark.parametrize("direction", [*every_direction(), oblique(12.0)])
def test_slice_positions_are_world_positions(direction: tuple[float, ...]) -> None:
    grid = Grid(SIZE, SPACING, (10.0, -20.0, 30.0), direction)
    orientation = orientation_of(grid)
    upright = orientation.upright(extreme_corner(grid).numpy())
    box = body_box(np.zeros(upright.shape, dtype=bool), orientation)
    slices = {v.name: list(range(upright.shape[2 - v.normal])) for v in VIEWS}
    for view in describe_views(slices, upright, box, orientation, grid, liveliest(upright, slices)):
        assert view["position"] == sorted(view["position"])
        assert view["start"] == len(view["slices"]) - 1  # the only voxel that changes


def test_the_screen_is_radiological() -> None:
    upright = np.zeros((7, 6, 5))
    upright[-1, 0, -1] = 1  # superior, anterior, left
    coronal, sagittal, axial = VIEWS
    assert plane(coronal, upright, 0)[0, -1] == 1
    assert plane(sagittal, upright, 4)[0, 0] == 1
    assert plane(axial, upright, 6)[0, -1] == 1
    assert plane(coronal, upright, 0).shape == (7, 5)
    assert plane(sagittal, upright, 0).shape == (7, 6)
    assert plane(axial, upright, 0).shape == (6, 5)


def test_tilt_is_stated() -> None:
    assert orientation_of(Grid(SIZE, direction=oblique(12.0))).tilt_degrees == pytest.approx(12.0)
    assert orientation_of(Grid(SIZE)).tilt_degrees == 0


@pytest.mark.parametrize("direction", [*every_direction()[::7], oblique(12.0)])
def test_vectors_turn_with_the_volume(direction: tuple[float, ...]) -> None:
    """A displacement along a row of the upright array has one component only, whatever the file's axes."""
    grid = Grid(SIZE, SPACING, direction=direction)
    orientation = orientation_of(grid)
    for axis in range(3):
        along = torch.tensor(orientation.matrix[axis], dtype=torch.float32)
        field = along[:, None, None, None].expand(3, *grid.shape)
        components = orientation.vectors(field)
        expected = np.eye(3)[axis]
        np.testing.assert_allclose(components[:, 1, 2, 3], expected, atol=1e-6)


def test_a_field_is_sampled_at_world_points() -> None:
    grid = Grid((4, 4, 4), (2.0, 2.0, 2.0), (10.0, 0.0, 0.0))
    field = torch.zeros(3, 4, 4, 4)
    field[2, :, :, 3] = 5.0
    at = sample_field(field, grid, torch.tensor([[16.0, 0.0, 0.0], [10.0, 0.0, 0.0], [15.0, 2.0, 2.0]]))
    torch.testing.assert_close(at[:, 2], torch.tensor([5.0, 0.0, 2.5]))
