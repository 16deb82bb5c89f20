"""The trivial baselines: forecasts that copy or average what was observed, and the bound of all copies."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from rtmotion.errors import PhaseError, UnknownNameError
from rtmotion.evaluation.intensity import mae
from rtmotion.evaluation.regions import body_mask
from rtmotion.field import DisplacementField
from rtmotion.forecasting import Forecast
from rtmotion.sequence import BreathingTrace, Phase, PhaseSequence, Volume, cyclic_distance
from rtmotion.types import ScalarVolume

TIE = 1e-6
"""Fractions of the cycle nearer than this are equal: at a tie in cyclic time the first phase is taken."""

MATCH = 0.25
"""A phase is at the mirrored fraction if it is no further from it than this share of the distance of two phases."""

Predict = Callable[[PhaseSequence, Phase], ScalarVolume]


def persistence(observed: PhaseSequence, target: Phase) -> ScalarVolume:
    """The last observed phase, HU, shape (z, y, x)."""
    return observed.volumes[-1].hu


def first_phase(observed: PhaseSequence, target: Phase) -> ScalarVolume:
    """The first observed phase, HU, shape (z, y, x)."""
    return observed.volumes[0].hu


def mean(observed: PhaseSequence, target: Phase) -> ScalarVolume:
    """The mean of the observed phases, HU, shape (z, y, x)."""
    total = torch.zeros_like(observed.volumes[0].hu)
    for volume in observed.volumes:
        total += volume.hu
    return total / len(observed)


def mirror(observed: PhaseSequence, target: Phase) -> ScalarVolume:
    """The observed phase at the mirrored fraction (T60 = T40) if there is one, else the last one; HU, (z, y, x)."""
    fractions = observed.fractions.tolist()
    gaps = [b - a for a, b in pairwise(fractions)] or [1.0 - MATCH]
    distances = [cyclic_distance(f, 1.0 - target.fraction) for f in fractions]
    nearest = min(range(len(fractions)), key=distances.__getitem__)
    return observed.volumes[nearest if distances[nearest] <= MATCH * min(gaps) else -1].hu


def cyclic_nearest(observed: PhaseSequence, target: Phase) -> ScalarVolume:
    """The last or the first observed phase, whichever is nearer in cyclic time; HU, shape (z, y, x)."""
    since_last = (target.fraction - observed.phases[-1].fraction) % 1.0
    to_first = (observed.phases[0].fraction - target.fraction) % 1.0
    return observed.volumes[-1 if to_first > since_last + TIE else 0].hu


COPIED = {"persistence": -1, "first-phase": 0}
"""The place among the observed phases of the one that a baseline copies whatever the target is."""

PREDICTIONS: dict[str, Predict] = {
    "persistence": persistence,
    "first-phase": first_phase,
    "mean": mean,
    "mirror": mirror,
    "cyclic-nearest": cyclic_nearest,
}


@dataclass(frozen=True)
class ClosestObserved:
    """Knows the answer: of the observed phases the one with the smallest mean absolute error over the true body.

    No forecast that copies one phase can be better, which makes it a bound.

    Attributes:
        truth: The true phases.
    """

    truth: PhaseSequence

    def __call__(self, observed: PhaseSequence, target: Phase) -> ScalarVolume:
        """The observed phase nearest to the true one, HU, shape (z, y, x)."""
        true = self.truth.volume(target.label)
        body = body_mask(true)
        body = body if body.any() else torch.ones_like(body)
        return min((v.hu for v in observed.volumes), key=lambda hu: mae(hu, true.data, body))


@dataclass(frozen=True)
class TrivialForecaster:
    """A forecaster that takes every target phase from the observed volumes.

    Where it copies one and the same phase, nothing moves: it has fields, of zero, from that phase. The others have
    none: a mean is no phase, and copies of several phases have no one reference.
    """

    name: str
    predict: Predict

    def forecast(
        self, observed: PhaseSequence, targets: Sequence[Phase], trace: BreathingTrace | None = None
    ) -> Forecast:
        """Forecasts the target phases; see `rtmotion.forecasting.Forecaster`. A trace changes nothing."""
        start = time.perf_counter()
        volumes = tuple(Volume(self.predict(observed, target), observed.grid) for target in targets)
        copied = COPIED.get(self.name)
        still = None
        if copied is not None:
            # one field for all targets: it is the same and nobody writes to it
            still = (DisplacementField(torch.zeros(3, *observed.grid.shape), observed.grid),) * len(targets)
        return Forecast(
            self.name,
            tuple(targets),
            volumes,
            None if copied is None else observed.phases[copied],
            still,
            seconds={"copy": time.perf_counter() - start},
        )


def create(name: str, truth: PhaseSequence | None = None) -> TrivialForecaster:
    """The trivial baseline of that name.

    Args:
        name: One of `PREDICTIONS`, or `closest-observed`.
        truth: The true phases; only `closest-observed` looks at them, and it needs them.
    """
    if name in PREDICTIONS:
        return TrivialForecaster(name, PREDICTIONS[name])
    if name != "closest-observed":
        raise UnknownNameError("trivial baseline", name, [*PREDICTIONS, "closest-observed"])
    if truth is None:
        raise PhaseError("closest-observed needs the true phases: it is a bound for comparisons, not a forecast")
    return TrivialForecaster(name, ClosestObserved(truth))
