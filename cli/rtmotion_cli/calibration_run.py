"""`rtmotion calibrate`: how far the stated uncertainty is to be stretched, learned on the user's own cases."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtmotion.errors import RtmotionError
from rtmotion.methods import find_method
from rtmotion_cli.cases import read_case
from rtmotion_cli.terminal import Terminal

if TYPE_CHECKING:
    from torch import Tensor

    from rtmotion.field import DisplacementField
    from rtmotion.forecasting import Forecast
    from rtmotion.sequence import PhaseSequence

FEWEST_VOXELS = 100
"""Lung of fewer voxels is none."""


@dataclass(frozen=True)
class CalibrationRequest:
    """What the user asked for.

    Attributes:
        cases: 4D CTs with all phases, one path a case.
        observe: Numbers of observed phases to learn for.
        out: The file to write.
        device: Torch device.
        seed: Of everything random.
        weights: Weights of the video model; None takes the shipped ones.
    """

    cases: tuple[Path, ...]
    observe: tuple[int, ...]
    out: Path
    device: str = "cpu"
    seed: int = 0
    weights: Path | None = None


def run_calibration(request: CalibrationRequest, terminal: Terminal) -> dict[str, Any]:
    """Forecasts every case from its first phases and compares the error with the stated uncertainty.

    Returns:
        The factor of each case and number of observed phases, and what was written.

    Raises:
        RtmotionError: If a case cannot be read, has too few phases or no lung.
    """
    from rtmotion.registration import SvfRegistration, register_sequence, remembered_registrations
    from rtmotion.video.calibration import SpreadCalibration, conformal, save_calibration
    from rtmotion.video.refinement import weights_file
    from rtmotion.weights import sha256

    rows: list[dict[str, Any]] = []
    for path in request.cases:
        sequence = read_case([path], terminal).sequence
        if len(sequence) <= max(request.observe):
            raise RtmotionError(
                f"{path}: calibrating for {max(request.observe)} observed phases needs more of them, "
                f"the case has {len(sequence)}"
            )
        with remembered_registrations():
            with terminal.progress(f"registering {path.name}") as step:
                found = register_sequence(
                    SvfRegistration(), sequence.to(request.device), 0, lambda done, total: step("phases", done, total)
                )
            truth = {label: field.displacement.to("cpu") for label, field in zip(sequence.labels, found, strict=True)}
            for observe in request.observe:
                rows.append(
                    {"case": path.name, "observe": observe, "factor": _factor(sequence, truth, observe, request)}
                )
    factors = {k: conformal([r["factor"] for r in rows if r["observe"] == k]) for k in request.observe}
    with weights_file(request.weights) as weights:
        calibration = SpreadCalibration(factors, len(request.cases), "registered", sha256(weights))
    save_calibration(calibration, request.out)
    return {"calibration": str(request.out), "cases": rows, "factors": factors}


def _factor(
    sequence: "PhaseSequence", truth: "dict[str, DisplacementField]", observe: int, request: CalibrationRequest
) -> float:
    from rtmotion.evaluation.regions import lung_mask
    from rtmotion.video.calibration import case_factor

    observed, future = sequence.observe(observe)
    options: dict[str, Any] = {"device": request.device, "seed": request.seed, "weights": request.weights}
    forecast: Forecast = find_method("video").create(**options).forecast(observed, future.phases)
    assert forecast.displacements is not None
    assert forecast.uncertainty is not None
    predicted: list[Tensor] = []
    true: list[Tensor] = []
    sd: list[Tensor] = []
    for j, phase in enumerate(future.phases):
        lung = lung_mask(future.volumes[j])
        if int(lung.sum()) < FEWEST_VOXELS:
            continue
        predicted.append(forecast.displacements[j].data[:, lung])
        true.append(truth[phase.label].data[:, lung])
        sd.append(forecast.uncertainty[j][lung])
    if not predicted:
        raise RtmotionError("no lung was found in a case: its uncertainty cannot be learned from")
    return case_factor(predicted, true, sd)
