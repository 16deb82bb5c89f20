"""Gaussian processes over the breathing cycle: covariances, conditioning on the observed phases, evidence."""

from collections.abc import Sequence

import numpy as np

from rtmotion.cycle.waveforms import Array

HARMONIC_POWER = (0.845, 0.083, 0.034, 0.019, 0.019)
"""Share of the variance of a real waveform in its harmonics 1 to 5, from external-marker cycles."""

CONSTANT_VARIANCE = 4.0
"""Variance of the unknown constant, in units of the variance of the motion over the cycle."""


def cyclic_kernel(a: Array, b: Array, power: Sequence[float] = HARMONIC_POWER) -> Array:
    """Σ p_h cos(2πh(a - b)): the covariance of a process with that power in its harmonics, (len a, len b)."""
    difference = 2 * np.pi * (np.asarray(a)[:, None] - np.asarray(b)[None, :])
    return np.asarray(sum(p * np.cos((h + 1) * difference) for h, p in enumerate(power)))


def bridge_kernel(a: Array, b: Array) -> Array:
    """The covariance of the cyclic Brownian bridge without its mean, variance 1: the mean between two phases is linear.

    B2 is the second Bernoulli polynomial: Σ cos(2πhΔ)/h² = π² B2(Δ), Δ in [0, 1].
    """
    difference = np.abs(np.asarray(a)[:, None] - np.asarray(b)[None, :]) % 1.0
    return 6.0 * (difference**2 - difference + 1.0 / 6.0)


def condition(covariance: Array, k: int, noise: float) -> tuple[Array, Array, Array, Array]:
    """Conditions Gaussian processes on their first k times.

    Args:
        covariance: Shape (p, k + m, k + m), without noise.
        k: Number of observed times.
        noise: Variance of the noise of an observation, and of a target as it would be observed.

    Returns:
        Weights (p, m, k), variance of the targets (p, m), precision of the observed (p, k, k), and the log
        determinant of the covariance of the observed (p,).
    """
    observed = covariance[:, :k, :k] + noise * np.eye(k)
    precision = np.asarray(np.linalg.inv(observed), dtype=np.float64)
    cross = covariance[:, k:, :k]
    weights: Array = cross @ precision
    prior = np.einsum("pmm->pm", covariance[:, k:, k:]) + noise
    spread = np.maximum(prior - np.einsum("pmk,pmk->pm", weights, cross), 0.0)
    return weights, spread, precision, np.asarray(np.linalg.slogdet(observed)[1])


def log_evidence(precision: Array, log_determinant: Array, values: Array) -> tuple[Array, Array]:
    """How well Gaussian processes of unknown variance explain the values at the observed phases.

    Args:
        precision: Shape (p, k, k).
        log_determinant: Of the covariance, shape (p,).
        values: Shape (k,).

    Returns:
        Log evidence up to a constant (variance profiled out), and the variance itself, both of shape (p,).
    """
    k = len(values)
    variance = np.einsum("i,pij,j->p", values, precision, values) / k
    floor = 1e-12 * max(float(values @ values), 1e-300)
    variance = np.maximum(variance, floor)
    return np.asarray(-0.5 * (log_determinant + k * np.log(variance))), variance
