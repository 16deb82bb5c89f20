"""Is the stated uncertainty right? Coverage, width and sharpness of the intervals of displacement.

An uncertainty `s` (mm) is one standard deviation of displacement: the root of the summed variances of the three
components. It is read as a normal distribution with the same variance `s² / 3` along each axis, so that the region
that holds the true displacement with probability p is a ball of radius `s sqrt(q / 3)`, q the p-quantile of chi² with
three degrees of freedom.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rtmotion.errors import GeometryError

Array = npt.NDArray[Any]

LEVELS = (50, 80, 95)
"""The intervals that are reported, per cent."""

SMALLEST_MM = 1e-6
"""An uncertainty of zero is taken as this much."""


@dataclass(frozen=True)
class Calibration:
    """How the intervals of a forecast fare against the truth.

    Attributes:
        coverage: Level (%) to the percentage of points whose true displacement lies inside.
        width: Level (%) to the mean diameter of the region, mm.
        crps: Continuous ranked probability score, mean over points and components, mm; smaller is better, and for a
            forecast without spread it is the mean absolute error of a component.
    """

    coverage: dict[int, float]
    width: dict[int, float]
    crps: float


def radius_factor(level: float) -> float:
    """The radius of the region that holds the truth with `level` per cent, in units of the uncertainty."""
    from scipy.stats import chi2

    return float(np.sqrt(chi2.ppf(level / 100.0, df=3) / 3.0))


def crps_gaussian(error: Array, sd: Array) -> Array:
    """The continuous ranked probability score of a normal forecast, in the unit of the error.

    Args:
        error: Truth minus mean, any shape.
        sd: Standard deviation, positive, broadcast against `error`.

    Returns:
        Source: Gneiting, Raftery 2007, doi 10.1198/016214506000001437, eq. 21.
    """
    from scipy.stats import norm

    z = error / sd
    return np.asarray(sd * (z * (2.0 * norm.cdf(z) - 1.0) + 2.0 * norm.pdf(z) - 1.0 / np.sqrt(np.pi)))


def calibrate(predicted: Tensor, truth: Tensor, sd: Tensor, levels: tuple[int, ...] = LEVELS) -> Calibration:
    """Coverage, width and CRPS of the stated uncertainty.

    Args:
        predicted: Predicted displacements, mm, LPS, shape (n, 3): of voxels or of landmarks.
        truth: The true ones, shape (n, 3).
        sd: Stated uncertainty, mm, shape (n,), not negative.
        levels: Per cent.
    """
    error: Array = (truth.detach().cpu().double() - predicted.detach().cpu().double()).numpy()
    spread: Array = np.maximum(sd.detach().cpu().double().numpy(), SMALLEST_MM)
    if error.ndim != 2 or error.shape[1] != 3 or spread.shape != error.shape[:1] or not len(error):
        raise GeometryError(
            f"calibration needs (n, 3) displacements and (n,) uncertainties, got {error.shape} and {spread.shape}"
        )
    length = np.linalg.norm(error, axis=1)
    factor = {level: radius_factor(level) for level in levels}
    return Calibration(
        coverage={level: 100.0 * float((length <= f * spread).mean()) for level, f in factor.items()},
        width={level: 2.0 * f * float(spread.mean()) for level, f in factor.items()},
        crps=float(crps_gaussian(error, spread[:, None] / np.sqrt(3.0)).mean()),
    )
