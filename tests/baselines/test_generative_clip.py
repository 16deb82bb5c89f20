"""What the image networks are shown: cells, the clock, tiles."""

import math

import pytest
import torch
from torch import Tensor

from rtmotion.grid import Grid
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion_baselines.generative.clip import (
    CENTRE_HU,
    CHANGE_UNIT,
    CLOCK_CHANNELS,
    SLOTS,
    Clip,
    cell_grid,
    clip_of,
    clock,
    from_cells,
    image_grid,
    slot_of,
    tiled,
    to_cells,
)
from tests.baselines.generative_toys import random_clip

TILT = math.cos(0.2), math.sin(0.2)
OBLIQUE = Grid((20, 30, 17), (2.0, 1.5, 5.0), (-40.0, 3.0, 7.0), (TILT[0], -TILT[1], 0, TILT[1], TILT[0], 0, 0, 0, -1))


def test_cells_hold_the_whole_image() -> None:
    hu = torch.randint(-1000, 500, (2, 8, 12, 16)).float()
    cells = to_cells(hu)
    assert cells.shape == (2, 8, 4, 6, 8)
    assert torch.allclose(from_cells(cells) + CENTRE_HU, hu, atol=1e-2)
    assert float(to_cells(torch.full((2, 2, 2), 3000.0)).max()) == 1.0


@pytest.mark.parametrize("grid", [OBLIQUE, Grid((24, 24, 24)), Grid((5, 3, 2), (4.0, 4.0, 4.0))])
def test_a_cell_lies_in_the_middle_of_its_voxels(grid: Grid) -> None:
    image = image_grid(grid)
    cells = cell_grid(image)
    assert cells.spacing == (8.0, 8.0, 8.0)
    assert all(n % 4 == 0 for n in cells.size)
    index = torch.stack(torch.meshgrid(*(torch.arange(n) for n in image.shape), indexing="ij"), dim=-1).flip(-1)
    place = image.index_to_world(index.reshape(-1, 3).double()).reshape(*image.shape, 3)
    for axis in range(3):
        mean = to_cells(place[..., axis] / 10 + CENTRE_HU).mean(dim=0)
        expected = cells.index_to_world(
            torch.stack(torch.meshgrid(*(torch.arange(n) for n in cells.shape), indexing="ij"), dim=-1)
            .flip(-1)
            .reshape(-1, 3)
            .double()
        )[:, axis].reshape(cells.shape)
        assert torch.allclose(mean * 7500, expected, atol=1e-6)


def test_phases_lie_on_the_clock_where_they_were_seen() -> None:
    clip = random_clip(phases=3)._replace(times=torch.tensor([-0.42, -0.38, 0.0]))
    shown, plain = clock(clip, differences=True), clock(clip, differences=False)
    assert shown.shape == (CLOCK_CHANNELS, 8, 12, 8)
    assert torch.equal(shown[:8], clip.last)
    change = (clip.cells[1] - clip.last) / CHANGE_UNIT
    assert torch.allclose(shown[32:40], change)  # of two in one slot the later stays
    assert torch.equal(plain[32:40], clip.cells[1])
    assert torch.equal(plain[:8], clip.last)
    filled = shown[-SLOTS:, 0, 0, 0].tolist()
    assert filled == [1, 0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert bool((shown[8:32] == 0).all())


def test_targets_are_put_in_the_order_of_time() -> None:
    grid = Grid((8, 8, 8), (4.0, 4.0, 4.0))
    phases = tuple(Phase(f) for f in (0.3, 0.4, 0.5))
    observed = PhaseSequence(phases, tuple(Volume(torch.full(grid.shape, -100.0 * i), grid) for i in range(3)))
    clip, order = clip_of([v.hu for v in observed.volumes], observed, [Phase(0.1), Phase(0.9), Phase(0.6)])
    assert order == [2, 1, 0]
    assert clip.ahead.tolist() == pytest.approx([0.1, 0.4, 0.6])
    assert clip.times.tolist() == pytest.approx([-0.2, -0.1, 0.0], abs=1e-6)
    assert [slot_of(t) for t in (0.01, 0.6, 0.99)] == [1, 6, 9]


def test_tiles_leave_no_seam() -> None:
    """What a voxel alone decides comes out as it does in one piece; so does a smooth answer, blended."""

    def pointwise(x: Tensor) -> Tensor:
        return torch.cat([x[:, :1] * 2, x[:, 1:2] - x[:, :1]], dim=1)

    values = torch.rand(3, 20, 26, 18, generator=torch.Generator().manual_seed(0))
    whole, parts = tiled(pointwise, values, 32), tiled(pointwise, values, 8)
    assert torch.allclose(whole, parts, atol=1e-5)


def test_a_clip_is_one_of_tensors_only() -> None:
    assert all(isinstance(t, Tensor) for t in random_clip())
    assert Clip._fields == ("cells", "times", "ahead")
