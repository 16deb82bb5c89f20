import dataclasses
import math
from functools import partial

import numpy as np
import pytest
import torch

from rtmotion.errors import GeometryError, PhaseError, UnknownNameError
from rtmotion.evaluation import protocol
from rtmotion.evaluation.protocol import UNITS, MetricRow, skill
from rtmotion.evaluation.scores import REGISTERED
from rtmotion.evaluation.true_phase import region_masks, true_phase
from rtmotion.field import DisplacementField
from rtmotion.forecasting import Forecast
from rtmotion.grid import Grid
from rtmotion.sequence import PhaseSequence, Volume
from tests.rtmotion.evaluation.tiny import AMPLITUDE_MM, GRID, Shifted, breathing, tumour_centre

MM = 1e-3
HALF_A_SLICE_MM = 2.6
"""The tumour's mask is five slices of 5 mm thick, or six: its centroid jumps by half a slice."""


evaluate = partial(protocol.evaluate, metrics=set(UNITS) - set(REGISTERED))
"""Without the registrations of predictions, which have tests of their own and take most of the time."""


def values(rows: list[MetricRow], metric: str, region: str = "body") -> dict[str, float]:
    return {r.phase: r.value for r in rows if (r.metric, r.region) == (metric, region)}


@pytest.fixture(scope="module")
def split(sequence: PhaseSequence) -> tuple[PhaseSequence, PhaseSequence]:
    return sequence.observe(5)


def persistence(observed: PhaseSequence, truth: PhaseSequence) -> Forecast:
    return Forecast("persistence", truth.phases, tuple(observed.volumes[-1] for _ in truth.phases))


def test_knowing_the_answer_is_perfect(split: tuple[PhaseSequence, PhaseSequence]) -> None:
    observed, truth = split
    rows = evaluate(Forecast("truth", truth.phases, truth.volumes), truth, observed)
    for label in truth.labels:
        for region in ("body", "lung"):
            assert values(rows, "mae", region)[label] == 0.0
            assert values(rows, "ssim", region)[label] == pytest.approx(1.0)
            assert values(rows, "ncc", region)[label] == pytest.approx(1.0, abs=1e-4)
        assert values(rows, "change")[label] == pytest.approx(1.0)
        assert values(rows, "mae", "tumour")[label] == 0.0
    # no error has no PSNR that a table could hold
    assert not values(rows, "psnr")


def test_doing_nothing_has_the_error_of_doing_nothing(split: tuple[PhaseSequence, PhaseSequence]) -> None:
    observed, truth = split
    rows = evaluate(persistence(observed, truth), truth, observed)
    for label, volume in zip(truth.labels, truth.volumes, strict=True):
        body = region_masks(volume)["body"]
        difference = (observed.volumes[-1].hu - volume.hu).abs()[body].double()
        assert values(rows, "mae")[label] == pytest.approx(float(difference.mean()))
        assert values(rows, "rmse")[label] == pytest.approx(math.sqrt(float((difference**2).mean())))
        assert values(rows, "change")[label] == 0.0
    # a forecast without fields has none of their metrics
    assert not {r.metric for r in rows} & {"tre_mean", "folding", "smoothness", "closure"}
    assert not values(rows, "dsc", "tumour")


def test_landmarks_of_the_predicted_phase_land_on_those_of_the_reference(
    split: tuple[PhaseSequence, PhaseSequence],
) -> None:
    observed, truth = split
    rows = evaluate(Shifted().forecast(observed, truth.phases), truth, observed)
    for phase in truth.phases:
        assert values(rows, "tre_mean", "landmarks")[phase.label] == pytest.approx(0.0, abs=MM)
        moved = float((tumour_centre(phase.fraction) - tumour_centre(0.0)).norm())
        assert values(rows, "tre_identity", "landmarks")[phase.label] == pytest.approx(moved, abs=MM)
        assert values(rows, "folding")[phase.label] == 0.0
        assert values(rows, "dsc", "tumour")[phase.label] > 0.85
        assert values(rows, "centroid_si", "tumour")[phase.label] < HALF_A_SLICE_MM


def test_fields_that_point_the_other_way_are_found_out(split: tuple[PhaseSequence, PhaseSequence]) -> None:
    observed, truth = split
    forecast = Shifted().forecast(observed, truth.phases)
    assert forecast.displacements is not None
    back = tuple(DisplacementField(-f.data, f.grid) for f in forecast.displacements)
    rows = evaluate(dataclasses.replace(forecast, displacements=back), truth, observed)
    for label, moved in values(rows, "tre_identity", "landmarks").items():
        assert values(rows, "tre_mean", "landmarks")[label] == pytest.approx(2 * moved, abs=MM)


def test_the_whole_cycle_has_its_rows(split: tuple[PhaseSequence, PhaseSequence]) -> None:
    observed, truth = split
    rows = evaluate(Shifted().forecast(observed, truth.phases), truth, observed)
    places = [tumour_centre(f).double() for f in truth.fractions]
    bends = [float((places[i + 1] - 2 * places[i] + places[i - 1]).norm()) for i in range(1, len(places) - 1)]
    assert values(rows, "smoothness", "volume") == {"all": pytest.approx(np.mean(bends), abs=MM)}
    # from T90 to T00
    step = float((places[-1] - tumour_centre(0.0)).norm())
    assert values(rows, "closure", "volume") == {"all": pytest.approx(step, abs=MM)}
    assert values(rows, "range_of_motion_si", "tumour")["all"] < HALF_A_SLICE_MM


