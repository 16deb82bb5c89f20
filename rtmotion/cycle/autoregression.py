"""PCA and autoregression: each mode of the observed fields goes on as a linear recursion of its last coefficients.

The classical forecaster of respiratory fields: principal components of the observed velocities, and for all their
coefficients together one recursion `c(t) = a + φ₁ c(t-1) + φ₂ c(t-2)`. Three phases of a breath cannot determine a
recursion, so it is a ridge regression, shrunk towards that of a sine of one breath a cycle (φ₁ = 2cos 2πδ, φ₂ = -1,
δ the step between phases); the data say by their evidence how much (MacKay, Neural Computation 1992,
doi 10.1162/neco.1992.4.3.415).

The constants were chosen on marker recordings, with other cycles and noise than in the table of
`benchmarks/temporal_models.py`.
"""

import numpy as np

from rtmotion.cycle.waveforms import Array

ORDER = 2
"""A recursion of order 2 can swing; with two observed phases there is room for order 1 alone."""

MODE_SHARE = 0.9
"""The modes that hold this share of the variance of the observed fields are continued; the others stay at zero."""

LARGEST_MODES = 3

RECURSION_SD = 0.1
"""Prior standard deviation of φ around that of the sine: some ten percent of a breath's period or damping."""

LEVEL_SD = 1.0
"""Prior standard deviation of the constant a, in units of the root mean square of the coefficients."""

NOISE_VARIANCES = 10.0 ** np.arange(-12.0, 1.01, 0.5)
"""Of a coefficient, relative to their mean square: the candidates among which the evidence chooses."""


def autoregressive_weights(gram: Array, observed: Array, targets: Array) -> Array:
    """The weights of the observed velocities for every target phase.

    Phases that are not evenly spaced are brought to even steps (their median distance, counted back from the last
    phase) by linear interpolation of their fields; targets between two steps lie linearly between them.

    Args:
        gram: Inner products of the observed velocities (any unit), shape (k, k), k at least 2.
        observed: Fractions of the observed phases, increasing, shape (k,).
        targets: Fractions of the target phases, each taken as lying after the last observed one, shape (m,).

    Returns:
        Shape (m, k), each row adding up to 1.
    """
    step = float(np.median(np.diff(observed)))
    even = even_steps(observed, step)
    coefficients, modes = principal_components(even @ gram @ even.T)
    level, recursion = fit(coefficients, step)
    steps = ((np.asarray(targets, dtype=float) - observed[-1]) % 1.0) / step
    ahead = continued(coefficients, level, recursion, int(np.ceil(steps.max())) + 1)
    before = np.floor(steps).astype(int)
    share = (steps - before)[:, None]
    forecast = ahead[before] * (1 - share) + ahead[before + 1] * share
    n = len(even)
    return np.asarray((forecast @ modes + 1.0 / n) @ even)


def even_steps(observed: Array, step: float) -> Array:
    """The weights (n, k) that interpolate k phases at even steps back from the last one; the identity if they are."""
    n = int(np.floor((observed[-1] - observed[0]) / step + 1e-6)) + 1
    times = observed[-1] - step * np.arange(n)[::-1]
    return np.stack([np.interp(times, observed, row) for row in np.eye(len(observed))], axis=1)


def principal_components(gram: Array) -> tuple[Array, Array]:
    """The modes of fields about their mean.

    Args:
        gram: Inner products of the fields, shape (n, n).

    Returns:
        Coefficients (n, r) and the weights of the fields that make each mode (r, n), which add up to 0.
    """
    n = len(gram)
    centring = np.eye(n) - 1.0 / n
    values, vectors = np.linalg.eigh(centring @ gram @ centring)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    held = np.cumsum(values) / max(float(values.sum()), 1e-300)
    r = min(LARGEST_MODES, int(np.searchsorted(held, MODE_SHARE)) + 1)
    size = np.sqrt(np.maximum(values[:r], 1e-300))
    return vectors[:, :r] * size, (vectors[:, :r] / size).T @ centring


def fit(coefficients: Array, step: float) -> tuple[Array, Array]:
    """The recursion of the coefficients: one for all modes, with a constant for each.

    Args:
        coefficients: At even steps, shape (n, r).
        step: Of one row to the next, fraction of the cycle.

    Returns:
        The constants (r,) and the recursion (p,), φ₁ first, p the order.
    """
    n, r = coefficients.shape
    order = min(ORDER, n - 1)
    unit = np.sqrt(max(float((coefficients**2).mean(axis=0).sum()), 1e-300))
    scaled = coefficients / unit
    # one row a mode and step: the values before it, last first, and a 1 in the column of its mode's constant
    lagged = np.stack([scaled[order - 1 - j : n - 1 - j] for j in range(order)], axis=-1)  # (n - order, r, order)
    constants = np.broadcast_to(np.eye(r), (n - order, r, r))
    design = np.concatenate([lagged, constants], axis=-1).reshape(-1, order + r)
    cosine = np.cos(2 * np.pi * step)
    sine = np.array([2 * cosine, -1.0]) if order == 2 else np.array([cosine])
    rest = scaled[order:].reshape(-1) - design[:, :order] @ sine
    prior = np.r_[np.full(order, RECURSION_SD**2), np.full(r, LEVEL_SD**2)]
    explained = (design * prior) @ design.T
    covariances = explained + NOISE_VARIANCES[:, None, None] * np.eye(len(rest))
    solved = np.linalg.solve(covariances, np.broadcast_to(rest[:, None], (*covariances.shape[:2], 1)))[..., 0]
    evidence = -0.5 * (np.linalg.slogdet(covariances)[1] + solved @ rest)
    found = prior * (design.T @ solved[int(np.argmax(evidence))])
    return found[order:] * unit, stable(found[:order] + sine)


def stable(recursion: Array) -> Array:
    """The recursion with its roots brought to modulus 1 where they are larger, so that nothing grows without end."""
    radius = float(np.abs(np.roots(np.r_[1.0, -recursion])).max())
    return recursion / max(radius, 1.0) ** np.arange(1, len(recursion) + 1)


def continued(coefficients: Array, level: Array, recursion: Array, steps: int) -> Array:
    """The last row of the coefficients (n, r) and those of the steps after it, shape (steps + 1, r)."""
    rows = list(coefficients)
    for _ in range(steps):
        rows.append(level + sum(phi * rows[-1 - j] for j, phi in enumerate(recursion)))
    return np.stack(rows[len(coefficients) - 1 :])
