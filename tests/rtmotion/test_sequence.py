"""Phase, Volume, PhaseSequence, BreathingTrace."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rtmotion.errors import GeometryError, PhaseError
from rtmotion.grid import Grid
from rtmotion.sequence import BreathingTrace, Phase, PhaseSequence, Volume, cyclic_distance

GRID = Grid((4, 3, 2), (1.0, 2.0, 3.0))


def sequence(count: int = 10) -> PhaseSequence:
    phases = tuple(Phase.of_percent(100 * i / count) for i in range(count))
    volumes = tuple(Volume(torch.full(GRID.shape, i, dtype=torch.int16), GRID) for i in range(count))
    landmarks = {p.label: torch.full((2, 3), float(i)) for i, p in enumerate(phases)}
    masks = {"lung": {p.label: torch.ones(GRID.shape, dtype=torch.bool) for p in phases}}
    return PhaseSequence(phases, volumes, landmarks, masks)


@pytest.mark.parametrize(
    ("percent", "label", "fraction"), [(0, "T00", 0), (30, "T30", 0.3), (100, "T00", 0), (5, "T05", 0.05)]
)
def test_phase_of_a_percentage(percent: float, label: str, fraction: float) -> None:
    assert Phase.of_percent(percent).label == label
    assert Phase.of_percent(percent).fraction == pytest.approx(fraction)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, math.nan])
def test_phase_refuses_other_fractions(fraction: float) -> None:
    with pytest.raises(PhaseError, match="0 <= f < 1"):
        Phase(fraction)


def test_a_label_may_differ_from_the_percentage() -> None:
    assert Phase(0.375, "T37").label == "T37"
    assert Phase(0.999).label == "T99"


@given(st.floats(0, 1), st.floats(0, 1))
def test_cyclic_distance(a: float, b: float) -> None:
    assert cyclic_distance(a, b) == pytest.approx(cyclic_distance(b, a))
    assert 0 <= cyclic_distance(a, b) <= 0.5
    assert cyclic_distance(a, b + 1) == pytest.approx(cyclic_distance(a, b), abs=1e-9)


def test_last_and_first_phase_are_neighbours() -> None:
    assert cyclic_distance(0.9, 0.0) == pytest.approx(0.1)


def test_volume_fills_its_grid() -> None:
    with pytest.raises(GeometryError, match="do not fill the grid"):
        Volume(torch.zeros(4, 3, 2), GRID)  # x first instead of z first
    assert Volume(torch.zeros(GRID.shape, dtype=torch.int16), GRID).hu.dtype is torch.float32


def test_observe_cuts_with_landmarks_and_masks() -> None:
    observed, truth = sequence().observe(3)
    assert observed.labels == ("T00", "T10", "T20")
    assert truth.labels == ("T30", "T40", "T50", "T60", "T70", "T80", "T90")
    assert set(observed.landmarks) == set(observed.labels)
    assert set(truth.masks["lung"]) == set(truth.labels)
    assert int(truth.volume("T50").data[0, 0, 0]) == 5
    assert truth.fractions.tolist() == pytest.approx([0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])


@pytest.mark.parametrize("k", [-1, 0, 1, 10, 11])
def test_observe_refuses_what_leaves_nothing(k: int) -> None:
    with pytest.raises(PhaseError, match="between 2 and 9"):
        sequence().observe(k)


def test_sequence_refuses_disorder() -> None:
    volume = Volume(torch.zeros(GRID.shape), GRID)
    moved = Volume(torch.zeros(GRID.shape), Grid(GRID.size, GRID.spacing, (0.0, 0.0, 1.0)))
    with pytest.raises(PhaseError, match="T10 does not come after T20"):
        PhaseSequence((Phase(0.2), Phase(0.1)), (volume, volume))
    with pytest.raises(PhaseError, match="does not come after"):
        PhaseSequence((Phase(0.2), Phase(0.2)), (volume, volume))
    with pytest.raises(PhaseError, match="2 phases and 1 volumes"):
        PhaseSequence((Phase(0.2), Phase(0.3)), (volume,))
    with pytest.raises(PhaseError, match="make no sequence"):
        PhaseSequence((), ())
    with pytest.raises(GeometryError, match="T30 lies on another grid than T20"):
        PhaseSequence((Phase(0.2), Phase(0.3)), (volume, moved))


def test_unknown_phase_lists_the_known() -> None:
    with pytest.raises(PhaseError, match="no phase T55; there are T00, T50"):
        sequence(2).volume("T55")


def test_trace_refuses_what_is_no_trace() -> None:
    time = np.arange(5.0)
    assert BreathingTrace(time, time).duration == 4.0
    with pytest.raises(PhaseError, match="must increase"):
        BreathingTrace(time[::-1].copy(), time)
    with pytest.raises(PhaseError, match="must be finite"):
        BreathingTrace(time, np.array([0, 1, math.nan, 1, 0]))
    with pytest.raises(PhaseError, match="at least two samples"):
        BreathingTrace(time[:1], time[:1])
    with pytest.raises(PhaseError, match="at least two samples"):
        BreathingTrace(time, time, time[:2])
