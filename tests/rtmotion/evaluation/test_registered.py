"""What the frozen registration says of images: zero for the truth, the shift of what is shifted."""

import math

import pytest
import torch

from rtmotion.evaluation import registered
from rtmotion.evaluation.registered import registered_error, registered_floor
from rtmotion.evaluation.true_phase import TruePhase, true_phase
from rtmotion.field import DisplacementField, warp
from rtmotion.grid import Grid
from rtmotion.sequence import PhaseSequence, Volume
from tests.rtmotion.evaluation.tiny import breathing

GRID = Grid((32, 26, 24), (3.0, 3.0, 3.0), (-46.5, -37.5, 10.0))
SHIFT_MM = 3.0
TOLERANCE_MM = 0.8
"""Working voxels of 6 mm over texture of 20 mm."""

TREMBLING_MM = 0.15
"""Adam steps as far along a gradient of rounding errors as along any other."""


@pytest.fixture(scope="module")
def cycle() -> PhaseSequence:
    return breathing(6, GRID)


def true(cycle: PhaseSequence, label: str) -> TruePhase:
    return true_phase(cycle, label)


def test_the_truth_has_no_motion_error(cycle: PhaseSequence) -> None:
    found = registered_error(Volume(cycle.volumes[3].hu, GRID), true(cycle, "T50"))
    assert found.landmarks < TREMBLING_MM
    assert found.lung < TREMBLING_MM


def test_a_shifted_prediction_has_the_error_of_its_shift(cycle: PhaseSequence) -> None:
    shift = torch.zeros(3, *GRID.shape)
    shift[2] = SHIFT_MM
    predicted = Volume(warp(cycle.volumes[3].hu, shift, GRID), GRID)
    found = registered_error(predicted, true(cycle, "T50"))
    assert found.landmarks == pytest.approx(SHIFT_MM, abs=TOLERANCE_MM)
    # the ends of the chest, where nothing tells how far it went, hold the mean down
    assert 0.3 * SHIFT_MM < found.lung < SHIFT_MM + TOLERANCE_MM


def test_the_floor_is_the_registrations_own_error(cycle: PhaseSequence) -> None:
    phase = true(cycle, "T50")
    last = cycle.volumes[2]
    own = registered_floor(last, cycle.landmarks["T33"], phase)
    moved = float((cycle.landmarks["T33"] - cycle.landmarks["T50"]).norm(dim=1).mean())
    assert 0.0 < own.landmarks < 0.5 * moved
    assert 0.0 < own.lung < 0.5 * moved
    # not what it finds between the two phases
    assert registered_error(last, phase).landmarks == pytest.approx(moved, abs=own.landmarks + 1e-3)
    assert math.isnan(registered_floor(cycle.volumes[1], None, phase).landmarks)


def test_a_copy_is_registered_once(cycle: PhaseSequence, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    register = registered._register

    def counted(*arguments: object) -> DisplacementField:
        calls.append(1)
        return register(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(registered, "_register", counted)
    phase, last = true(cycle, "T50"), cycle.volumes[2]
    # as read, and as a forecaster hands it on
    assert registered_error(last, phase) == registered_error(Volume(last.hu, GRID), phase)
    assert len(calls) == 1
    for _ in range(2):
        registered_floor(last, None, phase)
    assert len(calls) == 3


def test_what_is_not_there_has_no_error() -> None:
    empty = Grid((12, 12, 12), (3.0, 3.0, 3.0))
    noise = torch.randint(-100, 100, empty.shape, generator=torch.Generator().manual_seed(1))
    nowhere = {"lung": torch.zeros(empty.shape, dtype=torch.bool)}
    phase = TruePhase(Volume(noise.to(torch.int16), empty), nowhere, {})
    found = registered_error(Volume(noise.float() + 5, empty), phase)
    assert math.isnan(found.landmarks)
    assert math.isnan(found.lung)
