"""Temporal models: how the fields of future phases follow from those of the observed ones.

Every temporal model here is linear in the fields: it says with which weights the observed velocities (log domain, from
a common reference) add up to the velocity of a target phase. It needs only the fractions of the phases and the k×k
inner products of the observed fields, so it runs in milliseconds at any volume size and for any registration engine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from rtmotion.cycle.mixture import Combination, MixtureConfig, combine, condition, cyclic_kernel
from rtmotion.cycle.waveforms import Array, WaveformPrior, shipped_prior
from rtmotion.errors import UnknownNameError

LINEAR_CLIP = 1.0
"""Linear extrapolation goes at most this far beyond the last field, in units of the observed range."""


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

    name: str

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
        return Combination(np.ones(1), weights[None], np.zeros((1, len(weights))), np.zeros((1, k, k)))


def ahead(fraction: Array | float, origin: float) -> Array:
    """How far a fraction lies ahead of an origin along the cycle, 0 <= ahead < 1."""
    return (np.asarray(fraction, dtype=float) - origin) % 1.0


def persistence_weights(s: Situation) -> Array:
    """The last observed field."""
    weights = np.zeros((len(s.targets), len(s.observed)))
    weights[:, -1] = 1.0
    return weights


def linear_weights(s: Situation) -> Array:
    """The last two fields extrapolated, clipped to `LINEAR_CLIP` observed ranges beyond the last."""
    weights = persistence_weights(s)
    step = ahead(s.targets, s.observed[-1]) / float(ahead(s.observed[-1], s.observed[-2]))
    norms = np.diag(s.gram)
    squared = norms[:, None] + norms[None, :] - 2 * s.gram
    last_step = np.sqrt(max(float(squared[-1, -2]), 1e-30))
    farthest = LINEAR_CLIP * np.sqrt(max(float(squared.max()), 0.0)) / last_step
    step = np.minimum(step, farthest)
    weights[:, -1] += step
    weights[:, -2] -= step
    return weights


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
    return weights[0]


def harmonic_weights(s: Situation) -> Array:
    """Constant and first harmonic (and the second from five phases on) by least squares."""
    harmonics = 1 if len(s.observed) < 5 else 2

    def basis(t: Array) -> Array:
        columns = [np.ones_like(t)]
        for h in range(1, harmonics + 1):
            columns += [np.cos(2 * np.pi * h * t), np.sin(2 * np.pi * h * t)]
        return np.stack(columns, axis=1)

    return np.asarray(basis(s.targets) @ np.linalg.pinv(basis(s.observed)))


def first_mode(gram: Array) -> tuple[Array, Array]:
    """The first mode of the observed fields: its coefficient in each of them, and the weights that make the mode.

    Returns:
        Coefficients (k,) and weights (k,): the mode is `sum(weights[i] * field[i])`, of unit norm.
    """
    values, vectors = np.linalg.eigh(gram)
    size = np.sqrt(max(float(values[-1]), 1e-30))
    return vectors[:, -1] * size, vectors[:, -1] / size


@dataclass(frozen=True)
class WaveformPosterior:
    """One spatial mode whose coefficient follows the posterior over real waveforms.

    Attributes:
        name: Its name in a method's name.
        start: `known` or `unknown`.
        rate_variance: 0 for amplitude alone; above, the fields are regressed on amplitude and rate.
        prior: The waveforms; the shipped ones by default.
    """

    name: str
    start: str = "unknown"
    rate_variance: float = 0.0
    prior: WaveformPrior = field(default_factory=shipped_prior)

    def combine(self, situation: Situation) -> Combination:
        """The mixture over waveforms alone; with rate_variance 0 applied to the first mode of the fields only."""
        config = MixtureConfig(
            rate_variance=self.rate_variance, remainder_variance=0.0, waveform_share=1.0, bridge_share=0.0
        )
        gram = situation.gram
        coefficients, mode = first_mode(gram)
        if self.rate_variance == 0.0:
            gram = np.outer(coefficients, coefficients)
        found = combine(
            gram,
            situation.observed,
            situation.targets,
            self.prior,
            config,
            start=self.start,
            inhale=situation.inhale,
            amplitude=situation.amplitude,
        )
        if self.rate_variance > 0.0:
            return found
        # predicted coefficient, spent on the mode
        onto_mode = np.einsum("pmk,k,j->pmj", found.weights, coefficients, mode)
        return Combination(found.probability, onto_mode, found.spread, found.precision)


@dataclass(frozen=True)
class CycleMixture:
    """The temporal model of `motion-model`: waveforms and waveform-free processes in one mixture."""

    name: str = "mixture"
    start: str = "unknown"
    config: MixtureConfig = field(default_factory=MixtureConfig)
    prior: WaveformPrior = field(default_factory=shipped_prior)

    def combine(self, situation: Situation) -> Combination:
        """See `rtmotion.cycle.mixture.combine`."""
        return combine(
            situation.gram,
            situation.observed,
            situation.targets,
            self.prior,
            self.config,
            start=self.start,
            inhale=situation.inhale,
            amplitude=situation.amplitude,
        )


TEMPORAL_MODELS: dict[str, Callable[[], TemporalModel]] = {
    "persistence": lambda: PointModel("persistence", persistence_weights),
    "linear": lambda: PointModel("linear", linear_weights),
    "closure": lambda: PointModel("closure", closure_weights),
    "harmonic": lambda: PointModel("harmonic", harmonic_weights),
    "cyclic-gp": lambda: PointModel("cyclic-gp", cyclic_gp_weights),
    "posterior-known-start": lambda: WaveformPosterior("posterior-known-start", start="known"),
    "posterior": lambda: WaveformPosterior("posterior"),
    "amplitude-rate": lambda: WaveformPosterior("amplitude-rate", rate_variance=0.2),
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
