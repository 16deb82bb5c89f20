"""The forecaster `video`: the motion model, corrected by a network that was trained on generated patients alone."""

from dataclasses import replace

from rtmotion.cycle.forecaster import FieldForecaster, MotionModelForecaster
from rtmotion.cycle.observed import Progress
from rtmotion.video.refinement import NetworkRefinement


def create(
    device: str = "cpu",
    seed: int = 0,
    samples: int = 1000,
    adapt: bool = True,
    progress: Progress | None = None,
) -> FieldForecaster:
    """The default forecaster.

    Args:
        device: Torch device.
        seed: Of the samples behind the waveform's interval.
        samples: Their number.
        adapt: Whether observed phases are left out to find how far the network is to be trusted on this patient.
        progress: Called with a stage's name, steps done and steps in all.
    """
    start = MotionModelForecaster(device=device, seed=seed, samples=samples, name="video", progress=progress)
    return replace(start, refinement=NetworkRefinement(adapt=adapt))
