"""A conformal correction of the stated uncertainty, learned on cases whose whole cycle is known.

For every case the error of the displacement is looked at in units of the stated standard deviation; the factor of a
level is the quantile of these ratios over what it should be. Patients are the unit: the factor that is kept is the
conformal quantile over the cases (the largest of them, while they are few), so that the interval of the next patient
holds as often as it says, as far as that patient is like these. Vovk, Gammerman, Shafer, Algorithmic
Learning in a Random World, 2005; Lei et al., JASA 113(523), 2018.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from rtmotion.errors import ReadError, RtmotionError, WriteError
from rtmotion.evaluation.calibration import radius_factor

SCHEMA = "rtmotion.calibration/1"
LEVEL = 80
"""Per cent; the level whose interval is made right."""


@dataclass(frozen=True)
class SpreadCalibration:
    """What the stated standard deviations are multiplied by.

    Attributes:
        factors: By number of observed phases.
        cases: How many cases it was learned on.
        truth: What stood for the true displacement: `known` or `registered`.
        weights: SHA-256 of the weights that it belongs to.
    """

    factors: Mapping[int, float]
    cases: int
    truth: str
    weights: str

    def factor(self, observed: int) -> float:
        """The factor for a number of observed phases: that of the nearest number that was learned."""
        return self.factors[min(self.factors, key=lambda k: (abs(k - observed), k))]

    @property
    def description(self) -> str:
        """What the calibration was learned on, for a report."""
        return f"{self.cases} cases, {self.truth} displacements, {sorted(self.factors)} observed phases"


def case_factor(
    predicted: Sequence[Tensor], truth: Sequence[Tensor], sd: Sequence[Tensor], level: int = LEVEL
) -> float:
    """The factor that would have made a case's interval right.

    Args:
        predicted: Displacements of the target phases at the voxels that count, mm, LPS, shape (3, n) each.
        truth: The true ones.
        sd: The stated standard deviations, mm, shape (n,) each.
        level: Per cent.
    """
    ratios = torch.cat(
        [(p - t).norm(dim=0) / s.clamp_min(1e-6) for p, t, s in zip(predicted, truth, sd, strict=True)]
    ).double()
    if not len(ratios):
        raise RtmotionError("a case without lung says nothing of the uncertainty of breathing")
    # torch.quantile takes no more than 16 million values
    place = min(len(ratios) - 1, math.ceil(level / 100 * len(ratios)))
    return float(ratios.kthvalue(place + 1).values) / radius_factor(level)


def conformal(factors: Sequence[float], level: int = LEVEL) -> float:
    """The conformal quantile over cases: the (n + 1) · level-th smallest, the largest where there are too few.

    >>> conformal([1.0, 2.0, 1.5])
    2.0
    """
    rank = math.ceil((len(factors) + 1) * level / 100)
    return sorted(factors)[min(rank, len(factors)) - 1]


def save_calibration(calibration: SpreadCalibration, path: Path) -> None:
    """Writes a calibration as JSON.

    Raises:
        WriteError: If the system refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"schema": SCHEMA, **asdict(calibration)}, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise WriteError(f"{path}: the calibration cannot be written ({error.strerror or error})") from error


def load_calibration(path: Path) -> SpreadCalibration:
    """Reads a calibration.

    Raises:
        ReadError: If the file is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("schema") != SCHEMA:
            raise ValueError(f"its schema is not {SCHEMA}")
        factors = {int(k): float(v) for k, v in found.pop("factors").items()}
        if not factors or not all(math.isfinite(f) and f > 0 for f in factors.values()):
            raise ValueError("its factors are not positive numbers")
        return SpreadCalibration(factors=factors, **found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReadError(f"{path}: a calibration, as rtmotion calibrate writes it, was expected ({error})") from error
