import pytest
import torch

from rtmotion.errors import GeometryError
from rtmotion.evaluation.lungs import Dome, diaphragm_error, dome_columns, lung_volume_error, split_lungs, true_dome
from rtmotion.field import world_coordinates
from rtmotion.grid import Grid
from rtmotion.sequence import Volume

GRID = Grid((48, 32, 40), (6.0, 6.0, 3.0), (-141.0, -93.0, 50.0))
SUBVOXEL_MM = 0.15
"""The edge is a ramp of one voxel, sampled linearly."""


def thorax(dome_mm: float, grid: Grid = GRID) -> tuple[Volume, torch.Tensor]:
    """Two lungs above domes whose tops lie at `dome_mm` along SI; the edge has the blur of a voxel."""
    x, y, z = world_coordinates(grid)
    footprint = ((x.abs() - 70) / 50) ** 2 + (y / 70) ** 2 < 1
    floor = dome_mm - 0.004 * ((x.abs() - 70) ** 2 + y**2)
    air = torch.clamp((z - floor) / grid.spacing[2] + 0.5, 0, 1) * footprint
    hu = 40.0 - 860.0 * air
    return Volume(hu, grid), hu < -400


def dome(truth: Volume, lung: torch.Tensor) -> Dome:
    found = true_dome("lung", truth, lung)
    assert found is not None
    return found


def test_a_dome_that_moves_is_seen_to_within_a_fraction_of_a_voxel() -> None:
    truth, lung = thorax(90.0)
    for shift in (0.0, 1.0, -2.3, 7.7):
        predicted, predicted_lung = thorax(90.0 + shift)
        for part in split_lungs(lung, GRID).values():
            error = diaphragm_error(predicted, predicted_lung, dome(truth, part))
            assert error == pytest.approx(abs(shift), abs=SUBVOXEL_MM)


@pytest.mark.parametrize("flip", [(), (0,), (2,), (0, 2)])
def test_sides_and_up_come_from_the_grid(flip: tuple[int, ...]) -> None:
    direction = torch.eye(3)
    origin = list(GRID.origin)
    for tensor_axis in flip:
        axis = 2 - tensor_axis
        direction[axis, axis] = -1
        origin[axis] += (GRID.size[axis] - 1) * GRID.spacing[axis]
    grid = Grid(GRID.size, GRID.spacing, (origin[0], origin[1], origin[2]), tuple(direction.flatten().tolist()))
    (truth, lung), (predicted, predicted_lung) = thorax(90.0, grid), thorax(86.0, grid)
    # only the patient's left lung moves
    left = world_coordinates(grid)[0] > 0
    mixed = Volume(torch.where(left, predicted.data, truth.data), grid)
    parts = split_lungs(lung, grid)
    assert bool(left[parts["left"]].all())
    assert not left[parts["right"]].any()
    mixed_lung = torch.where(left, predicted_lung, lung)
    assert diaphragm_error(mixed, mixed_lung, dome(truth, parts["left"])) == pytest.approx(4.0, abs=SUBVOXEL_MM)
    assert diaphragm_error(mixed, mixed_lung, dome(truth, parts["right"])) == pytest.approx(0.0, abs=1e-6)


def test_lungs_that_touch_are_parted_where_they_are_narrowest() -> None:
    _, lung = thorax(90.0)
    bridged = lung.clone()
    bridged[30:33, 14:18, 20:28] = True
    parts = split_lungs(bridged, GRID)
    assert set(parts) == {"left", "right"}
    x = world_coordinates(GRID)[0]
    assert float(x[parts["left"]].min()) > -30
    assert float(x[parts["right"]].max()) < 30
    assert torch.equal(parts["left"] | parts["right"], bridged)


def test_one_lung_has_no_side() -> None:
    _, lung = thorax(90.0)
    one = lung & (world_coordinates(GRID)[0] > 0)
    assert set(split_lungs(one, GRID)) == {"lung"}
    assert split_lungs(torch.zeros_like(lung), GRID) == {}


def test_a_lung_that_leaves_the_volume_below_shows_no_dome() -> None:
    truth, lung = thorax(-100.0)
    assert bool(lung[0].any())
    assert not dome_columns(lung, GRID).any()
    assert true_dome("lung", truth, lung) is None


def test_lung_volume_is_relative_to_the_truth() -> None:
    truth = torch.zeros(4, 5, 5, dtype=torch.bool)
    truth[:2] = True
    predicted = truth.clone()
    predicted[2, 0] = True
    assert lung_volume_error(predicted, truth) == pytest.approx(10.0)
    assert lung_volume_error(truth & ~predicted, truth) == pytest.approx(-100.0)
    with pytest.raises(GeometryError, match="the true lung is empty"):
        lung_volume_error(truth, torch.zeros_like(truth))
