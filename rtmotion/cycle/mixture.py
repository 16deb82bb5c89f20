"""The temporal model: a mixture, over breathing waveforms, of Gaussian processes over displacement fields.

Every field of a cycle is `F(t) = m1 w(t) + m2 w'(t) + c + g(t) + noise`: a waveform and its rate (hysteresis), a
constant, and a smooth cyclic remainder, all with Gaussian spatial coefficients. For one waveform `w` this is a
Gaussian process whose covariance over time is the same at every voxel, so the expected future field is a fixed linear
combination of the observed fields, and everything that the model needs of the fields is the k×k matrix of their inner
products. The mixture runs over real waveforms, all starts of the cycle, and two waveform-free processes: the cyclic
process with the harmonic power of real breathing, and the Brownian bridge, whose mean is linear closure.

Fields are velocities (log domain) from a common reference phase, so that the reference's own field is zero: the
constant with its large variance absorbs that.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from rtmotion.cycle.waveforms import Array, WaveformPrior, at_fractions

HARMONIC_POWER = (0.845, 0.083, 0.034, 0.019, 0.019)
"""Share of the variance of a real waveform in its harmonics 1 to 5, from external-marker cycles."""

CONSTANT_VARIANCE = 4.0
"""Variance of the unknown constant, in units of the variance of the motion over the cycle."""


@dataclass(frozen=True)
class MixtureConfig:
    """The model's constants; variances are in units of the variance of the motion over the cycle.

    Attributes:
        rate_variance: Of the term along the waveform's rate of change (hysteresis).
        remainder_variance: Of the smooth cyclic remainder beside a waveform.
        noise_variance: Of a phase by itself: registration error, binning of the phases, irregular breathing.
        starts: Number of starts of the cycle that are tried.
        start_concentration: Share of the prior that says that the first phase is end-inhale, as its label claims.
        start_spread: Standard deviation of that claim, fraction of the cycle.
        waveform_share: Prior share of all waveforms together; the rest is shared by the two waveform-free processes.
        bridge_share: Prior share of the Brownian bridge.
    """

    rate_variance: float = 0.05
    remainder_variance: float = 0.03
    noise_variance: float = 0.01
    starts: int = 20
    start_concentration: float = 0.5
    start_spread: float = 0.06
    waveform_share: float = 0.5
    bridge_share: float = 0.25


@dataclass(frozen=True, eq=False)
class Combination:
    """Future fields as linear combinations of the observed ones, one set of weights a component of the mixture.

    Attributes:
        probability: Of each component, shape (p,).
        weights: Shape (p, m, k): component, target phase, observed phase.
        spread: Variance of the target within its component, in units of the component's variance, shape (p, m).
        precision: The inverse covariance of the observed fields, shape (p, k, k); with the fields it gives the
            variance's unit at a voxel: `u^T precision u / k`.
    """

    probability: Array
    weights: Array
    spread: Array
    precision: Array

    @property
    def mean(self) -> Array:
        """The expected weights, shape (m, k)."""
        return np.einsum("p,pmk->mk", self.probability, self.weights)

    def variance_form(self) -> Array:
        """The matrices A of the variance: `var(t, x) = u(x)^T A_t u(x)` with `u` the k observed values at x.

        The variance is that between the components' means plus the mean of that within them; shape (m, k, k).
        """
        k = self.weights.shape[2]
        off = self.weights - self.mean
        between = np.einsum("p,pmi,pmj->mij", self.probability, off, off)
        within = np.einsum("p,pm,pij->mij", self.probability, self.spread, self.precision) / k
        return between + within

    def sample(self, values: Array, count: int, generator: np.random.Generator) -> Array:
        """Samples of a scalar at the targets, given its values at the observed phases.

        Args:
            values: Shape (k,).
            count: Number of samples.
            generator: Where the randomness comes from.

        Returns:
            Shape (count, m). The targets of a sample share their component, not their deviation from its mean.
        """
        k = len(values)
        chosen = generator.choice(len(self.probability), size=count, p=self.probability)
        unit = np.maximum(np.einsum("i,pij,j->p", values, self.precision, values) / k, 0.0)
        mean = np.einsum("pmk,k->pm", self.weights, values)
        deviation = np.sqrt(unit[:, None] * self.spread)
        # the unit is itself estimated from k values: Student's t with k degrees of freedom
        return mean[chosen] + deviation[chosen] * generator.standard_t(k, size=(count, mean.shape[1]))


def cyclic_kernel(a: Array, b: Array, power: Sequence[float] = HARMONIC_POWER) -> Array:
    """Σ p_h cos(2πh(a - b)): the covariance of a cyclic process with that power in its harmonics; shape (len a, len b)."""
    difference = 2 * np.pi * (np.asarray(a)[:, None] - np.asarray(b)[None, :])
    return np.sum([p * np.cos((h + 1) * difference) for h, p in enumerate(power)], axis=0)


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
    precision = np.linalg.inv(observed)
    cross = covariance[:, k:, :k]
    weights = cross @ precision
    prior = np.einsum("pmm->pm", covariance[:, k:, k:]) + noise
    spread = np.maximum(prior - np.einsum("pmk,pmk->pm", weights, cross), 0.0)
    return weights, spread, precision, np.linalg.slogdet(observed)[1]


def log_evidence(precision: Array, log_determinant: Array, gram: Array) -> Array:
    """How well Gaussian processes explain fields with these inner products, their variance being unknown.

    The fields count as d independent draws, d being the participation ratio of the inner products: voxels are no
    independent witnesses.

    Args:
        precision: Shape (p, k, k).
        log_determinant: Of the covariance, shape (p,).
        gram: Inner products of the observed fields, shape (k, k).

    Returns:
        Log evidence up to a constant, shape (p,).
    """
    k = len(gram)
    trace = float(np.trace(gram))
    if trace <= 0:
        return np.zeros(len(precision))
    draws = trace**2 / float(np.sum(gram**2))
    fit = np.maximum(np.einsum("pij,ij->p", precision, gram) / trace, 1e-12)
    return np.asarray(-0.5 * draws * (log_determinant + k * np.log(fit)))


def start_log_prior(shift: Array, config: MixtureConfig, start: str) -> Array:
    """The log prior of where the first phase lies in the waveform, 0 being end-inhale; shape as `shift`."""
    distance = np.abs((shift + 0.5) % 1.0 - 0.5)
    claim = np.exp(-0.5 * (distance / config.start_spread) ** 2)
    claim = claim / max(claim.sum(), 1e-12) * len(shift)
    share = config.start_concentration if start == "unknown" else 1.0
    return np.log(share * claim + (1.0 - share) + 1e-300)


def combine(
    gram: Array,
    observed: Array,
    targets: Array,
    prior: WaveformPrior,
    config: MixtureConfig | None = None,
    *,
    start: str = "unknown",
    inhale: Array | None = None,
    amplitude: Array | None = None,
) -> Combination:
    """The mixture's forecast of the fields at the target phases.

    Args:
        gram: Inner products of the observed fields (any unit), shape (k, k).
        observed: Fractions of the observed phases, shape (k,).
        targets: Fractions of the target phases, shape (m,).
        prior: The waveforms.
        config: The model's constants.
        start: `known`: the first phase is end-inhale; `unknown`: that is only likely.
        inhale: How far inhaled each observed phase is, any increasing unit, shape (k,); tells the waveform's sign.
        amplitude: A recorded waveform at the observed and then the target phases, shape (k + m,): where it is given
            it takes the place of the prior waveforms.

    Returns:
        Weights, probabilities and variances of every component.
    """
    config = config or MixtureConfig()
    times = np.concatenate([observed, targets])
    k = len(observed)
    remainder = config.remainder_variance * cyclic_kernel(times, times) + CONSTANT_VARIANCE
    if amplitude is not None:
        wave, rate, log_prior = _recorded(amplitude, times)
    else:
        wave, rate, log_prior = _hypotheses(prior, times, config, start)
    waveforms = (
        wave[:, :, None] * wave[:, None, :] + config.rate_variance * rate[:, :, None] * rate[:, None, :] + remainder
    )
    free = np.stack([cyclic_kernel(times, times), bridge_kernel(times, times)]) + CONSTANT_VARIANCE
    if amplitude is not None:
        free = free[:0]
    weights, spread, precision, log_determinant = condition(
        np.concatenate([waveforms, free]), k, config.noise_variance
    )
    log_posterior = log_evidence(precision, log_determinant, gram)
    if amplitude is None:
        cyclic_share = 1.0 - config.waveform_share - config.bridge_share
        log_prior = log_prior - np.logaddexp.reduce(log_prior) + np.log(config.waveform_share + 1e-300)
        log_posterior = log_posterior + np.r_[log_prior, np.log(cyclic_share + 1e-300), np.log(config.bridge_share + 1e-300)]
        if inhale is not None:
            n = len(wave)
            log_posterior[:n] += _sign_log_likelihood(wave[:, :k], precision[:n], inhale)
    probability = np.exp(log_posterior - np.logaddexp.reduce(log_posterior))
    keep = probability > 1e-6 * probability.max()
    probability = probability[keep] / probability[keep].sum()
    return Combination(probability, weights[keep], spread[keep], precision[keep])


def _hypotheses(
    prior: WaveformPrior, times: Array, config: MixtureConfig, start: str
) -> tuple[Array, Array, Array]:
    """Every prior cycle at every start: amplitude and rate at the times, (n·s, k + m) each, and the log prior."""
    cycles = prior.cycles - prior.cycles.mean(axis=1, keepdims=True)
    cycles = cycles / cycles.std(axis=1, keepdims=True)
    rates = (np.roll(cycles, -1, axis=1) - np.roll(cycles, 1, axis=1)) / 2
    rates = rates / rates.std(axis=1, keepdims=True)
    shifts = np.arange(config.starts) / config.starts
    shift = np.repeat(shifts, len(cycles))
    wave = at_fractions(np.tile(cycles, (config.starts, 1)), times, shift)
    rate = at_fractions(np.tile(rates, (config.starts, 1)), times, shift)
    # sessions weigh alike, however many cycles each gave
    session = np.bincount(prior.recording, minlength=prior.recording.max() + 1)[prior.recording]
    log_prior = np.repeat(start_log_prior(shifts, config, start), len(cycles)) - np.tile(np.log(session), config.starts)
    return wave, rate, log_prior


def _recorded(amplitude: Array, times: Array) -> tuple[Array, Array, Array]:
    """The recorded waveform as the only hypothesis: standardised amplitude, its rate by cyclic differences, prior."""
    order = np.argsort(times)
    wave = (amplitude - amplitude.mean()) / max(float(amplitude.std()), 1e-12)
    ordered, at = wave[order], times[order]
    ahead, behind = np.roll(ordered, -1), np.roll(ordered, 1)
    span = (np.roll(at, -1) - np.roll(at, 1)) % 1.0
    rate = np.empty_like(wave)
    rate[order] = (ahead - behind) / np.where(span > 0, span, 1.0)
    rate = rate / max(float(rate.std()), 1e-12)
    return wave[None], rate[None], np.zeros(1)


def _sign_log_likelihood(wave: Array, precision: Array, inhale: Array) -> Array:
    """The log probability that inhale goes with a larger waveform, from how far inhaled the observed phases are."""
    from scipy.special import log_ndtr

    level = inhale - inhale.mean()
    k = len(level)
    # the precision holds the waveform itself with variance 1: s | h is Gaussian with this mean and variance
    mean = np.einsum("pi,pij,j->p", wave, precision, level)
    variance = np.maximum(1.0 - np.einsum("pi,pij,pj->p", wave, precision, wave), 1e-6)
    unit = np.maximum(np.einsum("i,pij,j->p", level, precision, level) / k, 1e-12)
    return np.asarray(log_ndtr(mean / np.sqrt(variance * unit)))
