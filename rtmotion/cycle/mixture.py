"""The temporal model: breathing waveforms for the first mode of motion, a bridge for the rest, in one mixture.

The observed fields are split into their first mode (its coefficient over the phases) and what is left of them.

The coefficient is a scalar over the cycle. It follows a mixture of Gaussian processes: one for every real waveform at
every start of the cycle (`s w(t) + c + small cyclic remainder + noise`), and two without a waveform: the cyclic process
with the harmonic power of real breathing, and the Brownian bridge, whose mean is linear closure. Every process has a
closed form, and its evidence says how much it counts. So the start of the cycle, the scale, the sign and whether to
trust a waveform at all are posterior probabilities.

What is left of the fields follows one Brownian bridge over the cycle, the same at every voxel.

In both parts the expected future field is a linear combination of the observed fields, so all that the model needs of
them is the k×k matrix of their inner products. Fields are velocities (log domain) from a common reference phase, whose
own noise is in all of them alike: their mean is taken off first, which makes of it the noise of one phase.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from rtmotion.cycle.gaussian_process import CONSTANT_VARIANCE, bridge_kernel, condition, cyclic_kernel, log_evidence
from rtmotion.cycle.waveforms import Array, WaveformPrior, at_fractions


@dataclass(frozen=True)
class MixtureConfig:
    """The model's constants; variances are in units of the variance of the motion over the cycle.

    Shares, noises and remainder were chosen on cycles of real external markers at three sites, with random starts and
    noise (`benchmarks/temporal_models.py`); the uniform start with a look at 4D CT.

    Attributes:
        remainder_variance: Of the smooth cyclic remainder of the first mode beside a waveform.
        noise_variance: Of a phase's coefficient by itself: registration, binning, irregular breathing.
        rest_noise_variance: The same for what is left of the fields after the first mode.
        starts: Number of starts of the cycle that are tried.
        start_concentration: Prior probability that the first phase is end-inhale as its label claims; otherwise the
            cycle may start anywhere. 0 takes the start as unknown.
        start_spread: Standard deviation of that claim, fraction of the cycle.
        waveform_share: Prior probability of all waveforms together.
        bridge_share: Prior probability of the Brownian bridge; the rest goes to the cyclic process.
        use_sign: Whether the sign of the waveform is taken from the side to which the anatomy moves on inhale.
    """

    remainder_variance: float = 0.02
    noise_variance: float = 0.005
    rest_noise_variance: float = 0.05
    starts: int = 20
    start_concentration: float = 0.0
    start_spread: float = 0.08
    waveform_share: float = 0.9
    bridge_share: float = 0.03
    use_sign: bool = True


@dataclass(frozen=True, eq=False)
class Combination:
    """Future fields as linear combinations of the observed ones, one set of weights a component of a mixture.

    Attributes:
        probability: Of each component, shape (p,).
        weights: Shape (p, m, k): component, target phase, observed phase.
        within: Mean variance within the components, as a quadratic form of the observed values, shape (m, k, k).
        coefficient_sd: Standard deviation of the first mode's coefficient within each component, in the coefficient's
            unit, shape (p, m); zero where the model has no uncertainty.
    """

    probability: Array
    weights: Array
    within: Array
    coefficient_sd: Array

    @property
    def mean(self) -> Array:
        """The expected weights, shape (m, k)."""
        return np.asarray(np.einsum("p,pmk->mk", self.probability, self.weights))

    @property
    def has_spread(self) -> bool:
        """Whether the model says how uncertain it is."""
        return bool(self.within.any())

    def variance_form(self) -> Array:
        """The matrices A of the variance: `var(t, x) = u(x)^T A_t u(x)` with `u` the k observed values at x.

        The variance is that between the components' means plus the mean of that within them; shape (m, k, k).
        """
        off = self.weights - self.mean
        return np.asarray(np.einsum("p,pmi,pmj->mij", self.probability, off, off) + self.within)

    def mean_variance(self, gram: Array) -> Array:
        """The variance of each target's field, a voxel's mean over the region of the inner products, shape (m,).

        Args:
            gram: Inner products of the observed fields, mm² a voxel, shape (k, k).
        """
        return np.asarray(np.einsum("mij,ij->m", self.variance_form(), gram).clip(min=0))

    def sample(self, coefficient: Array, count: int, generator: np.random.Generator) -> Array:
        """Samples of the first mode's coefficient at the targets.

        Args:
            coefficient: Its values at the observed phases, shape (k,).
            count: Number of samples.
            generator: Where the randomness comes from.

        Returns:
            Shape (count, m). The targets of a sample share their component, not their deviation from its mean.
        """
        chosen = generator.choice(len(self.probability), size=count, p=self.probability)
        mean = self.weights @ coefficient
        # the standard deviation is itself estimated from k values: Student's t with k degrees of freedom
        deviation = generator.standard_t(len(coefficient), size=(count, mean.shape[1]))
        return mean[chosen] + self.coefficient_sd[chosen] * deviation


def first_mode(gram: Array) -> tuple[Array, Array]:
    """The first mode of the observed fields: its coefficient in each of them, and the weights that make the mode.

    Returns:
        Coefficients (k,) and weights (k,): the mode is `sum(weights[i] * field[i])`, of unit norm.
    """
    values, vectors = np.linalg.eigh(gram)
    size = np.sqrt(max(float(values[-1]), 1e-30))
    return vectors[:, -1] * size, vectors[:, -1] / size


def centred(gram: Array) -> Array:
    """The inner products of fields whose mean has been taken off."""
    centring = np.eye(len(gram)) - 1.0 / len(gram)
    return np.asarray(centring @ gram @ centring)


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """Waveforms that may lie behind a cycle, standardised over it.

    Attributes:
        wave: Amplitude at the observed and then the target phases, shape (n, k + m).
        rate: Its rate of change, standardised, same shape.
        log_prior: Shape (n,), normalised.
    """

    wave: Array
    rate: Array
    log_prior: Array


def prior_hypotheses(prior: WaveformPrior, times: Array, config: MixtureConfig) -> Hypotheses:
    """Every prior cycle at every start."""
    cycles = prior.cycles - prior.cycles.mean(axis=1, keepdims=True)
    cycles = cycles / cycles.std(axis=1, keepdims=True)
    rates = (np.roll(cycles, -1, axis=1) - np.roll(cycles, 1, axis=1)) / 2
    rates = rates / rates.std(axis=1, keepdims=True)
    starts = np.arange(config.starts) / config.starts
    shift = np.repeat(starts, len(cycles))
    # sessions weigh alike, however many cycles each gave
    session = np.bincount(prior.recording)[prior.recording]
    log_prior = np.repeat(_start_log_prior(starts, config), len(cycles)) - np.tile(np.log(session), config.starts)
    return Hypotheses(
        at_fractions(np.tile(cycles, (config.starts, 1)), times, shift),
        at_fractions(np.tile(rates, (config.starts, 1)), times, shift),
        log_prior - np.logaddexp.reduce(log_prior),
    )


def recorded_hypothesis(amplitude: Array, times: Array) -> Hypotheses:
    """A recorded waveform (at the observed and then the target phases) as the only hypothesis."""
    order = np.argsort(times)
    wave = (amplitude - amplitude.mean()) / max(float(amplitude.std()), 1e-12)
    ordered, at = wave[order], times[order]
    span = (np.roll(at, -1) - np.roll(at, 1)) % 1.0
    rate = np.empty_like(wave)
    rate[order] = (np.roll(ordered, -1) - np.roll(ordered, 1)) / np.where(span > 0, span, 1.0)
    rate = rate / max(float(rate.std()), 1e-12)
    return Hypotheses(wave[None], rate[None], np.zeros(1))


def hypotheses_for(prior: WaveformPrior, times: Array, config: MixtureConfig, amplitude: Array | None) -> Hypotheses:
    """The recorded waveform where there is one, else every prior cycle at every start."""
    return prior_hypotheses(prior, times, config) if amplitude is None else recorded_hypothesis(amplitude, times)


def _start_log_prior(starts: Array, config: MixtureConfig) -> Array:
    """The log prior of where the first phase lies in the waveform, 0 being end-inhale."""
    distance = np.abs((starts + 0.5) % 1.0 - 0.5)
    claim = np.exp(-0.5 * (distance / config.start_spread) ** 2)
    share = config.start_concentration
    return np.asarray(np.log(share * claim / claim.sum() + (1.0 - share) / len(starts) + 1e-300))


def _sign_log_likelihood(wave: Array, precision: Array, inhale: Array) -> Array:
    """How likely inhale goes with a larger waveform, over that of not knowing (½): at most log 2."""
    from scipy.special import log_ndtr

    # the precision holds the waveform itself with variance 1: its factor, given the levels, is Gaussian
    mean = np.einsum("pi,pij,j->p", wave, precision, inhale)
    variance = np.maximum(1.0 - np.einsum("pi,pij,pj->p", wave, precision, wave), 1e-6)
    unit = np.maximum(np.einsum("i,pij,j->p", inhale, precision, inhale) / len(inhale), 1e-12)
    return np.asarray(log_ndtr(mean / np.sqrt(variance * unit)) + np.log(2.0))


@dataclass(frozen=True, eq=False)
class CoefficientPosterior:
    """The posterior over what lies behind the first mode's coefficient; p components, the waveforms first.

    Attributes:
        probability: Shape (p,).
        weights: Of the observed coefficients for the targets, shape (p, m, k).
        sd: Standard deviation of the target's coefficient within a component, shape (p, m).
        kept: Which hypotheses the components belong to, shape (p,); the waveform-free processes come last.
    """

    probability: Array
    weights: Array
    sd: Array
    kept: npt.NDArray[np.int64]


def coefficient_posterior(
    coefficient: Array, times: Array, hypotheses: Hypotheses, config: MixtureConfig, inhale: Array | None
) -> CoefficientPosterior:
    """The posterior over waveforms and waveform-free processes, given the first mode's coefficient.

    Args:
        coefficient: At the observed phases, shape (k,).
        times: Fractions of the observed and then the target phases, shape (k + m,).
        hypotheses: The waveforms.
        config: The model's constants.
        inhale: How far inhaled each observed phase is, any increasing unit, shape (k,), or None.
    """
    k, n = len(coefficient), len(hypotheses.wave)
    wave = hypotheses.wave
    cyclic, bridge = cyclic_kernel(times, times), bridge_kernel(times, times)
    covariance = np.concatenate(
        [wave[:, :, None] * wave[:, None, :] + config.remainder_variance * cyclic, cyclic[None], bridge[None]]
    )
    weights, spread, precision, log_determinant = condition(covariance + CONSTANT_VARIANCE, k, config.noise_variance)
    log_posterior, unit = log_evidence(precision, log_determinant, coefficient)
    shares = np.array([1.0 - config.waveform_share - config.bridge_share, config.bridge_share])
    log_posterior[:n] += hypotheses.log_prior + np.log(config.waveform_share + 1e-300)
    log_posterior[n:] += np.log(np.maximum(shares, 0.0) + 1e-300)
    if inhale is not None and config.use_sign:
        log_posterior[:n] += _sign_log_likelihood(wave[:, :k], precision[:n], inhale)
    probability = np.exp(log_posterior - np.logaddexp.reduce(log_posterior))
    keep = probability > 1e-5 * probability.max()
    probability = probability[keep] / probability[keep].sum()
    return CoefficientPosterior(
        probability, weights[keep], np.sqrt(unit[keep, None] * spread[keep]), np.flatnonzero(keep)
    )


def combine(
    gram: Array,
    observed: Array,
    targets: Array,
    prior: WaveformPrior,
    config: MixtureConfig | None = None,
    *,
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
        inhale: How far inhaled each observed phase is, any increasing unit, shape (k,); tells the waveform's sign.
        amplitude: A recorded waveform at the observed and then the target phases, shape (k + m,): where it is given
            it takes the place of the prior waveforms and of the waveform-free processes.

    Returns:
        Weights, probabilities and variances of every component.
    """
    config = config or MixtureConfig()
    times, k = np.concatenate([observed, targets]), len(observed)
    centring = np.eye(k) - 1.0 / k
    coefficient, mode = first_mode(centred(gram))
    hypotheses = hypotheses_for(prior, times, config, amplitude)
    if amplitude is not None:
        config = replace(config, waveform_share=1.0, bridge_share=0.0, use_sign=False)
    level = None if inhale is None else inhale - inhale.mean()
    found = coefficient_posterior(coefficient, times, hypotheses, config, level)
    weights = np.einsum("pmk,k,j->pmj", found.weights, coefficient, mode)
    within = np.einsum("p,pm,i,j->mij", found.probability, found.sd**2, mode, mode)
    left = np.eye(k) - np.outer(coefficient, mode)
    bridge = bridge_kernel(times, times)[None] + CONSTANT_VARIANCE
    rest_weights, spread, precision, _ = condition(bridge, k, config.rest_noise_variance)
    weights = (weights + rest_weights[0] @ left) @ centring + 1.0 / k
    within = within + spread[0][:, None, None] * (left.T @ precision[0] @ left) / k
    return Combination(found.probability, weights, centring @ within @ centring, found.sd)
