import numpy as np
import pytest

from rtmotion.cycle.mixture import MixtureConfig, combine
from rtmotion.cycle.waveforms import at_fractions, shipped_prior, trace_amplitudes
from rtmotion.errors import PhaseError
from rtmotion.sequence import BreathingTrace

PHASES = np.arange(10) / 10
PRIOR = shipped_prior()


def one_mode(cycle: np.ndarray, start: float, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inner products of the observed fields of one mode, the coefficient relative to the first phase, inhale."""
    wave = at_fractions(cycle[None], PHASES, start)[0]
    coefficient = wave - wave[0]
    return np.outer(coefficient[:k], coefficient[:k]), coefficient, coefficient[:k]


def test_the_shipped_prior_is_a_set_of_closed_cycles_from_end_inhale() -> None:
    assert PRIOR.cycles.shape == (len(PRIOR.recording), 20)
    assert len(PRIOR.cycles) > 500
    assert len(set(PRIOR.recording)) == 8
    assert PRIOR.cycles.min() >= 0
    assert PRIOR.cycles.max() <= 1
    mean = PRIOR.cycles.mean(axis=0)
    assert mean.argmax() == 0
    assert 9 <= mean.argmin() <= 13
    assert len(PRIOR.without(0).cycles) == (PRIOR.recording != 0).sum()


@pytest.mark.parametrize("start", [0.0, 0.15, 0.5, 0.85])
def test_a_cycle_of_the_prior_is_recognised_at_any_start(start: float) -> None:
    cycle = PRIOR.cycles[300]
    gram, coefficient, inhale = one_mode(cycle, start, 6)
    found = combine(gram, PHASES[:6], PHASES[6:], PRIOR, inhale=inhale)
    assert found.probability.sum() == pytest.approx(1.0)
    predicted = found.mean @ coefficient[:6]
    assert np.abs(predicted - coefficient[6:]).mean() < 0.2  # of the amplitude; no waveform forecaster reaches .1


def test_scale_and_a_common_rotation_of_the_fields_change_nothing() -> None:
    gram, _, inhale = one_mode(PRIOR.cycles[10], 0.3, 5)
    once = combine(gram, PHASES[:5], PHASES[5:], PRIOR, inhale=inhale)
    larger = combine(900.0 * gram, PHASES[:5], PHASES[5:], PRIOR, inhale=-3.0 * -inhale)
    np.testing.assert_allclose(once.mean, larger.mean, atol=1e-8)


def test_the_side_of_inhale_matters_only_where_the_waveform_is_lopsided() -> None:
    gram, coefficient, inhale = one_mode(PRIOR.cycles.mean(axis=0), 0.0, 4)
    right = combine(gram, PHASES[:4], PHASES[4:], PRIOR, inhale=inhale).mean @ coefficient[:4]
    wrong = combine(gram, PHASES[:4], PHASES[4:], PRIOR, inhale=-inhale).mean @ coefficient[:4]
    assert np.abs(right - coefficient[4:]).mean() < np.abs(wrong - coefficient[4:]).mean()


def test_a_recorded_waveform_leaves_little_to_guess() -> None:
    cycle = PRIOR.cycles[50]
    gram, coefficient, inhale = one_mode(cycle, 0.4, 4)
    recorded = at_fractions(cycle[None], PHASES, 0.4)[0] * 17.0 + 3.0
    known = combine(gram, PHASES[:4], PHASES[4:], PRIOR, inhale=inhale, amplitude=recorded)
    guessed = combine(gram, PHASES[:4], PHASES[4:], PRIOR, inhale=inhale)
    error = np.abs(known.mean @ coefficient[:4] - coefficient[4:]).mean()
    assert error < 0.05
    assert error < np.abs(guessed.mean @ coefficient[:4] - coefficient[4:]).mean()


def test_intervals_hold_four_in_five_of_the_truths_on_sessions_left_out_of_the_prior() -> None:
    generator = np.random.default_rng(0)
    covered = []
    for session in sorted(set(PRIOR.recording)):
        prior = PRIOR.without(session)
        cycles = PRIOR.cycles[PRIOR.recording == session]
        for cycle in cycles[generator.permutation(len(cycles))[:8]]:
            k = int(generator.integers(3, 8))
            _, coefficient, inhale = one_mode(cycle, generator.random(), k)
            noise = generator.normal(0, 0.02, 10)
            coefficient = coefficient + noise - noise[0]
            found = combine(np.outer(coefficient[:k], coefficient[:k]), PHASES[:k], PHASES[k:], prior, inhale=inhale)
            drawn = found.sample(coefficient[:k], 400, generator)
            low, high = np.quantile(drawn, [0.1, 0.9], axis=0)
            covered.extend((low <= coefficient[k:]) & (coefficient[k:] <= high))
    assert 0.72 < np.mean(covered) < 0.93, np.mean(covered)  # 8 × 8 cycles: the benchmark has the figure


def test_the_variance_form_is_the_variance_of_the_samples() -> None:
    gram, coefficient, inhale = one_mode(PRIOR.cycles[77], 0.2, 5)
    found = combine(gram, PHASES[:5], PHASES[5:], PRIOR, MixtureConfig(rest_noise_variance=1e6), inhale=inhale)
    form = found.variance_form()
    expected = np.einsum("i,mij,j->m", coefficient[:5], form, coefficient[:5])
    drawn = found.sample(coefficient[:5], 200_000, np.random.default_rng(0))
    # Student's t with 5 degrees of freedom has 5/3 of the variance that the form counts within a component
    within = np.einsum("p,pm->m", found.probability, found.coefficient_sd**2)
    np.testing.assert_allclose(drawn.var(axis=0), expected + within * (5 / 3 - 1), rtol=0.1)
    # over two voxels, of which one stands still
    still = np.outer(coefficient[:5], coefficient[:5]) / 2
    np.testing.assert_allclose(found.mean_variance(still), expected / 2, atol=1e-12)


def test_without_waveforms_it_is_a_gaussian_process() -> None:
    gram, _, _ = one_mode(PRIOR.cycles[5], 0.1, 5)
    found = combine(
        gram, PHASES[:5], PHASES[5:], PRIOR, MixtureConfig(waveform_share=0.0, bridge_share=1.0, noise_variance=1e-6)
    )
    weights = found.mean
    assert weights[0, -1] > weights[-1, -1]  # fades from the last phase ...
    assert weights[-1, 0] > weights[0, 0]  # ... to the first


def test_a_trace_is_read_at_its_recorded_phases() -> None:
    time = np.arange(0, 20, 0.1)
    phase = (time / 4 + 0.25) % 1.0
    trace = BreathingTrace(time, np.cos(2 * np.pi * phase), phase)
    np.testing.assert_allclose(trace_amplitudes(trace, PHASES), np.cos(2 * np.pi * PHASES), atol=0.05)


def test_a_trace_that_does_not_cover_the_cycle_is_refused() -> None:
    time = np.arange(0, 1, 0.1)
    trace = BreathingTrace(time, time, time / 4)
    with pytest.raises(PhaseError, match="does not cover"):
        trace_amplitudes(trace, PHASES)
