"""Writes a synthetic patient: phases, exact fields, labels, landmarks, trace, the clean truth, and phantom.json."""

import csv
import io
from pathlib import Path
from typing import Any

from rtmotion import __version__
from rtmotion.errors import UnknownNameError
from rtmotion.sequence import PhaseSequence
from rtmotion_data.phantom.canvas import LABELS
from rtmotion_data.phantom.make import Phantom
from rtmotion_data.writers.atomic import together, write_json, write_text
from rtmotion_data.writers.metaimage import write_displacement
from rtmotion_data.writers.nifti import write_nifti

SCHEMA = "rtmotion.phantom/1"
FORMATS = ("nifti", "dicom")


def write_phantom(folder: Path, phantom: Phantom, *, format: str = "nifti") -> Path:
    """Writes a synthetic patient; all files or none.

    `phase_NN.nii.gz` (or the folders `dicom/NN` of a DICOM CT series each), `dvf_NN.mha` (exact; phase NN is fixed,
    the first phase's anatomy is moving), `labels_NN.nii.gz`, `clean/phase_NN.nii.gz` (without noise and artefacts),
    `landmarks.csv` (id, phase in percent, x, y, z in mm LPS), `trace.csv` (s, mm, fraction of the cycle),
    `phantom.json`. NN is the percentage of the phase, two digits.

    Args:
        folder: Where to; made where it is missing.
        phantom: The patient.
        format: `nifti` or `dicom`: how the phases are written. The truth is the same for both.

    Returns:
        The path of phantom.json, which is written last.

    Raises:
        WriteError: If the system refuses.
        UnknownNameError: If the format is unknown.
    """
    if format not in FORMATS:
        raise UnknownNameError("format", format, list(FORMATS))
    sequence = phantom.sequence
    names = [f"{p.percent:02d}" for p in sequence.phases]
    with together(folder, last="phantom.json") as inside:
        if format == "dicom":
            _write_dicom(inside / "dicom", sequence, phantom.parameters["seed"])
        (inside / "clean").mkdir()
        for j, name in enumerate(names):
            if format == "nifti":
                write_nifti(inside / f"phase_{name}.nii.gz", sequence.volumes[j].data, sequence.grid)
            write_nifti(inside / "clean" / f"phase_{name}.nii.gz", phantom.clean.volumes[j].data, sequence.grid)
            write_nifti(inside / f"labels_{name}.nii.gz", phantom.labels[j], sequence.grid)
            write_displacement(inside / f"dvf_{name}.mha", phantom.displacements[j])
        write_text(inside / "landmarks.csv", _landmarks(sequence))
        write_text(inside / "trace.csv", _trace(phantom))
        write_json(inside / "phantom.json", description(phantom, format))
    return folder / "phantom.json"


def description(phantom: Phantom, format: str = "nifti") -> dict[str, Any]:
    """The content of phantom.json."""
    sequence = phantom.sequence
    grid = sequence.grid
    return {
        "schema": SCHEMA,
        "version": __version__,
        "seed": phantom.parameters["seed"],
        "format": format,
        "phases": [{"label": p.label, "fraction": p.fraction} for p in sequence.phases],
        "reference": sequence.labels[0],
        "grid": {"size": list(grid.size), "spacing": list(grid.spacing), "origin": list(grid.origin)},
        "labels": {name: value for name, value in LABELS.items() if value},
        "landmarks": len(next(iter(sequence.landmarks.values()), ())),
        "parameters": phantom.parameters,
    }


def _landmarks(sequence: PhaseSequence) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["id", "phase", "x", "y", "z"])
    for phase in sequence.phases:
        for number, point in enumerate(sequence.landmarks[phase.label].tolist()):
            table.writerow([number, phase.percent, *(f"{c:.4f}" for c in point)])
    return text.getvalue()


def _trace(phantom: Phantom) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["time", "amplitude", "phase"])
    trace = phantom.trace
    phases = trace.phase if trace.phase is not None else [0.0] * len(trace.time)
    for time, amplitude, phase in zip(trace.time, trace.amplitude, phases, strict=True):
        table.writerow([f"{time:.4f}", f"{amplitude:.4f}", f"{min(phase, 0.99999):.5f}"])
    return text.getvalue()


def _write_dicom(folder: Path, sequence: PhaseSequence, seed: int) -> None:
    from rtmotion_data.writers.dicom_ct import dicom_uid, write_ct_series

    study, frame = (
        dicom_uid("phantom", "study", seed, sequence.grid),
        dicom_uid("phantom", "frame", seed, sequence.grid),
    )
    for number, (phase, volume) in enumerate(zip(sequence.phases, sequence.volumes, strict=True), start=1):
        write_ct_series(
            folder / f"{phase.percent:02d}",
            volume,
            phase,
            study_uid=study,
            frame_of_reference_uid=frame,
            series_number=number,
            positions=len(sequence),
        )
