import numpy as np
import pytest

from rtmotion.cycle import autoregression
from rtmotion.cycle.temporal import Situation, temporal_model

PHASES = np.arange(10) / 10
EXACT = 1e-4
"""A recursion is found by evidence among noise variances down to 1e-12: not exact to the last digit."""


def swinging(period: float, damping: float = 1.0) -> np.ndarray:
    """Two fields that swing about a constant with a lag between them, shape (10, 3): an AR(2) in every component."""
    t = np.arange(10)
    turn = 2 * np.pi * t / period
    swing = damping ** t[:, None] * np.stack([np.cos(turn), 0.9 * np.sin(turn), np.zeros(10)], axis=1)
    return np.asarray(swing + np.array([0.3, -0.2, 1.0]))


def forecast(fields: np.ndarray, k: int, phases: np.ndarray = PHASES) -> np.ndarray:
    gram = fields @ fields.T
    found = temporal_model("pca-ar").combine(Situation(gram[:k, :k], phases[:k], phases[k:]))
    return np.asarray(found.mean @ fields[:k])


@pytest.mark.parametrize(("period", "damping"), [(10.0, 1.0), (9.0, 1.0), (11.5, 1.0), (10.0, 0.9), (8.0, 0.95)])
@pytest.mark.parametrize("k", [6, 7, 8])
def test_what_obeys_a_recursion_of_second_order_is_continued_exactly(period: float, damping: float, k: int) -> None:
    fields = swinging(period, damping)
    np.testing.assert_allclose(forecast(fields, k), fields[k:], atol=EXACT)


def test_the_recursion_is_that_of_the_sine() -> None:
    coefficients, _ = autoregression.principal_components(swinging(9.0)[:7] @ swinging(9.0)[:7].T)
    _, recursion = autoregression.fit(coefficients, 0.1)
    np.testing.assert_allclose(recursion, [2 * np.cos(2 * np.pi / 9), -1.0], atol=EXACT)


def test_under_noise_it_is_shrunk_to_one_breath_a_cycle() -> None:
    noise = np.random.default_rng(1).standard_normal((5, 8))
    coefficients, _ = autoregression.principal_components(noise @ noise.T)
    _, recursion = autoregression.fit(coefficients, 0.1)
    np.testing.assert_allclose(recursion, [2 * np.cos(2 * np.pi / 10), -1.0], atol=3 * autoregression.RECURSION_SD)


def test_a_missing_phase_is_bridged() -> None:
    smooth = swinging(10.0)
    kept = [0, 1, 2, 4, 5, 6, 7, 8, 9]
    found = forecast(smooth[kept], 6, PHASES[kept])
    # linear interpolation of one phase of a sine is off by 5 % of its amplitude
    np.testing.assert_allclose(found, smooth[[7, 8, 9]], atol=0.1)


def test_even_steps_of_even_phases_are_the_phases() -> None:
    np.testing.assert_allclose(autoregression.even_steps(PHASES[2:7], 0.1), np.eye(5), atol=1e-12)
    weights = autoregression.even_steps(np.array([0.0, 0.1, 0.3, 0.4]), 0.1)
    np.testing.assert_allclose(weights @ np.array([0.0, 1.0, 3.0, 4.0]), np.arange(5), atol=1e-12)


def test_a_target_between_two_steps_lies_between_them() -> None:
    fields = swinging(10.0)[:6]
    between = autoregression.autoregressive_weights(fields @ fields.T, PHASES[:6], np.array([0.6, 0.65, 0.7]))
    np.testing.assert_allclose(between[1], (between[0] + between[2]) / 2, atol=1e-12)


@pytest.mark.parametrize("k", range(2, 10))
def test_the_unit_of_the_fields_does_not_matter(k: int) -> None:
    fields = np.random.default_rng(k).standard_normal((10, 7))
    gram = fields[:k] @ fields[:k].T
    found = autoregression.autoregressive_weights(gram, PHASES[:k], PHASES[k:])
    np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-9)
    for scale in (1e-3, 1e3):
        scaled = autoregression.autoregressive_weights(scale**2 * gram, PHASES[:k], PHASES[k:])
        np.testing.assert_allclose(scaled, found, atol=1e-8)


def test_a_field_added_to_all_phases_is_added_to_the_forecast() -> None:
    fields = np.random.default_rng(3).standard_normal((10, 4))
    np.testing.assert_allclose(forecast(fields + 5.0, 6), forecast(fields, 6) + 5.0, atol=1e-6)


def test_phases_that_do_not_move_stay_where_they_are() -> None:
    still = np.ones((10, 3))
    np.testing.assert_allclose(forecast(still, 5), still[5:], atol=1e-9)


def test_nothing_grows_without_end() -> None:
    for recursion in ([2.5, -1.0], [1.8, 0.4], [1.2], [-1.5]):
        roots = np.roots(np.r_[1.0, -autoregression.stable(np.array(recursion))])
        assert np.abs(roots).max() <= 1 + 1e-9
    kept = np.array([2 * np.cos(0.6), -1.0])
    np.testing.assert_allclose(autoregression.stable(kept), kept, rtol=1e-12)
