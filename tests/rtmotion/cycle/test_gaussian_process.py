import numpy as np
import pytest

from rtmotion.cycle.gaussian_process import bridge_kernel, condition, cyclic_kernel, log_evidence
from rtmotion.cycle.temporal import Situation, closure_weights

PHASES = np.arange(10) / 10


def test_conditioning_equals_the_textbook_formula() -> None:
    generator = np.random.default_rng(0)
    root = generator.standard_normal((3, 7, 7))
    covariance = root @ root.transpose(0, 2, 1)
    weights, spread, precision, log_determinant = condition(covariance, 4, 0.3)
    for i, whole in enumerate(covariance):
        observed = whole[:4, :4] + 0.3 * np.eye(4)
        np.testing.assert_allclose(weights[i], np.linalg.solve(observed, whole[:4, 4:]).T, rtol=1e-9)
        expected = whole[4:, 4:] + 0.3 * np.eye(3) - whole[4:, :4] @ np.linalg.solve(observed, whole[:4, 4:])
        np.testing.assert_allclose(spread[i], np.diag(expected), rtol=1e-9)
        np.testing.assert_allclose(precision[i] @ observed, np.eye(4), atol=1e-9)
        assert log_determinant[i] == pytest.approx(np.log(np.linalg.det(observed)))


@pytest.mark.parametrize("k", [2, 3, 5, 8])
def test_the_bridge_is_linear_closure(k: int) -> None:
    covariance = bridge_kernel(PHASES, PHASES)[None] + 1e4
    weights, _, _, _ = condition(covariance, k, 1e-9)
    expected = closure_weights(Situation(np.eye(k), PHASES[:k], PHASES[k:]))
    np.testing.assert_allclose(weights[0], expected, atol=1e-3)


@pytest.mark.parametrize("kernel", [cyclic_kernel, bridge_kernel])
def test_kernels_are_cyclic_and_positive(kernel) -> None:  # type: ignore[no-untyped-def]
    values = kernel(PHASES, PHASES)
    np.testing.assert_allclose(values, kernel(PHASES + 1, PHASES), atol=1e-12)
    assert np.linalg.eigvalsh(values).min() > -1e-9
    np.testing.assert_allclose(np.diag(values), 1.0, atol=1e-9)


def test_the_evidence_prefers_the_process_that_made_the_values() -> None:
    generator = np.random.default_rng(1)
    smooth = cyclic_kernel(PHASES, PHASES) + 0.01 * np.eye(10)
    white = np.eye(10)
    kernels = np.stack([smooth, white])
    precision, determinant = np.linalg.inv(kernels), np.linalg.slogdet(kernels)[1]
    wins = []
    for _ in range(200):
        values = 30 * np.linalg.cholesky(smooth) @ generator.standard_normal(10)
        evidence, variance = log_evidence(precision, determinant, values)
        wins.append(evidence[0] > evidence[1])
        assert variance[0] == pytest.approx(values @ precision[0] @ values / 10)
    assert np.mean(wins) > 0.9, np.mean(wins)
