import math

import pytest
import torch

from rtmotion.errors import GeometryError
from rtmotion.evaluation import fields
from rtmotion.field import jacobian_determinant, world_coordinates
from rtmotion.grid import Grid

GRID = Grid((12, 11, 10), (1.5, 1.0, 2.0), (-8.0, 3.0, 20.0))
FLOAT32 = 1e-4


def still() -> torch.Tensor:
    return torch.zeros(3, *GRID.shape)


def stretch(factor: float) -> torch.Tensor:
    """The field of `x -> factor x`."""
    return (factor - 1.0) * world_coordinates(GRID)


def test_no_motion_does_not_fold() -> None:
    assert fields.folding_percent(still(), GRID) == 0.0
    assert fields.folding_percent(stretch(0.4), GRID) == 0.0
    assert fields.sd_log_jacobian(still(), GRID) == 0.0


def test_a_mirror_folds_everywhere() -> None:
    mirror = still()
    mirror[0] = -2 * world_coordinates(GRID)[0]
    assert fields.folding_percent(mirror, GRID) == 100.0


def test_a_fold_of_one_voxel_is_counted_though_central_differences_miss_it() -> None:
    pinched = still()
    pinched[0, 5, 5, 5] = 1.2 * GRID.spacing[0]  # beyond its neighbour
    assert float(jacobian_determinant(pinched, GRID).min()) > 0
    assert fields.folding_percent(pinched, GRID) > 0
    mask = torch.zeros(GRID.shape, dtype=torch.bool)
    mask[:3] = True
    assert fields.folding_percent(pinched, GRID, mask) == 0.0
    mask[5, 5, 5] = True
    assert fields.folding_percent(pinched, GRID, mask) > 0.0


def test_the_spread_of_compression() -> None:
    assert fields.sd_log_jacobian(stretch(1.3), GRID) == pytest.approx(0.0, abs=FLOAT32)
    # half of the volume keeps its size, the other is stretched along x
    half = still()
    x = world_coordinates(GRID)[0]
    half[0] = torch.where(x > 0, 0.5 * x, torch.zeros_like(x))
    left, right = x < -2 * GRID.spacing[0], x > 2 * GRID.spacing[0]
    expected = torch.tensor([0.0] * int(left.sum()) + [math.log(1.5)] * int(right.sum())).std(correction=0)
    assert fields.sd_log_jacobian(half, GRID, left | right) == pytest.approx(float(expected), abs=FLOAT32)


def test_even_motion_is_smooth_and_acceleration_is_not() -> None:
    step = torch.tensor([0.0, 3.0, 4.0])[:, None, None, None].expand(3, *GRID.shape)
    even = torch.stack([t * step for t in range(4)])
    assert fields.temporal_smoothness(even) == pytest.approx(0.0, abs=FLOAT32)
    faster = torch.stack([t**2 * step for t in range(4)])
    assert fields.temporal_smoothness(faster) == pytest.approx(2 * 5.0)
    mask = torch.zeros(GRID.shape, dtype=torch.bool)
    mask[0] = True
    faster[:, :, 1:] = 0
    assert fields.temporal_smoothness(faster, mask) == pytest.approx(2 * 5.0)
    assert fields.temporal_smoothness(faster) == pytest.approx(2 * 5.0 / GRID.shape[0])
    with pytest.raises(GeometryError, match="three successive phases, got 2"):
        fields.temporal_smoothness(even[:2])


def test_a_cycle_closes_by_the_step_from_last_to_first() -> None:
    last = still()
    last[2] = 2.5
    assert fields.closure(last, still()) == pytest.approx(2.5)
    assert fields.closure(last, last) == 0.0
