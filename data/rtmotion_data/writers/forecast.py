"""The files of a forecast."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rtmotion.errors import WriteError
from rtmotion.forecasting import Forecast
from rtmotion.sequence import PhaseSequence
from rtmotion_data.found import FoundSequence
from rtmotion_data.writers.atomic import together, write_json
from rtmotion_data.writers.metaimage import write_displacement
from rtmotion_data.writers.nifti import write_nifti

SCHEMA = "rtmotion.forecast/1"
SUMMARY = "forecast.json"

LOWEST_HU = -1024
HIGHEST_HU = 3071
"""What 12 bits of CT hold; a prediction is cut off there unless the observed phases go beyond."""


def write_forecast(
    folder: Path,
    forecast: Forecast,
    observed: PhaseSequence,
    found: FoundSequence,
    *,
    metrics: Sequence[Any],
    device: str,
    seed: int,
    versions: Mapping[str, str],
) -> Path:
    """Writes volumes, displacement fields, uncertainties and `forecast.json`, all together or nothing.

    Args:
        folder: Where they go; files of the same names are replaced.
        forecast: What is written.
        observed: The observed phases.
        found: What the reader found at the input.
        metrics: Rows of phase, region, metric, value and unit, as mappings or dataclasses; empty without a truth.
        device: Torch device of the run.
        seed: Of everything random in the run.
        versions: Of the packages behind the run.

    Returns:
        The path of `forecast.json`, which appears last.

    Raises:
        WriteError: If a file cannot be written, or the forecast holds a value that is no number.
    """
    lowest = min(LOWEST_HU, *(int(v.data.min()) for v in observed.volumes))
    highest = max(HIGHEST_HU, *(int(v.data.max()) for v in observed.volumes))
    outputs = []
    with together(folder, last=SUMMARY) as staging:
        for i, phase in enumerate(forecast.targets):
            entry = {"phase": phase.label, "volume": f"phase_{phase.percent:02d}.nii.gz"}
            volume = forecast.volumes[i]
            _check_finite(volume.data, folder, f"predicted volume of {phase.label}")
            write_nifti(staging / entry["volume"], to_int16(volume.data, lowest, highest), volume.grid)
            if forecast.displacements is not None:
                entry["displacement"] = f"dvf_{phase.percent:02d}.mha"
                _check_finite(forecast.displacements[i].data, folder, f"displacement of {phase.label}")
                write_displacement(staging / entry["displacement"], forecast.displacements[i])
            if forecast.uncertainty is not None:
                entry["uncertainty"] = f"uncertainty_{phase.percent:02d}.nii.gz"
                _check_finite(forecast.uncertainty[i], folder, f"uncertainty of {phase.label}")
                write_nifti(staging / entry["uncertainty"], forecast.uncertainty[i].float(), volume.grid)
            if forecast.hu_spread is not None:
                entry["hu_spread"] = f"hu_spread_{phase.percent:02d}.nii.gz"
                _check_finite(forecast.hu_spread[i], folder, f"spread of HU of {phase.label}")
                write_nifti(staging / entry["hu_spread"], forecast.hu_spread[i].float(), volume.grid)
            outputs.append(entry)
        summary = {
            "schema": SCHEMA,
            "input": found.to_json(folders=False),
            "method": forecast.method,
            "observe": len(observed),
            "observed": observed.labels,
            "predicted": [p.label for p in forecast.targets],
            "outputs": outputs,
            "reference": None if forecast.reference is None else forecast.reference.label,
            "metrics": metrics,
            "seconds": forecast.seconds,
            "device": device,
            "seed": seed,
            "versions": versions,
            "warnings": _without_repeats((*found.warnings, *forecast.warnings)),
            "waveform": forecast.waveform,
            "details": forecast.details,
        }
        write_json(staging / SUMMARY, summary)
    return folder / SUMMARY


def to_int16(hu: Tensor, lowest: int = LOWEST_HU, highest: int = HIGHEST_HU) -> Tensor:
    """HU as int16: rounded, and cut off at `lowest` and `highest` (and at what int16 holds), never wrapped around."""
    rounded = hu.detach().round() if hu.is_floating_point() else hu.detach()
    return rounded.clamp(max(lowest, -32768), min(highest, 32767)).to(torch.int16).cpu()


def _check_finite(data: Tensor, folder: Path, what: str) -> None:
    if data.is_floating_point() and not bool(torch.isfinite(data).all()):
        raise WriteError(f"{folder}: the {what} holds values that are no numbers; nothing was written")


def _without_repeats(texts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(texts))
