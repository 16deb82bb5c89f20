"""Suspected sorting artefacts: an injected slab is found where it is, clean cycles are left in peace."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, shift

from rtmotion.grid import Grid
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion_data.inspection import read
from rtmotion_data.sorting_artefacts import find_artefacts, slice_jumps

SLAB = slice(20, 28)
SPACING_Z, ORIGIN_Z = 2.0, -100.0


def breathing_cycle(seed: int, slab_mm: float = 0.0) -> PhaseSequence:
    """Ten phases of a textured block that moves 12 mm along z; T30 with a slab displaced by `slab_mm`."""
    rng = np.random.default_rng(seed)
    texture = gaussian_filter(rng.normal(0, 1, (48, 32, 32)), 2.0)
    anatomy = -800 + 700 * (texture > 0.3 * texture.std())
    grid = Grid((32, 32, 48), (2.0, 2.0, SPACING_Z), (0.0, 0.0, ORIGIN_Z))
    volumes = []
    for i in range(10):
        move = 6 * (1 - np.cos(2 * np.pi * i / 10)) / SPACING_Z
        image = shift(anatomy.astype(float), (move, 0, 0), order=1, mode="nearest")
        if i == 3 and slab_mm:
            image[SLAB] = shift(anatomy.astype(float), (move + slab_mm / SPACING_Z, 0, 0), order=1, mode="nearest")[
                SLAB
            ]
        image = image + rng.normal(0, 20, image.shape)
        volumes.append(Volume(torch.from_numpy(image.astype(np.int16)), grid))
    return PhaseSequence(tuple(Phase.of_percent(10 * i) for i in range(10)), tuple(volumes))


@pytest.mark.parametrize("seed", range(4))
def test_a_clean_cycle_has_none(seed: int) -> None:
    assert find_artefacts(breathing_cycle(seed)) == ()


@pytest.mark.parametrize("seed", range(4))
def test_a_displaced_slab_is_found_at_its_borders(seed: int) -> None:
    found = find_artefacts(breathing_cycle(seed, slab_mm=14.0))
    assert {a.label for a in found} == {"T30"}
    borders = [ORIGIN_Z + SPACING_Z * (k - 0.5) for k in (SLAB.start, SLAB.stop)]
    assert [a.position for a in found] == pytest.approx(borders)
    assert all(a.severity > 6 for a in found)
    assert "T30" in found[0].describe()
    assert f"{borders[0]:.1f} mm" in found[0].describe()


def test_a_smaller_displacement_is_less_severe() -> None:
    large, small = (find_artefacts(breathing_cycle(0, slab_mm=mm), severity=0) for mm in (14.0, 4.0))
    worst = [max((a.severity for a in found if a.label == "T30"), default=0) for found in (large, small)]
    assert worst[0] > 2 * worst[1]


def test_jumps_have_one_value_a_border() -> None:
    sequence = breathing_cycle(1)
    assert slice_jumps(sequence).shape == (10, 47)
    flat = Volume(torch.zeros(sequence.grid.shape, dtype=torch.int16), sequence.grid)
    assert not slice_jumps(PhaseSequence((Phase(0.0),), (flat,))).any()


def test_two_phases_have_no_neighbours_to_compare_with() -> None:
    assert find_artefacts(breathing_cycle(0, slab_mm=14.0).select([2, 3])) == ()


@pytest.mark.data
def test_the_real_4dct_has_none_until_one_is_put_in(real_data: Path) -> None:
    sequence, _ = read(real_data / "popi_4dct_dicom")
    assert find_artefacts(sequence) == ()
    volumes = list(sequence.volumes)
    data = volumes[5].data.clone()
    data[20:26] = torch.roll(data, 2, 0)[20:26]  # 12 mm
    volumes[5] = Volume(data, sequence.grid)
    found = find_artefacts(PhaseSequence(sequence.phases, tuple(volumes)))
    assert {a.label for a in found} == {"T50"}
    # below the slab two slices are doubled, which is no jump; above it two are missing
    assert [a.position for a in found] == pytest.approx([sequence.grid.origin[2] + 6 * 25.5])
