"""The motion model's forecast, which the network starts from."""

import numpy as np

from rtmotion.cycle.mixture import Combination, centred, first_mode
from rtmotion.cycle.temporal import CycleMixture, Situation
from rtmotion.cycle.waveforms import Array


def proposal(situation: Situation) -> tuple[Array, Array]:
    """The motion model's mean weights of the observed velocities, shape (m, k), and its doubts, shape (m,).

    A doubt is the standard deviation of the first mode's coefficient in units of its observed range.
    """
    combination = CycleMixture().combine(situation)
    return combination.mean, doubts_of(combination, situation.gram)


def doubts_of(combination: Combination, gram: Array) -> Array:
    """See `proposal`."""
    coefficient, _ = first_mode(centred(gram))
    span = max(float(np.ptp(coefficient)), 1e-9)
    each = combination.weights @ coefficient  # (p, m)
    mean = combination.probability @ each
    variance = combination.probability @ ((each - mean) ** 2 + combination.coefficient_sd**2)
    return np.asarray(np.sqrt(variance) / span)
