"""4D CT in NIfTI, NRRD and MetaImage: one 4D file, or one 3D file a phase."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rtmotion.errors import GeometryError, PhaseError, ReadError, ReadWarning
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion_data.found import FoundPhase, FoundSequence, Inspection, SetAside
from rtmotion_data.readers.file_headers import Header, ending_of, read_frames, read_header
from rtmotion_data.readers.file_names import Family, families, is_no_ct, missing_phases, natural_key, phases_of
from rtmotion_data.readers.hounsfield import is_stored_with_offset, remove_offset, to_hu
from rtmotion_data.readers.landmarks import read_landmarks

LANDMARKS = "landmarks.csv"

GIVEN = "given by the user"


def inspect_files(paths: Sequence[Path], phases: Sequence[float] | None = None) -> Inspection | None:
    """Which phase sequences a 4D file, a folder or a list of 3D files holds; headers are read, voxels are not.

    In a folder, files whose names differ in one number are a family; fields, labels, projections and lesser families
    are set aside. The numbers say the phase as `file_names.phases_of` has it.

    Args:
        paths: One 4D file, one folder (not searched below), or the 3D files of one sequence.
        phases: Percentages of the cycle, one a volume in natural order of the names; they replace the numbers.

    Returns:
        What was found, or None where there is no file of these formats.

    Raises:
        ReadError: If a file is damaged or holds no volume.
        GeometryError: If the volumes lie on different grids, or a grid is of no use.
        PhaseError: If two files have the same phase, or `phases` has another length than the sequence.
    """
    if len(paths) == 1 and paths[0].is_dir():
        return _folder(paths[0], phases)
    if not any(ending_of(p) for p in paths):
        return None
    for path in paths:
        if not path.is_file():
            raise ReadError(f"{path} is no file: give one 4D file, one folder, or the 3D files of one sequence")
        if ending_of(path) is None:
            raise ReadError(f"{path} is no NIfTI, NRRD or MetaImage file: leave it out")
    if len(paths) == 1:
        header = read_header(paths[0])
        if header.frames == 1:
            raise PhaseError(f"{paths[0]} holds one volume: give a 4D file, or all 3D files of the sequence")
        return Inspection((_one_file(header, phases),))
    return Inspection((_many_files(_as_family(paths), paths[0].absolute().parent.name, phases),))


def _folder(folder: Path, phases: Sequence[float] | None) -> Inspection | None:
    files = sorted((f for f in _listing(folder) if ending_of(f)), key=natural_key)
    if not files:
        return None
    aside = [SetAside(f.name, "field, label or projection by its name, not a phase") for f in files if is_no_ct(f)]
    candidates = [f for f in files if not is_no_ct(f)]
    groups = families(candidates)
    grouped = {f for g in groups for f in g.files}
    chosen = _likeliest(groups)
    sequences = []
    for family in groups:
        if family not in chosen:
            aside.append(SetAside(family.pattern, f"{len(family.files)} files of another name than the phases"))
        elif read_header(family.files[0]).frames > 1:  # numbered patients, each in a 4D file
            sequences += [_one_file(read_header(f), phases) for f in family.files]
        else:
            name = folder.absolute().name if len(chosen) == 1 else f"{folder.absolute().name} {family.pattern}"
            sequences.append(_many_files(family, name, phases))
    for file in candidates:
        if file in grouped:
            continue
        try:
            header = read_header(file)
        except (ReadError, GeometryError) as error:
            if len(candidates) == 1:
                raise
            aside.append(SetAside(file.name, str(error).removeprefix(f"{file}: ")))
            continue
        if header.frames > 1:
            sequences.append(_one_file(header, phases))
        else:
            aside.append(SetAside(file.name, "one volume whose name has no number in common with others"))
    return Inspection(tuple(sequences), tuple(aside))


def _listing(folder: Path) -> Iterator[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise ReadError(f"{folder}: the folder cannot be read: {error.strerror}") from None
    return (f for f in entries if f.is_file() and not f.name.startswith("."))


def _likeliest(groups: Sequence[Family]) -> list[Family]:
    """The families that say that they are phases; where none does, the largest."""
    if said := [g for g in groups if g.phase_word or g.percent_sign]:
        return said
    largest = max((len(g.files) for g in groups), default=0)
    return [g for g in groups if len(g.files) == largest]


def _as_family(paths: Sequence[Path]) -> Family:
    """The files of a list as one family, by the number that differs; else in natural order."""
    whole = [g for g in families(paths) if len(g.files) == len(paths)]
    if whole:
        return whole[0]
    ordered = tuple(sorted(paths, key=natural_key))
    return Family("files in the order of their names", ordered, ())


def _one_file(header: Header, phases: Sequence[float] | None) -> FoundSequence:
    """The sequence in a 4D file."""
    if phases is not None:
        percents = _checked(phases, header.frames, header.path)
        evidence = [GIVEN] * header.frames
    else:
        percents = [100 * i / header.frames for i in range(header.frames)]
        evidence = [f"volume {i + 1} of {header.frames} in the 4D file" for i in range(header.frames)]
    entries = [
        FoundPhase(Phase.of_percent(p).label, Phase.of_percent(p).fraction, e, 1.0 if phases else 0.7, (header.path,))
        for p, e in zip(percents, evidence, strict=True)
    ]
    name = header.path.name[: -len(ending_of(header.path) or "")]
    return FoundSequence(header.format, header.grid, tuple(entries), header.warnings, name)


def _many_files(family: Family, name: str, phases: Sequence[float] | None) -> FoundSequence:
    """The sequence of 3D files."""
    headers = [read_header(f) for f in family.files]
    _check_geometry(headers)
    names = [f.name for f in family.files]
    notes: list[str] = []
    confidence = 0.9 if family.percent_sign or family.phase_word else 0.7
    if phases is not None:
        ordered = sorted(headers, key=lambda h: natural_key(h.path))
        pairs = sorted(zip(_checked(phases, len(headers), family.files[0].parent), ordered, strict=True), key=_percent)
        fractions, evidence, headers = [p % 100 / 100 for p, _ in pairs], [GIVEN] * len(pairs), [h for _, h in pairs]
        confidence = 1.0
    elif family.numbers:
        fractions, how = phases_of(family.numbers, names, family.percent_sign)
        places = sorted(range(len(fractions)), key=lambda i: fractions[i])
        evidence = [f"{family.numbers[i]:g}: {how}" for i in places]
        fractions, headers = [fractions[i] for i in places], [headers[i] for i in places]
        if "order" in how:
            confidence = 0.4
            notes.append(f"the phases are the {how}: check them, or give --phases")
    else:
        fractions = [i / len(headers) for i in range(len(headers))]
        evidence = ["order of the file names"] * len(headers)
        confidence = 0.3
        notes.append("the names hold no number that says the phase: taken in their order; give --phases to be sure")
    if gap := missing_phases(fractions):
        notes.append(gap)
    notes += dict.fromkeys(w for h in headers for w in h.warnings)
    entries = tuple(
        FoundPhase(Phase(f).label, f, e, confidence, (h.path,))
        for f, e, h in zip(fractions, evidence, headers, strict=True)
    )
    return FoundSequence(headers[0].format, headers[0].grid, entries, tuple(notes), name)


def _percent(pair: tuple[float, Header]) -> float:
    return pair[0] % 100


def _checked(phases: Sequence[float], count: int, where: Path) -> list[float]:
    """The percentages of the user, if they fit."""
    if len(phases) != count:
        raise PhaseError(f"--phases has {len(phases)} percentages, but there are {count} volumes in {where}")
    if len({p % 100 for p in phases}) != count:
        raise PhaseError(f"--phases names a phase twice: {', '.join(f'{p:g}' for p in phases)}")
    return list(phases)


def _check_geometry(headers: Sequence[Header]) -> None:
    """Refuses 4D files among 3D ones, and grids that differ from that of the most."""
    several = [h.path.name for h in headers if h.frames > 1]
    if several:
        raise PhaseError(f"{several[0]} holds several volumes, the others one: give either one 4D file or 3D files")
    votes = Counter(next(i for i, h in enumerate(headers) if h.grid.is_close(g.grid)) for g in headers)
    model = headers[votes.most_common(1)[0][0]]
    odd = [h for h in headers if not h.grid.is_close(model.grid)]
    if odd:
        listed = ", ".join(h.path.name for h in odd[:5])
        raise GeometryError(
            f"{len(odd)} of {len(headers)} volumes lie on another grid than {model.path.name} "
            f"({_describe(odd[0], model)}): {listed}; resample them or leave them out"
        )


def _describe(odd: Header, model: Header) -> str:
    """In what the grid of a file differs first."""
    for what in ("size", "spacing", "origin", "direction"):
        here, there = getattr(odd.grid, what), getattr(model.grid, what)
        if not torch.allclose(torch.tensor(here).double(), torch.tensor(there).double(), rtol=0, atol=1e-4):
            return f"{what} {_rounded(here)} instead of {_rounded(there)}"
    return "place"


def _rounded(numbers: Sequence[float]) -> str:
    return "×".join(f"{n:.5g}" for n in numbers)


def read_files(found: FoundSequence) -> PhaseSequence:
    """The voxels of a sequence that `inspect_files` found, and the landmarks of a `landmarks.csv` beside them.

    Whole numbers come as int16 HU, others as float32. Volumes that are stored as HU + 1024 (see
    `hounsfield.is_stored_with_offset`, decided from the first phase for all) are shifted, with a warning.

    Raises:
        ReadError: If a file is damaged, or holds NaN or infinities.

    Warns:
        ReadWarning: If the volumes were shifted by -1024.
    """
    data = list(_voxels(found))
    if is_stored_with_offset(data[0]):
        warnings.warn(
            f"{found.name}: the values are stored as HU + 1024 (air near 0, nothing negative): shifted by -1024",
            ReadWarning,
            stacklevel=2,
        )
        data = [remove_offset(d) for d in data]
    phases = tuple(Phase(p.fraction, p.label) for p in found.phases)
    landmarks = found.phases[0].files[0].parent / LANDMARKS
    return PhaseSequence(
        phases,
        tuple(Volume(d, found.grid) for d in data),
        read_landmarks(landmarks, [p.label for p in phases]) if landmarks.is_file() else {},
    )


def _voxels(found: FoundSequence) -> Iterator[Tensor]:
    """HU (or HU + 1024) a phase, in the order of `found`."""
    first = found.phases[0].files[0]
    if len(found.phases) > 1 and found.phases[1].files[0] == first:
        for frame in read_frames(read_header(first)):
            yield to_hu(frame, first)
        return
    for phase in found.phases:
        (frame,) = read_frames(read_header(phase.files[0]))
        yield to_hu(frame, phase.files[0])
