"""The output folder of `rtmotion phantom`, with its landmarks and masks."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from rtmotion.errors import ReadError
from rtmotion.sequence import PhaseSequence
from rtmotion_data.found import FoundSequence, Inspection
from rtmotion_data.readers.file_headers import read_frames, read_header
from rtmotion_data.readers.files import inspect_files, read_files

SCHEMA = "rtmotion.phantom/1"
SUMMARY = "phantom.json"


def inspect_phantom(root: Path) -> Inspection | None:
    """The phase sequence of a phantom's folder; None if it is no such folder, or its phases are DICOM.

    Raises:
        ReadError: If `phantom.json` is broken.
    """
    if not (root / SUMMARY).is_file() or _summary(root).get("schema") != SCHEMA:
        return None
    files = sorted(root.glob("phase_*.nii.gz"))
    if len(files) < 2:
        return None
    inspection = inspect_files(files)
    if inspection is None:
        return None
    (found,) = inspection.sequences
    # a file name has two digits; the summary knows the eighth of a cycle
    exact = {p["label"]: float(p["fraction"]) for p in _summary(root).get("phases", ())}
    phases = tuple(replace(p, fraction=exact.get(p.label, p.fraction), confidence=1.0) for p in found.phases)
    return Inspection((replace(found, format="phantom", phases=phases, name=root.absolute().name),))


def read_phantom(found: FoundSequence) -> PhaseSequence:
    """The volumes of a phantom with its landmarks and one mask a structure and phase.

    Raises:
        ReadError: If a file is damaged, or a label volume lies on another grid than its phase.
    """
    sequence = read_files(found)
    root = found.phases[0].files[0].parent
    names = {str(name): int(value) for name, value in _summary(root).get("labels", {}).items()}
    masks: dict[str, dict[str, Tensor]] = {name: {} for name in names}
    for phase, entry in zip(sequence.phases, found.phases, strict=True):
        file = root / f"labels_{phase.percent:02d}.nii.gz"
        if not file.is_file():
            continue
        header = read_header(file)
        if not header.grid.is_close(found.grid):
            raise ReadError(f"{file}: lies on another grid than {entry.files[0].name}; make the phantom again")
        (labels,) = read_frames(header)
        for name, value in names.items():
            masks[name][phase.label] = labels == value
    return PhaseSequence(
        sequence.phases, sequence.volumes, sequence.landmarks, {name: by for name, by in masks.items() if by}
    )


def _summary(root: Path) -> dict[str, Any]:
    try:
        summary = json.loads((root / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ReadError(f"{root / SUMMARY}: is no JSON that can be read; make the phantom again") from None
    return summary if isinstance(summary, dict) else {}
