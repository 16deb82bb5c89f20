"""DICOM 4D CT: what is in a folder, and its voxels.

Every dialect goes the same road: headers of all files, grouped by study and series; series judged by what they say
(`rtmotion_data.phase_labels`) and by how often they hold each slice; phases joined into sequences on one grid.
"""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rtmotion.errors import GeometryError, PhaseError, ReadError, UnknownNameError
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion_data.found import FoundPhase, FoundSequence, Inspection, SetAside
from rtmotion_data.phase_text import read_folder
from rtmotion_data.readers.dicom_folder import Headers, Progress, read_all, read_headers
from rtmotion_data.readers.dicom_headers import Slice, read_slices
from rtmotion_data.readers.dicom_pixels import read_volumes
from rtmotion_data.readers.dicom_sequences import Assembled, Member, assemble
from rtmotion_data.readers.dicom_series import judge, judge_by_user, sort_out
from rtmotion_data.readers.dicom_stack import Stack, stack_slices


@dataclass(frozen=True)
class Study:
    """What one study holds.

    Attributes:
        number: From 1, in the order of study date and time.
        uid: StudyInstanceUID.
        sequences: Its phase sequences, each with the members that it was made of.
        set_aside: What is no phase.
    """

    number: int
    uid: str
    sequences: tuple[tuple[FoundSequence, Assembled], ...]
    set_aside: tuple[SetAside, ...]


def inspect_dicom(
    root: Path | Sequence[Path],
    *,
    study: str | None = None,
    phases: Sequence[float] | None = None,
    progress: Progress | None = None,
) -> Inspection:
    """Says which phase sequences a folder of DICOM holds, from the headers alone.

    Args:
        root: A folder, searched at any depth, or one file, or several of them that belong together. Files that are
            not DICOM are passed over.
        study: Keep this study only: its name (as `FoundSequence.name`), its number in the order of date, or its
            StudyInstanceUID.
        phases: Percentages of the cycle, given to the series in the order of their numbers instead of what the
            headers say; for series that are not labelled.
        progress: Called with the number of files read and of all.

    Returns:
        The sequences and what was set aside; both empty where no DICOM was found.

    Raises:
        ReadError: If the path cannot be opened.
        PhaseError: If `phases` fits no set of series.
        UnknownNameError: If there is no such study; the message lists those that there are.
    """
    headers = read_headers(root, progress)
    studies = _studies(root, headers, phases)
    kept = studies if study is None else _chosen(studies, study)
    unread = tuple(SetAside(str(path), reason) for path, reason in headers.unreadable)
    sequences = [found for s in kept for found, _ in s.sequences if study is None or _matches(s, found, study)]
    return Inspection(tuple(sequences), tuple(a for s in kept for a in s.set_aside) + unread)


def read_dicom(found: FoundSequence, *, progress: Progress | None = None) -> PhaseSequence:
    """Reads the voxels of a sequence that `inspect_dicom` found.

    HU are int16: rescale slope and intercept of each slice applied, padding and values below -1024 set to -1024.

    Args:
        found: The sequence.
        progress: Called with the number of files read and of all.

    Raises:
        GeometryError: If a phase has missing, duplicate or unevenly spaced slices.
        ReadError: If a file is gone, truncated or cannot be decoded.
    """
    files = list(dict.fromkeys(file for phase in found.phases for file in phase.files))
    slices: dict[tuple[Path, int | None], Slice] = {}
    for path, result in zip(files, read_all(files, read_slices), strict=True):
        if not isinstance(result, list):
            raise ReadError(f"{path} cannot be read: {result or 'it is not DICOM'}; inspect the folder again")
        slices.update({(path, s.frame): s for s in result})
    stacks = []
    for phase in found.phases:
        keys: list[tuple[Path, int | None]] = [(f, None) for f in phase.files]
        if phase.frames:
            paths = phase.files * len(phase.frames) if len(phase.files) == 1 else phase.files
            keys = list(zip(paths, phase.frames, strict=True))
        if missing := [k for k in keys if k not in slices]:
            raise ReadError(f"{missing[0][0]} has changed since it was inspected: inspect the folder again")
        stacks.append(stack_slices([slices[k] for k in keys]))
    return _read(found, stacks, progress)


def read_dicom_folder(
    root: Path | Sequence[Path],
    *,
    study: str | None = None,
    phases: Sequence[float] | None = None,
    progress: Progress | None = None,
) -> tuple[PhaseSequence, FoundSequence] | Inspection:
    """Finds and reads the one sequence of a folder, parsing each header once.

    Args:
        root: As for `inspect_dicom`, and so are the errors.
        study: As for `inspect_dicom`.
        phases: As for `inspect_dicom`.
        progress: Called with what is done and what there is to do; a file counts twice, for its header and its voxels.

    Returns:
        The voxels and what was found; or, where there is not exactly one sequence, what there is.
    """
    headers = read_headers(root, progress and (lambda done, total: progress(done, 2 * total)))
    studies = _studies(root, headers, phases)
    kept = studies if study is None else _chosen(studies, study)
    sequences = [e for s in kept for e in s.sequences if study is None or _matches(s, e[0], study)]
    if len(sequences) == 1:
        found, assembled = sequences[0]
        # headers and voxels share one count
        first = len({s.path for s in headers.slices}) + headers.other_files + len(headers.unreadable)
        second = progress and (lambda done, total: progress(first + done, first + total))
        return _read(found, [m.stack for m in assembled.members], second), found
    unread = tuple(SetAside(str(path), reason) for path, reason in headers.unreadable)
    return Inspection(tuple(f for f, _ in sequences), tuple(a for s in kept for a in s.set_aside) + unread)


