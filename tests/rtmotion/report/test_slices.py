"""Images: the tone curve, the sprites, the budget."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rtmotion.report.slices import (
    QUALITY,
    SPRITE_COLUMNS,
    TONE_HU,
    TONE_LEVEL,
    VIEWS,
    View,
    cell_size,
    chosen_slices,
    encode_views,
    pack,
    plane,
    tile_size,
    to_levels,
)

JPEG_LEVELS = 6
"""A smooth image differs from its JPEG of quality 84 by no more than this many of 255 levels."""


def smooth(shape: tuple[int, int, int], shift: float = 0.0) -> Any:
    s, p, ell = np.meshgrid(*(np.linspace(0, 3, n) for n in shape), indexing="ij")
    return 400 * np.sin(s + shift) * np.cos(p) + 200 * np.sin(2 * ell)


def test_the_tone_curve_resolves_lung_and_soft_tissue() -> None:
    hu = np.linspace(-1024, 1400, 500)
    back = np.interp(to_levels(hu), TONE_LEVEL, TONE_HU)
    worst = np.interp(hu, [-1024, -200, -199, 300, 301, 1400], [4.2, 4.2, 2.6, 2.6, 10.1, 10.1])
    assert (np.abs(back - hu) <= worst).all()
    assert to_levels(np.array([-3000, 5000])).tolist() == [0, 255]


@pytest.mark.parametrize(("count", "wanted"), [(100, 24), (24, 24), (7, 24), (1, 24)])
def test_slices_are_spread_over_the_whole_volume(count: int, wanted: int) -> None:
    chosen = chosen_slices(count, wanted)
    assert len(set(chosen)) == min(count, wanted)
    assert chosen[0] == count - 1 - chosen[-1] or count > wanted
    assert 0 <= chosen[0] <= chosen[-1] < count


@pytest.mark.parametrize("view", VIEWS, ids=lambda v: v.name)
def test_every_tile_of_a_sprite_is_its_volume(view: View) -> None:
    volumes = [smooth((37, 43, 29), n) for n in range(SPRITE_COLUMNS + 2)]
    sprite = np.asarray(Image.open(io.BytesIO(pack(view, volumes, 11, 84)))).astype(int)
    width, height = tile_size(view, volumes[0])
    cell_w, cell_h = cell_size(width, height)
    for n, volume in enumerate(volumes):
        top, left = n // SPRITE_COLUMNS * cell_h, n % SPRITE_COLUMNS * cell_w
        tile = sprite[top : top + height, left : left + width]
        assert np.abs(tile - to_levels(plane(view, volume, 11))).max() <= JPEG_LEVELS


def test_large_slices_are_reduced() -> None:
    assert tile_size(VIEWS[2], np.zeros((2, 512, 300))) == (150, 256)


def test_the_budget_holds() -> None:
    rng = np.random.default_rng(0)
    volumes = [rng.normal(0, 300, (40, 40, 40)) for _ in range(6)]
    generous, _, best = encode_views(volumes, 100_000_000)
    assert len(generous["axial"]) == QUALITY[0][0]
    assert best == QUALITY[0][1]
    tight = 300_000
    slices, sprites, _ = encode_views(volumes, tight)
    assert sum(len(s) for of_view in sprites.values() for s in of_view) <= tight
    assert 6 <= len(slices["axial"]) < len(generous["axial"])
