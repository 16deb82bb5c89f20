import math

import pytest
import torch
from scipy.ndimage import gaussian_filter

from rtmotion.evaluation.sharpness import edge_error, sharpness, slice_roughness, slope, spread_coverage
from rtmotion.grid import Grid

GRID = Grid((12, 10, 8), (2.0, 1.0, 4.0))


def inside(margin: int = 1) -> torch.Tensor:
    mask = torch.zeros(GRID.shape, dtype=torch.bool)
    mask[margin:-margin, margin:-margin, margin:-margin] = True
    return mask


def test_the_slope_of_a_ramp_is_in_hu_per_mm() -> None:
    z, y, x = (torch.arange(n).float() for n in GRID.shape)
    ramp = 3 * 2.0 * x[None, None, :] + 4 * 1.0 * y[None, :, None] + 12 * 4.0 * z[:, None, None]
    assert torch.allclose(slope(ramp, GRID), torch.full(GRID.shape, 13.0))


def test_one_slice_has_no_slope_across() -> None:
    flat = torch.arange(10.0).expand(1, 10, 10)
    assert torch.allclose(slope(flat, Grid((10, 10, 1))), torch.ones(1, 10, 10))


def test_a_blurred_volume_is_less_sharp_and_its_edges_are_off() -> None:
    truth = 100 * torch.randn(GRID.shape, generator=torch.Generator().manual_seed(0))
    blurred = torch.from_numpy(gaussian_filter(truth.numpy(), 1.0))
    own, other = slope(truth, GRID), slope(blurred, GRID)
    assert sharpness(own, own, inside()) == pytest.approx(100.0)
    assert edge_error(own, own, inside()) == 0.0
    assert 5 < sharpness(other, own, inside()) < 60
    assert edge_error(other, own, inside()) > 10


def test_slices_that_jump_are_rough() -> None:
    jumps = torch.zeros(GRID.shape)
    jumps[::2] = 40.0
    assert slice_roughness(jumps, inside()) == pytest.approx(40.0)
    steady = torch.arange(GRID.shape[0]).float()[:, None, None].expand(GRID.shape)
    assert slice_roughness(steady, inside()) == pytest.approx(0.0)
    assert slice_roughness(jumps.transpose(0, 2), torch.ones(12, 10, 8, dtype=torch.bool)) == 0.0
    assert math.isnan(slice_roughness(jumps[:2], inside()[:2]))


def test_the_interval_holds_four_fifths_of_normal_errors() -> None:
    grid = torch.randn(40, 40, 40, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(40, 40, 40, dtype=torch.bool)
    assert spread_coverage(torch.zeros_like(grid), 30 * grid, torch.full_like(grid, 30.0), mask) == pytest.approx(
        80, abs=1
    )
    assert spread_coverage(grid, grid, torch.zeros_like(grid), mask) == 100.0