def _read(found: FoundSequence, stacks: Sequence[Stack], progress: Progress | None) -> PhaseSequence:
    for phase, stack in zip(found.phases, stacks, strict=True):
        folder = stack.slices[0].path.parent
        if stack.faults:
            raise GeometryError(
                f"{phase.label} in {folder}: {stack.faults[0]}: export this phase again, or take its files away"
            )
        if cut := [s.path for s in stack.slices if s.truncated]:
            raise ReadError(f"{cut[0]} ({phase.label}) ends before its pixels do: copy or export it again")
    volumes = read_volumes([s.slices for s in stacks], progress)
    return PhaseSequence(
        tuple(Phase(p.fraction, p.label) for p in found.phases), tuple(Volume(v, found.grid) for v in volumes)
    )


def _studies(root: Path | Sequence[Path], headers: Headers, phases: Sequence[float] | None) -> list[Study]:
    """Every study below the folder, in the order of date and time."""
    by_study: dict[str, list[Slice]] = defaultdict(list)
    unique, dropped = _without_copies(headers.slices)
    for image in unique:
        by_study[image.study].append(image)
    ordered = sorted(by_study.items(), key=lambda item: (min(s.study_date for s in item[1]), item[0]))
    refusals: list[PhaseError] = []
    studies: list[tuple[str, list[Assembled], list[SetAside]]] = []
    for uid, slices in ordered:
        series, aside = sort_out(slices)
        if phases is None or not series:
            judged = judge(series)
        else:
            try:
                judged = judge_by_user(series, phases)
            except PhaseError as error:
                refusals.append(error)
                judged = judge(series)
                judged = replace(judged, parts=())
        assembled, left = assemble(judged.parts)
        studies.append((uid, assembled, [*aside, *judged.set_aside, *left]))
    if refusals and not any(assembled for _, assembled, _ in studies):
        raise refusals[0]
    names = _names(root, [len(a) for _, a, _ in studies], {p for s in headers.slices for p in s.patient})
    result = []
    for number, (uid, assembled, left) in enumerate(studies, start=1):
        found = tuple(
            (_found(name, a, headers, dropped), a) for name, a in zip(names[number - 1], assembled, strict=True)
        )
        result.append(Study(number, uid, found, tuple(left)))
    return result


def _without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], Mapping[Path, Path]]:
    """Leaves out second copies of the same instance; returns also copy -> original."""
    seen: dict[object, Slice] = {}
    dropped: dict[Path, Path] = {}
    for s in slices:
        label = read_folder(s.folder)
        key = (s.instance, s.series, s.description, s.position, s.instance_number, s.comments, label.percents)
        if s.instance and key in seen:
            dropped[s.path] = seen[key].path
        else:
            seen[key if s.instance else s.path] = s
    return list(seen.values()), dropped


def _names(root: Path | Sequence[Path], counts: Sequence[int], patient: set[str]) -> list[list[str]]:
    """A name for every sequence, free of patient data: the folder's name, numbered where there are several."""
    paths = [p.resolve() for p in ([root] if isinstance(root, Path) else root)]
    base = Path(os.path.commonpath([p.parent if p.is_file() else p for p in paths])).name or "case"
    plain = re.sub(r"[^a-z0-9]", "", base.lower())
    tokens = {re.sub(r"[^a-z0-9]", "", t.lower()) for p in patient for t in (p, *p.split("^"), *p.split("_"))}
    if any(len(t) > 2 and t in plain for t in tokens):
        base = "case"
    if sum(counts) == 1:
        return [[base] * c for c in counts]
    return [
        [f"{base}-study{n}" + (f"-{chr(ord('a') + i)}" if c > 1 else "") for i in range(c)]
        for n, c in enumerate(counts, start=1)
    ]


def _found(name: str, assembled: Assembled, headers: Headers, dropped: Mapping[Path, Path]) -> FoundSequence:
    phases = tuple(_found_phase(m) for m in assembled.members)
    folders = {s.path.parent for m in assembled.members for s in m.stack.slices}
    warnings = list(assembled.warnings)
    warnings += [f"{p.name}: {why}" for p, why in headers.unreadable if p.parent in folders]
    used = {s.path for m in assembled.members for s in m.stack.slices}
    if copied := [c for c, original in dropped.items() if original in used]:
        more = f" and {len(copied) - 1} more" if len(copied) > 1 else ""
        warnings.append(f"{copied[0].name}{more}: second copies of images that are there already, left out")
    return FoundSequence("dicom", assembled.grid, phases, tuple(warnings), name)


def _found_phase(member: Member) -> FoundPhase:
    slices = member.stack.slices
    files = tuple(s.path for s in slices)
    frames = tuple(s.frame for s in slices if s.frame is not None)
    if frames and len(set(files)) == 1:
        files = files[:1]
    verdict = member.verdict
    return FoundPhase(member.phase.label, member.phase.fraction, verdict.evidence, verdict.confidence, files, frames)


def _matches(study: Study, found: FoundSequence, wanted: str) -> bool:
    return wanted in (found.name, study.uid, str(study.number)) or found.name.startswith(f"{wanted}-")


def _chosen(studies: Sequence[Study], wanted: str) -> list[Study]:
    chosen = [
        s for s in studies if wanted in (s.uid, str(s.number)) or any(_matches(s, f, wanted) for f, _ in s.sequences)
    ]
    if not chosen:
        raise UnknownNameError("study", wanted, [f.name for s in studies for f, _ in s.sequences])
    return chosen
