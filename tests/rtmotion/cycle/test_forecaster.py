import dataclasses

import numpy as np
import pytest
import torch

from rtmotion.cycle.forecaster import MotionModelForecaster
from rtmotion.cycle.observed import observe_motion
from rtmotion.errors import PhaseError
from rtmotion.field import VelocityField
from rtmotion.forecasting import Forecast, Forecaster
from rtmotion.methods import find_method
from rtmotion.registration import SvfRegistration
from rtmotion.sequence import BreathingTrace, PhaseSequence, Volume


@pytest.fixture(scope="module")
def forecast(breathing: PhaseSequence) -> Forecast:
    observed, truth = breathing.observe(6)
    return MotionModelForecaster(samples=200).forecast(observed, truth.phases)


def mae(a: Volume, b: Volume) -> float:
    return float((a.hu - b.hu).abs().mean())


def test_it_is_a_forecaster_and_beats_persistence(breathing: PhaseSequence, forecast: Forecast) -> None:
    assert isinstance(MotionModelForecaster(), Forecaster)
    observed, truth = breathing.observe(6)
    errors = [mae(p, t) for p, t in zip(forecast.volumes, truth.volumes, strict=True)]
    copies = [mae(observed.volumes[-1], t) for t in truth.volumes]
    assert np.mean(errors) < 0.6 * np.mean(copies), (errors, copies)
    assert forecast.targets == truth.phases
    assert set(forecast.seconds) == {"registration", "temporal model", "appearance", "uncertainty"}


def test_the_fields_map_predicted_landmarks_onto_those_of_the_reference(
    breathing: PhaseSequence, forecast: Forecast
) -> None:
    assert forecast.reference is not None
    assert forecast.displacements is not None
    reference = breathing.landmarks[forecast.reference.label]
    before, after = [], []
    for phase, field in zip(forecast.targets, forecast.displacements, strict=True):
        points = breathing.landmarks[phase.label]
        before.append(float((points - reference).norm(dim=1).mean()))
        after.append(float((field.transform_points(points) - reference).norm(dim=1).mean()))
    assert np.mean(after) < 0.5 * np.mean(before), (before, after)


def test_uncertainty_is_in_mm_where_it_moves(forecast: Forecast) -> None:
    assert forecast.uncertainty is not None
    for sd in forecast.uncertainty:
        assert sd.shape == forecast.grid.shape
        assert torch.isfinite(sd).all()
        middle = float(sd[8:12, 9:13, 10:14].mean())
        assert 0.1 < middle < 15.0
        assert middle > 3 * float(sd[0, 0, 0])


def test_the_waveform_passes_through_the_observed_phases(forecast: Forecast) -> None:
    w = forecast.waveform
    assert w is not None
    assert (w.low <= w.high).all()
    at = np.interp(w.observed[:, 0], w.fraction, w.mean)
    np.testing.assert_allclose(at, w.observed[:, 1], atol=0.1)
    assert w.observed[:, 1].min() == pytest.approx(0.0)
    assert w.observed[:, 1].max() == pytest.approx(1.0)
    assert w.observed[0, 1] > w.observed[5, 1]  # larger is inhale, and the first phase is


def test_the_inhale_side_is_told_from_the_motion(breathing: PhaseSequence) -> None:
    motion = observe_motion(breathing, SvfRegistration(), 5)
    assert np.corrcoef(motion.inhale, [1.0, 0.8, 0.45, 0.2, 0.05, 0.0, 0.1, 0.35, 0.7, 0.95])[0, 1] > 0.95


def test_future_phases_are_never_seen(breathing: PhaseSequence) -> None:
    observed, truth = breathing.observe(4)
    first = MotionModelForecaster(samples=60).forecast(observed, truth.phases)
    again = MotionModelForecaster(samples=60).forecast(observed, truth.phases)
    for a, b in zip(first.volumes, again.volumes, strict=True):
        assert torch.equal(a.data, b.data)


def test_a_trace_takes_the_place_of_the_prior(breathing: PhaseSequence) -> None:
    observed, truth = breathing.observe(3)
    wave = np.array([1.0, 0.8, 0.45, 0.2, 0.05, 0.0, 0.1, 0.35, 0.7, 0.95])
    trace = BreathingTrace(np.arange(10.0), wave, np.arange(10) / 10)
    told = MotionModelForecaster(samples=60).forecast(observed, truth.phases, trace)
    guessed = MotionModelForecaster(samples=60).forecast(observed, truth.phases)
    errors = [np.mean([mae(p, t) for p, t in zip(f.volumes, truth.volumes, strict=True)]) for f in (told, guessed)]
    assert errors[0] < errors[1]
    assert told.details["trace"] is True


def test_one_phase_is_not_enough(breathing: PhaseSequence) -> None:
    with pytest.raises(PhaseError, match="at least 2"):
        MotionModelForecaster().forecast(breathing.select([0]), breathing.phases[1:])


def test_a_patient_who_does_not_move_is_told(breathing: PhaseSequence) -> None:
    still = PhaseSequence(breathing.phases, (breathing.volumes[0],) * 10)
    observed, truth = still.observe(4)
    found = MotionModelForecaster(samples=60).forecast(observed, truth.phases)
    assert any("hardly differ" in w for w in found.warnings)
    assert mae(found.volumes[0], still.volumes[0]) < 5.0


def test_known_start_is_selectable_by_name(breathing: PhaseSequence) -> None:
    unknown = find_method("motion-model").create(device="cpu", seed=0)
    known = find_method("motion-model-known-start").create(device="cpu", seed=0)
    assert unknown.temporal.config.start_concentration == 0.0  # type: ignore[attr-defined]
    assert known.temporal.config.start_concentration == 1.0  # type: ignore[attr-defined]


def test_an_engine_without_velocities_goes_through_the_logarithm(breathing: PhaseSequence) -> None:
    @dataclasses.dataclass(frozen=True)
    class Plain:
        name: str = "plain"

        def register(self, fixed, moving, mask=None):  # type: ignore[no-untyped-def]
            return dataclasses.replace(SvfRegistration().register(fixed, moving, mask), velocity=None)

    pair = breathing.select([0, 3])
    with_log = observe_motion(pair, Plain(), 0)
    direct = observe_motion(pair, SvfRegistration(), 0)
    ours = VelocityField(with_log.velocities[1], with_log.grid).displacement(pair.grid).data
    theirs = VelocityField(direct.velocities[1], direct.grid).displacement(pair.grid).data
    assert (ours - theirs).norm(dim=0).mean() < 0.5
