"""The forecaster `video`: what the motion model leaves to a network is added by it; no network is trained yet.

Its zero output is the motion-model forecast, which is therefore what it returns today, and it says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rtmotion.cycle.forecaster import FieldForecaster, MotionModelForecaster
from rtmotion.cycle.observed import Progress
from rtmotion.forecasting import Forecast
from rtmotion.sequence import BreathingTrace, Phase, PhaseSequence

UNTRAINED = "no trained network ships with this version: the forecast is that of the motion model"


@dataclass(frozen=True)
class VideoForecaster:
    """The video-model predictor, standing on the motion model.

    Attributes:
        start: The forecaster whose forecast the network's zero output equals.
        name: Name of the method.
    """

    start: FieldForecaster
    name: str = "video"

    def forecast(
        self, observed: PhaseSequence, targets: Sequence[Phase], trace: BreathingTrace | None = None
    ) -> Forecast:
        """See `rtmotion.forecasting.Forecaster`."""
        found = self.start.forecast(observed, targets, trace)
        return replace(found, method=self.name, warnings=(*found.warnings, UNTRAINED))


def create(
    device: str = "cpu", seed: int = 0, samples: int = 1000, progress: Progress | None = None
) -> VideoForecaster:
    """The default forecaster.

    Args:
        device: Torch device.
        seed: Of the samples behind the waveform's interval.
        samples: Their number.
        progress: Called with a stage's name, steps done and steps in all.
    """
    return VideoForecaster(MotionModelForecaster(device=device, seed=seed, samples=samples, progress=progress))