def test_a_forecast_that_stands_still_misses_the_range_of_motion(sequence: PhaseSequence) -> None:
    observed, truth = sequence.observe(3)
    fields = tuple(DisplacementField(torch.zeros(3, *GRID.shape), GRID) for _ in truth.phases)
    still = dataclasses.replace(Shifted().forecast(observed, truth.phases), displacements=fields)
    found = values(evaluate(still, truth, observed), "range_of_motion_si", "tumour")["all"]
    seen = AMPLITUDE_MM * (1 - math.cos(0.4 * math.pi))
    assert found == pytest.approx(2 * AMPLITUDE_MM - seen, abs=HALF_A_SLICE_MM)


def test_uncertainty_is_held_against_the_landmarks(split: tuple[PhaseSequence, PhaseSequence]) -> None:
    observed, truth = split
    sure = evaluate(Shifted(0.5).forecast(observed, truth.phases), truth, observed)
    assert set(values(sure, "coverage_80", "landmarks").values()) == {100.0}
    assert values(sure, "crps", "landmarks")["T50"] < 0.2
    none = evaluate(Shifted().forecast(observed, truth.phases), truth, observed)
    assert not values(none, "coverage_80", "landmarks")


def test_every_row_is_finite_and_has_its_unit(split: tuple[PhaseSequence, PhaseSequence]) -> None:
    observed, truth = split
    forecast = Shifted(0.5).forecast(observed, truth.phases)
    drawn = dataclasses.replace(
        forecast,
        hu_spread=tuple(torch.full_like(v.hu, 20.0) for v in forecast.volumes),
        diversity=tuple(15.0 for _ in forecast.volumes),
        reconstruct=lambda volume: Volume(volume.hu + 7.0, volume.grid),
    )
    rows = protocol.evaluate(drawn, truth, observed)
    assert all(math.isfinite(r.value) and r.unit == UNITS[r.metric] for r in rows)
    assert len({(r.phase, r.region, r.metric) for r in rows}) == len(rows)
    # through the tokenizer and back goes the true phase
    assert [r.value for r in rows if r.metric == "round_trip"] == pytest.approx([7.0] * len(truth), abs=1e-3)
    assert {r.value for r in rows if r.metric == "diversity"} == {15.0}
    unseen = set(UNITS) - {r.metric for r in rows}
    # the tiny lungs stand on the border of the volume: no dome shows
    assert unseen == {"diaphragm"}


def test_only_the_wanted_metrics_are_measured(split: tuple[PhaseSequence, PhaseSequence]) -> None:
    observed, truth = split
    rows = evaluate(persistence(observed, truth), truth, observed, metrics=["mae", "tre_mean"])
    assert {r.metric for r in rows} == {"mae"}
    with pytest.raises(UnknownNameError, match="unknown metric 'mea'"):
        evaluate(persistence(observed, truth), truth, observed, metrics=["mea"])


def test_regions_may_be_given(split: tuple[PhaseSequence, PhaseSequence]) -> None:
    observed, truth = split
    corner = torch.zeros(GRID.shape, dtype=torch.bool)
    corner[:, :9, :9] = True
    given = {label: true_phase(truth, label, {"body": corner}) for label in truth.labels}
    rows = evaluate(persistence(observed, truth), truth, observed, metrics=["mae"], true_phases=given)
    assert {r.region for r in rows} == {"body", "tumour"}
    expected = (observed.volumes[-1].hu - truth.volume("T70").hu).abs()[corner].mean()
    assert values(rows, "mae")["T70"] == pytest.approx(float(expected))


def test_true_phases_that_are_shared_change_no_number(split: tuple[PhaseSequence, PhaseSequence]) -> None:
    observed, truth = split
    shared = {label: true_phase(truth, label) for label in truth.labels}
    for forecast in (Shifted(0.5).forecast(observed, truth.phases), persistence(observed, truth)):
        assert evaluate(forecast, truth, observed, true_phases=shared) == evaluate(forecast, truth, observed)


def test_a_forecast_of_another_patient_or_grid_is_refused(split: tuple[PhaseSequence, PhaseSequence]) -> None:
    observed, truth = split
    with pytest.raises(PhaseError, match="the forecast of T50 has no true phase"):
        evaluate(persistence(observed, truth), truth.select([1, 2]), observed)
    moved = Grid(GRID.size, GRID.spacing, (0.0, 0.0, 0.0))
    volumes = tuple(Volume(v.data, moved) for v in truth.volumes)
    with pytest.raises(GeometryError, match="lies on another grid"):
        evaluate(Forecast("x", truth.phases, volumes), truth, observed)


def test_skill_runs_from_the_best_trivial_baseline_to_the_oracle() -> None:
    assert skill(50.0, 50.0, 20.0) == 0.0
    assert skill(20.0, 50.0, 20.0) == 1.0
    assert skill(65.0, 50.0, 20.0) == pytest.approx(-0.5)
    assert skill(10.0, 20.0, 20.0) is None


def test_a_sequence_of_six_phases_is_scored_alike() -> None:
    observed, truth = breathing(6).observe(3)
    rows = evaluate(Shifted().forecast(observed, truth.phases), truth, observed)
    assert set(values(rows, "tre_mean", "landmarks")) == {"T50", "T67", "T83"}
    assert max(values(rows, "tre_mean", "landmarks").values()) < MM
