"""What a forecast is, and what makes one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from rtmotion.errors import GeometryError
from rtmotion.field import DisplacementField
from rtmotion.grid import Grid
from rtmotion.sequence import BreathingTrace, Phase, PhaseSequence, Volume
from rtmotion.types import ScalarVolume


@dataclass(frozen=True, eq=False)
class Waveform:
    """The breathing waveform behind a forecast: the first motion mode over the whole cycle.

    The amplitude is without unit: 0 and 1 are the smallest and largest observed value of the mode.

    Attributes:
        fraction: Fractions of the cycle, increasing, shape (n,).
        mean: Expected amplitude, shape (n,).
        low: 10 % quantile, shape (n,).
        high: 90 % quantile, shape (n,): low to high is the 80 % interval.
        observed: Fractions and amplitudes of the observed phases, shape (k, 2).
    """

    fraction: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    observed: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Forecast:
    """What a forecaster says of the phases to come. Every list has one entry a target phase.

    Attributes:
        method: Name of the forecaster.
        targets: The predicted phases.
        volumes: Predicted HU on the observed sequence's grid, float32.
        reference: The observed phase that the fields point to; None where the method has no fields.
        displacements: Predicted phase (fixed) to reference phase (moving), mm LPS, on the predicted phase's grid:
            warping the reference volume by it gives the predicted anatomy. None where the method has no fields.
        uncertainty: One standard deviation of displacement, mm, float32, (z, y, x) a phase: the root of the summed
            variances of the three components. None where the method has none.
        waveform: The waveform behind the forecast, where the method has one.
        seconds: Wall time of each stage, by name.
        warnings: What the user should know of this forecast.
        details: Further facts for the report, JSON-compatible (options, weights of a mixture, residuals).
        hu_spread: One standard deviation of what a scan would show, HU, of a method that draws images, float32,
            (z, y, x) a phase. None where the method draws none.
        diversity: Standard deviation of HU between its samples, mean over the body, a phase.
        reconstruct: A volume as the method could show it if it knew it: through its tokenizer and back. None where the
            method has none.
    """

    method: str
    targets: tuple[Phase, ...]
    volumes: tuple[Volume, ...]
    reference: Phase | None = None
    displacements: tuple[DisplacementField, ...] | None = None
    uncertainty: tuple[ScalarVolume, ...] | None = None
    waveform: Waveform | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    hu_spread: tuple[ScalarVolume, ...] | None = None
    diversity: tuple[float, ...] | None = None
    reconstruct: Callable[[Volume], Volume] | None = None

    def __post_init__(self) -> None:
        n = len(self.targets)
        for name, entries in (
            ("volumes", self.volumes),
            ("displacements", self.displacements),
            ("uncertainty", self.uncertainty),
            ("hu_spread", self.hu_spread),
            ("diversity", self.diversity),
        ):
            if entries is not None and len(entries) != n:
                raise GeometryError(f"a forecast of {n} phases has {len(entries)} {name}")
        if self.displacements is not None and self.reference is None:
            raise GeometryError("a forecast with displacement fields must name the phase that they point to")

    @property
    def grid(self) -> Grid:
        """The grid of the predicted volumes."""
        return self.volumes[0].grid


@runtime_checkable
class Forecaster(Protocol):
    """Anything that predicts phases from earlier ones."""

    @property
    def name(self) -> str:
        """What `--method` takes."""
        ...

    def forecast(
        self, observed: PhaseSequence, targets: Sequence[Phase], trace: BreathingTrace | None = None
    ) -> Forecast:
        """Forecasts the target phases.

        Args:
            observed: The observed phases, at least one (most methods need two), in the order of their fractions.
            targets: The phases wanted, none of them observed.
            trace: A breathing trace that covers observed and target phases, where one was recorded.
        """
        ...
