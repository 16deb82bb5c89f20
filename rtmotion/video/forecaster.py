"""The forecaster `video`: the motion model, corrected by a network that was trained on generated patients alone."""

from dataclasses import replace
from pathlib import Path

from rtmotion.cycle.forecaster import FieldForecaster, MotionModelForecaster
from rtmotion.cycle.observed import Progress
from rtmotion.video.refinement import NetworkRefinement, network_with


def create(
    device: str = "cpu",
    seed: int = 0,
    samples: int = 1000,
    adapt: bool = True,
    weights: Path | None = None,
    progress: Progress | None = None,
) -> FieldForecaster:
    """The default forecaster.

    Args:
        device: Torch device.
        seed: Of the samples behind the waveform's interval.
        samples: Their number.
        adapt: Whether observed phases are left out to find how far the network is to be trusted on this patient.
        weights: A file of weights, as `rtmotion train video` writes it; None takes the shipped ones.
        progress: Called with a stage's name, steps done and steps in all.

    Raises:
        ReadError: If the file holds no weights of this network.
    """
    start = MotionModelForecaster(device=device, seed=seed, samples=samples, name="video", progress=progress)
    network_with(weights, device)  # a file that cannot be read is told at once
    return replace(start, refinement=NetworkRefinement(adapt=adapt, weights=weights))
