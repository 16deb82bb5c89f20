"""The one door to data on disk: what is at a path, and its voxels, whatever the format."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rtmotion.errors import PhaseError, ReadError, UnknownNameError
from rtmotion.sequence import PhaseSequence
from rtmotion_data.found import FoundSequence, Inspection

Progress = Callable[[int, int], None]
"""Called with what is done and what there is to do."""


def inspect(
    path: Path | Sequence[Path],
    *,
    study: str | None = None,
    phases: Sequence[float] | None = None,
    progress: Progress | None = None,
    artefacts: bool = False,
) -> Inspection:
    """Says which phase sequences are at a path, before any voxel is read.

    Args:
        path: A folder of DICOM at any depth; a 4D NIfTI, NRRD or MetaImage file; a folder or a list of 3D files, one
            a phase; a DIR-Lab case folder; the output folder of `rtmotion phantom`.
        study: Keep one sequence only: its name, or for DICOM its study's number or UID.
        phases: Percentages of the cycle that replace the labels found, in the order of the files or series.
        progress: Called with what is done and what there is to do.
        artefacts: Read the voxels too, and warn of suspected sorting artefacts.

    Returns:
        The sequences and what was set aside, with the reason; never both empty.

    Raises:
        ReadError: If there is nothing at the path that could be one.
        PhaseError: If `phases` does not fit what was found.
        UnknownNameError: If there is no such study.
    """
    paths = _paths(path)
    found = _inspect_format(paths, study, phases, progress)
    if not found.sequences and not found.set_aside:
        raise ReadError(_nothing(paths))
    if artefacts:
        checked = tuple(_with_artefacts(s) for s in found.sequences)
        found = Inspection(checked, found.set_aside)
    return found


def read(
    path: Path | Sequence[Path],
    *,
    study: str | None = None,
    phases: Sequence[float] | None = None,
    progress: Progress | None = None,
) -> tuple[PhaseSequence, FoundSequence]:
    """Reads the one phase sequence at a path.

    Args:
        path: As for `inspect`.
        study: Which sequence, where there are several.
        phases: As for `inspect`.
        progress: Called with what is done and what there is to do.

    Returns:
        The volumes in HU, and what was found: labels, evidence, warnings.

    Raises:
        ReadError: If there is no sequence; the message says what is there instead.
        PhaseError: If there are several and `study` names none; the message lists them.
        GeometryError: If the slices of a phase are not sound.
    """
    from rtmotion_data.readers.dicom import read_dicom_folder
    from rtmotion_data.readers.dirlab import inspect_dirlab
    from rtmotion_data.readers.phantom import inspect_phantom

    paths = _paths(path)
    folder = paths[0] if len(paths) == 1 and paths[0].is_dir() else None
    special = folder is not None and (inspect_phantom(folder) or inspect_dirlab(folder)) is not None
    if not special and _is_dicom(paths):
        result = read_dicom_folder(paths, study=study, phases=phases, progress=progress)
        if not isinstance(result, Inspection):
            return result
        found = _only(result if result.sequences else _inspect_format(paths, study, phases, None), paths)
    else:
        found = _only(_inspect_format(paths, study, phases, None), paths)
    return read_found(found, progress), found


def read_found(found: FoundSequence, progress: Progress | None = None) -> PhaseSequence:
    """Reads the voxels of a sequence that `inspect` found, whatever its format."""
    if found.format == "dicom":
        from rtmotion_data.readers.dicom import read_dicom

        return read_dicom(found, progress=progress)
    if found.format == "dirlab":
        from rtmotion_data.readers.dirlab import read_dirlab

        return read_dirlab(found)
    if found.format == "phantom":
        from rtmotion_data.readers.phantom import read_phantom

        return read_phantom(found)
    from rtmotion_data.readers.files import read_files

    return read_files(found)


def _paths(path: Path | Sequence[Path]) -> list[Path]:
    paths = [Path(path)] if isinstance(path, (str, Path)) else [Path(p) for p in path]
    if not paths:
        raise ReadError("no path was given: name a folder or file")
    for p in paths:
        if not p.exists():
            raise ReadError(f"{p} does not exist: check the path")
        if not os.access(p, os.R_OK | os.X_OK if p.is_dir() else os.R_OK):
            raise ReadError(f"{p} cannot be opened (permission denied): check its permissions")
    return paths


def _is_dicom(paths: Sequence[Path]) -> bool:
    """Whether any file at the paths, at any depth, is DICOM."""
    from rtmotion_data.readers.dicom_folder import walk
    from rtmotion_data.readers.dicom_headers import looks_like_dicom

    return any(looks_like_dicom(f) for p in paths for f in ([p] if p.is_file() else walk(p)[0]))


def _inspect_format(
    paths: Sequence[Path], study: str | None, phases: Sequence[float] | None, progress: Progress | None
) -> Inspection:
    """What the first format that knows the paths finds there: phantom, DIR-Lab, DICOM, other files."""
    from rtmotion_data.readers.dicom import inspect_dicom
    from rtmotion_data.readers.dirlab import inspect_dirlab
    from rtmotion_data.readers.files import inspect_files
    from rtmotion_data.readers.phantom import inspect_phantom

    found: Inspection | None = None
    if len(paths) == 1 and paths[0].is_dir():
        found = inspect_phantom(paths[0]) or inspect_dirlab(paths[0])
    if found is None and _is_dicom(paths):
        dicom = inspect_dicom(paths, study=study, phases=phases, progress=progress)
        if dicom.sequences or len(paths) > 1:
            return dicom
        # structures or a static CT in DICOM may lie beside phases in other files
        files = inspect_files(paths) if paths[0].is_dir() else None
        if files is None or not files.sequences:
            return dicom
        found = Inspection(files.sequences, dicom.set_aside + files.set_aside)
    if found is None:
        found = inspect_files(paths, phases)
    if found is None:
        raise ReadError(_nothing(paths))
    if study is None:
        return found
    chosen = tuple(s for s in found.sequences if s.name == study)
    if not chosen:
        raise UnknownNameError("study", study, [s.name for s in found.sequences])
    return Inspection(chosen, found.set_aside)


def _only(found: Inspection, paths: Sequence[Path]) -> FoundSequence:
    if len(found.sequences) == 1:
        return found.sequences[0]
    if found.sequences:
        names = ", ".join(f"{s.name} ({len(s.phases)} phases)" for s in found.sequences)
        raise PhaseError(f"{len(found.sequences)} phase sequences in {paths[0]}: choose one with --study: {names}")
    if not found.set_aside:
        raise ReadError(_nothing(paths))
    shown = "; ".join(f"{a.description}: {a.reason}" for a in found.set_aside[:3])
    more = f"; and {len(found.set_aside) - 3} more" if len(found.set_aside) > 3 else ""
    if any(a.reason.startswith("nothing in its headers") for a in found.set_aside):
        more += "; if these are phases, name them with --phases"
    raise ReadError(f"no phase sequence in {paths[0]}: {shown}{more}")


def _nothing(paths: Sequence[Path]) -> str:
    """That nothing readable is at the paths, with what is there."""
    from rtmotion_data.readers.dicom_folder import walk

    files = [f for p in paths for f in (walk(p)[0] if p.is_dir() else [p])]
    endings: dict[str, int] = {}
    for f in files:
        ending = "".join(f.suffixes[-2:]) if f.suffix == ".gz" else f.suffix or "no ending"
        endings[ending] = endings.get(ending, 0) + 1
    there = ", ".join(f"{n} × {e}" for e, n in sorted(endings.items(), key=lambda item: -item[1])[:6])
    return (
        f"no 4D CT in {paths[0]} (found: {there or 'no files'}): give a folder of DICOM, a 4D or one 3D "
        "NIfTI/NRRD/MetaImage file a phase, a DIR-Lab case or a phantom's folder"
    )


def _with_artefacts(found: FoundSequence) -> FoundSequence:
    from rtmotion_data.sorting_artefacts import find_artefacts

    if any("will not be read" in w for w in found.warnings):
        return found
    artefacts = find_artefacts(read_found(found))
    return replace(found, warnings=(*found.warnings, *(a.describe() for a in artefacts)))
