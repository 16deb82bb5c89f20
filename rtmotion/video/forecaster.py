"""The forecaster `video`: the motion model, corrected by a network that was trained on generated patients alone."""

from dataclasses import replace
from pathlib import Path

from rtmotion.cycle.forecaster import FieldForecaster, MotionModelForecaster
from rtmotion.cycle.observed import Progress
from rtmotion.errors import RtmotionError
from rtmotion.video.calibration import load_calibration
from rtmotion.video.refinement import NetworkRefinement, network_with, weights_file
from rtmotion.weights import sha256


def create(
    device: str = "cpu",
    seed: int = 0,
    samples: int = 1000,
    adapt: bool = True,
    weights: Path | None = None,
    calibration: Path | None = None,
    progress: Progress | None = None,
) -> FieldForecaster:
    """The default forecaster.

    Args:
        device: Torch device.
        seed: Of the samples behind the waveform's interval.
        samples: Their number.
        adapt: Whether observed phases are left out to find how far the network is to be trusted on this patient;
            without, all of its correction is taken.
        weights: A file of weights, as `rtmotion train video` writes it; None takes the shipped ones.
        calibration: A file of `rtmotion calibrate`, which stretches the uncertainty; None leaves it as it was learned.
        progress: Called with a stage's name, steps done and steps in all.

    Raises:
        ReadError: If a file holds no weights of this network, or no calibration.
        RtmotionError: If the calibration was learned with other weights.
    """
    start = MotionModelForecaster(device=device, seed=seed, samples=samples, name="video", progress=progress)
    network_with(weights, device)  # a file that cannot be read is told at once
    learned = None if calibration is None else load_calibration(calibration)
    with weights_file(weights) as path:
        if learned is not None and learned.weights != sha256(path):
            raise RtmotionError(f"{calibration}: learned with other weights; run rtmotion calibrate with these")
    return replace(start, refinement=NetworkRefinement(adapt, weights=weights, calibration=learned))
