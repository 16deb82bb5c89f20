"""Temporal models: how the fields of future phases follow from those of the observed ones.

Every temporal model here is linear in the fields: it says with which weights the observed velocities (log domain, from
a common reference) add up to the velocity of a target phase. It needs only the fractions of the phases and the k×k
inner products of the observed fields, so it runs in milliseconds at any volume size and for any registration engine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from rtmotion.cycle.autoregression import autoregressive_weights
from rtmotion.cycle.gaussian_process import CONSTANT_VARIANCE, condition, cyclic_kernel
from rtmotion.cycle.mixture import (
    CoefficientPosterior,
    Combination,
    Hypotheses,
    MixtureConfig,
    coefficient_posterior,
    combine,
    first_mode,
    hypotheses_for,
)
from rtmotion.cycle.waveforms import Array, WaveformPrior, shipped_prior
from rtmotion.errors import UnknownNameError

CLIP = 1.0
"""An extrapolation goes at most this far beyond the last field, in units of the observed range."""

SECOND_HARMONIC_FROM = 8
"""Observed phases from which least squares can tell a second harmonic from noise."""


@dataclass(frozen=True, eq=False)
class Situation:
    """What a temporal model is told.

    Attributes:
        gram: Inner products of the observed velocities, shape (k, k).
        observed: Fractions of the observed phases, shape (k,).
        targets: Fractions of the target phases, shape (m,).
        inhale: How far inhaled each observed phase is (any increasing unit), shape (k,), or None.
        amplitude: A recorded waveform at the observed and then the target phases, shape (k + m,), or None.
    """

    gram: Array
    observed: Array
    targets: Array
    inhale: Array | None = None
    amplitude: Array | None = None


class TemporalModel(Protocol):
    """Anything that combines observed velocities into those of future phases."""

    @property
    def name(self) -> str:
        """Its name in a method's name."""
        ...

    def combine(self, situation: Situation) -> Combination:
        """The weights of the observed velocities for every target phase, with their probabilities."""
        ...


@dataclass(frozen=True)
class PointModel:
    """A temporal model without uncertainty: one set of weights, from a function of the situation."""

    name: str
    weights: Callable[[Situation], Array]

    def combine(self, situation: Situation) -> Combination:
        """One component of probability 1 with no spread."""
        weights = self.weights(situation)
        k = len(situation.observed)
        m = len(weights)
        return Combination(np.ones(1), weights[None], np.zeros((m, k, k)), np.zeros((1, m)))


def ahead(fraction: Array | float, origin: float) -> Array:
    """How far a fraction lies ahead of an origin along the cycle, 0 <= ahead < 1."""
    return (np.asarray(fraction, dtype=float) - origin) % 1.0


def persistence_weights(s: Situation) -> Array:
    """The last observed field."""
    weights = np.zeros((len(s.targets), len(s.observed)))
    weights[:, -1] = 1.0
    return weights


def clipped(weights: Array, gram: Array) -> Array:
    """Weights whose fields lie at most `CLIP` observed ranges from the last observed field; farther ones are cut.

    The range is the largest distance between two observed fields, in the norm of the inner products.

    Args:
        weights: Shape (m, k).
        gram: Inner products of the observed fields, shape (k, k).
    """
    norms = np.diag(gram)
    farthest = CLIP * np.sqrt(max(float((norms[:, None] + norms[None, :] - 2 * gram).max()), 0.0))
    off = weights.copy()
    off[:, -1] -= 1.0
    length = np.sqrt(np.maximum(np.einsum("mi,ij,mj->m", off, gram, off), 1e-30))
    off *= np.minimum(1.0, farthest / length)[:, None]
    off[:, -1] += 1.0
    return off


def linear_weights(s: Situation) -> Array:
    """The last two fields extrapolated, clipped."""
    weights = persistence_weights(s)
    step = ahead(s.targets, s.observed[-1]) / float(ahead(s.observed[-1], s.observed[-2]))
    weights[:, -1] += step
    weights[:, -2] -= step
    return clipped(weights, s.gram)


def closure_weights(s: Situation) -> Array:
    """The last field scaled linearly back to the first, since the cycle closes."""
    gap = float(ahead(s.observed[0], s.observed[-1]))
    share = ahead(s.targets, s.observed[-1]) / gap
    weights = np.zeros((len(s.targets), len(s.observed)))
    weights[:, -1] = 1.0 - share
    weights[:, 0] += share
    return weights


def cyclic_gp_weights(s: Situation) -> Array:
    """The cyclic Gaussian process of science: harmonic kernel, constant of variance 4, noise .01."""
    times = np.concatenate([s.observed, s.targets])
    weights, _, _, _ = condition(cyclic_kernel(times, times)[None] + 4.0, len(s.observed), 0.01)
    return np.asarray(weights[0])


def harmonic_weights(s: Situation) -> Array:
    """Constant and first harmonic (and the second from eight phases on) by least squares, clipped.

    Two harmonics on five phases are an interpolation, which swings by many times the motion between them.
    """
    harmonics = 1 if len(s.observed) < SECOND_HARMONIC_FROM else 2

    def basis(t: Array) -> Array:
        columns = [np.ones_like(t)]
        for h in range(1, harmonics + 1):
            columns += [np.cos(2 * np.pi * h * t), np.sin(2 * np.pi * h * t)]
        return np.asarray(np.stack(columns, axis=1))

    return clipped(np.asarray(basis(s.targets) @ np.linalg.pinv(basis(s.observed))), s.gram)


