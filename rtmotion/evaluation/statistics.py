"""Statistics over patients: paired intervals and tests, with the patient as the unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rtmotion.errors import RtmotionError

FEWEST_CASES = 6
"""With fewer patients the numbers of each case are given, and no interval and no p."""

RESAMPLES = 9999


@dataclass(frozen=True)
class Interval:
    """A mean over patients and the bounds of its interval."""

    mean: float
    low: float
    high: float


def paired_bootstrap(
    differences: Sequence[float], *, level: float = 95.0, seed: int = 0, resamples: int = RESAMPLES
) -> Interval:
    """Percentile bootstrap interval of the mean of paired differences, resampling patients.

    Args:
        differences: One difference a patient (method minus comparator), any unit.
        level: Per cent.
        seed: Of the resampling.
        resamples: Number of resamples.

    Raises:
        RtmotionError: If there are fewer than two patients.
    """
    from scipy.stats import bootstrap

    values = np.asarray(differences, dtype=np.float64)
    if values.size < 2:
        raise RtmotionError(f"an interval over patients needs at least two of them, got {values.size}")
    result = bootstrap(
        (values,),
        np.mean,
        confidence_level=level / 100.0,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(float(values.mean()), float(low), float(high))


def paired_permutation(differences: Sequence[float], *, seed: int = 0, resamples: int = RESAMPLES) -> float:
    """Two-sided p of the mean of paired differences being zero, by flipping the signs of patients.

    Exact where there are no more than `resamples` ways to flip (up to 13 patients), else sampled.

    Raises:
        RtmotionError: If there are no patients.
    """
    from scipy.stats import permutation_test

    values = np.asarray(differences, dtype=np.float64)
    if not values.size:
        raise RtmotionError("a test over patients needs patients, got none")
    if values.size == 1 or not values.any():
        return 1.0
    result = permutation_test(
        (values, -values),
        lambda x, y, axis: (x - y).mean(axis=axis) / 2.0,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(seed),
    )
    p: Any = result.pvalue
    return min(1.0, float(p))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number by Holm's step-down procedure, in the order given.

    Source: Holm 1979, Scandinavian Journal of Statistics 6:65-70.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