def pca_ar_weights(s: Situation) -> Array:
    """The principal components of the fields continued by an autoregression, clipped."""
    return clipped(autoregressive_weights(s.gram, s.observed, s.targets), s.gram)


UNIFORM_START = MixtureConfig(
    remainder_variance=0.0,
    noise_variance=0.01,
    start_concentration=0.0,
    waveform_share=1.0,
    bridge_share=0.0,
    use_sign=False,
)
KNOWN_START = replace(UNIFORM_START, start_concentration=1.0, start_spread=0.01)


def _posterior(s: Situation, prior: WaveformPrior, config: MixtureConfig) -> tuple[Hypotheses, CoefficientPosterior]:
    """The waveforms that may lie behind the first mode of the observed fields, and their posterior."""
    times = np.concatenate([s.observed, s.targets])
    hypotheses = hypotheses_for(prior, times, config, s.amplitude)
    coefficient, _ = first_mode(s.gram)
    return hypotheses, coefficient_posterior(coefficient, times, hypotheses, config, s.inhale)


@dataclass(frozen=True)
class WaveformPosterior:
    """One spatial mode whose coefficient follows the posterior over real waveforms, both signs.

    Attributes:
        name: Its name in a method's name.
        config: Start known or unknown, noise.
        prior: The waveforms; the shipped ones by default.
    """

    name: str
    config: MixtureConfig = UNIFORM_START
    prior: WaveformPrior = field(default_factory=shipped_prior)

    def combine(self, situation: Situation) -> Combination:
        """The mixture over waveforms alone, for the first mode alone."""
        coefficient, mode = first_mode(situation.gram)
        _, found = _posterior(situation, self.prior, self.config)
        weights = np.einsum("pmk,k,j->pmj", found.weights, coefficient, mode)
        within = np.einsum("p,pm,i,j->mij", found.probability, found.sd**2, mode, mode)
        return Combination(found.probability, weights, within, found.sd)


@dataclass(frozen=True)
class AmplitudeRate:
    """The observed fields regressed on a waveform and its rate (the 5D model's idea), averaged over its posterior.

    Attributes:
        name: Its name in a method's name.
        rate_variance: Prior variance of the rate's coefficient, that of the amplitude being 1.
        ridge: Variance of the noise.
        config: Of the posterior over waveforms.
        prior: The waveforms; the shipped ones by default.
    """

    name: str = "amplitude-rate"
    rate_variance: float = 0.2
    ridge: float = 0.05
    config: MixtureConfig = UNIFORM_START
    prior: WaveformPrior = field(default_factory=shipped_prior)

    def combine(self, situation: Situation) -> Combination:
        """The regression of every waveform, weighted by the waveform's posterior probability."""
        hypotheses, found = _posterior(situation, self.prior, self.config)
        wave, rate = hypotheses.wave[found.kept], hypotheses.rate[found.kept]
        covariance = (
            wave[:, :, None] * wave[:, None, :]
            + self.rate_variance * rate[:, :, None] * rate[:, None, :]
            + CONSTANT_VARIANCE
        )
        k = len(situation.observed)
        weights, spread, precision, _ = condition(covariance, k, self.ridge)
        within = np.asarray(np.einsum("p,pm,pij->mij", found.probability, spread, precision) / k)
        return Combination(found.probability, weights, within, found.sd)


@dataclass(frozen=True)
class CycleMixture:
    """The temporal model of `motion-model`: waveforms and waveform-free processes in one mixture.

    Attributes:
        name: Its name in a method's name.
        config: The model's constants; `start_concentration` 1 says that the first phase is end-inhale.
        prior: The waveforms; the shipped ones by default.
    """

    name: str = "mixture"
    config: MixtureConfig = field(default_factory=MixtureConfig)
    prior: WaveformPrior = field(default_factory=shipped_prior)

    def combine(self, situation: Situation) -> Combination:
        """See `rtmotion.cycle.mixture.combine`."""
        s = situation
        return combine(s.gram, s.observed, s.targets, self.prior, self.config, inhale=s.inhale, amplitude=s.amplitude)


TEMPORAL_MODELS: dict[str, Callable[[], TemporalModel]] = {
    "persistence": lambda: PointModel("persistence", persistence_weights),
    "linear": lambda: PointModel("linear", linear_weights),
    "closure": lambda: PointModel("closure", closure_weights),
    "harmonic": lambda: PointModel("harmonic", harmonic_weights),
    "pca-ar": lambda: PointModel("pca-ar", pca_ar_weights),
    "cyclic-gp": lambda: PointModel("cyclic-gp", cyclic_gp_weights),
    "posterior-known-start": lambda: WaveformPosterior("posterior-known-start", KNOWN_START),
    "posterior": lambda: WaveformPosterior("posterior"),
    "amplitude-rate": AmplitudeRate,
    "mixture": CycleMixture,
}
"""The temporal models by name."""


def temporal_model(name: str) -> TemporalModel:
    """The temporal model of that name.

    Raises:
        UnknownNameError: If there is none; the message lists them.
    """
    if name not in TEMPORAL_MODELS:
        raise UnknownNameError("temporal model", name, list(TEMPORAL_MODELS))
    return TEMPORAL_MODELS[name]()
