"""Phases into sequences: one frame of reference, one grid, one volume a phase; whatever does not fit is named."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from rtmotion.errors import GeometryError
from rtmotion.grid import Grid
from rtmotion.sequence import Phase, cyclic_distance
from rtmotion_data.found import SetAside
from rtmotion_data.phase_labels import AMPLITUDE_NOTE, FAMILY, SAME_PHASE, SinglePhase, missing_phases
from rtmotion_data.readers.dicom_pixels import AIR_FLOOR, is_padded, padding_hu
from rtmotion_data.readers.dicom_series import Series
from rtmotion_data.readers.dicom_split import Part
from rtmotion_data.readers.dicom_stack import Stack, plane_key, stack_slices

SAME_GRID = 0.05
"""mm: grids whose corners differ by less are the same, but for rounding in the headers."""


@dataclass(frozen=True)
class Member:
    """One phase with its slices in order."""

    series: Series
    verdict: SinglePhase
    stack: Stack

    @property
    def phase(self) -> Phase:
        """The phase."""
        return self.verdict.phase

    @property
    def name(self) -> str:
        """Phase and series, for messages."""
        return f"{self.phase.label} ({self.series.name})"


@dataclass(frozen=True)
class Assembled:
    """A phase sequence before it has a name.

    Attributes:
        members: In the order of their phases.
        grid: The grid of all of them.
        warnings: What the user should know.
    """

    members: tuple[Member, ...]
    grid: Grid
    warnings: tuple[str, ...] = field(default=())


def assemble(parts: Sequence[tuple[Series, Part]]) -> tuple[list[Assembled], list[SetAside]]:
    """Builds the phase sequences of one study.

    The phases of one frame of reference whose grids agree make a sequence; a volume on another grid is set aside, and
    a warning says so, unless so many lie on that grid that they are a sequence of their own. Volumes with missing or
    duplicate slices stay in their sequence with a warning, and are refused when they are read.

    Args:
        parts: The phases found in the study's series.

    Returns:
        The sequences, largest first, and what is in none of them.
    """
    members: list[Member] = []
    aside: list[SetAside] = []
    for series, part in parts:
        try:
            members.append(Member(series, part.verdict, stack_slices(part.slices)))
        except GeometryError as error:
            aside.append(
                SetAside(series.name, f"{part.verdict.phase.label}: {error}: export an untilted, whole series")
            )
    sequences: list[Assembled] = []
    for group, note in _by_frame(members):
        made, left = _one_frame(group, note)
        sequences += made
        aside += left
    return sorted(sequences, key=lambda s: -len(s.members)), aside


def _by_frame(members: Sequence[Member]) -> list[tuple[list[Member], str]]:
    """Members by frame of reference; frames that hold a single phase each are taken as one, with a note."""
    frames: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        frames[member.series.first.frame_of_reference].append(member)
    groups = list(frames.values())
    alone = len(groups) >= FAMILY and all(len(g) == 1 for g in groups)
    if alone and all(_same_grid(m.stack.grid, members[0].stack.grid) for m in members):
        return [
            (list(members), "every phase has its own frame of reference; their grids agree, so they are taken as one")
        ]
    return [(g, "") for g in groups]


def _same_grid(a: Grid, b: Grid) -> bool:
    return a.is_close(b, SAME_GRID)


def _fits(member: Member, model: Member) -> bool:
    """Whether a member lies on the model's grid; one with missing or double slices where its planes do."""
    if _same_grid(member.stack.grid, model.stack.grid):
        return True
    planes = plane_key(member.series.first) == plane_key(model.series.first)
    return bool(member.stack.faults) and planes


def _one_frame(members: Sequence[Member], note: str) -> tuple[list[Assembled], list[SetAside]]:
    """The sequences among the members of one frame of reference."""
    rest = sorted(members, key=lambda m: (m.phase.fraction, m.series.order))
    sequences: list[Assembled] = []
    aside: list[SetAside] = []
    largest = 0
    while rest:
        sound = [m for m in rest if not m.stack.faults] or rest
        model = max(sound, key=lambda m: sum(_fits(other, m) for other in rest))
        group = [m for m in rest if _fits(m, model)]
        if len(group) < 2 or 2 * len(group) < largest:
            break
        largest = max(largest, len(group))
        rest = [m for m in rest if not any(m is g for g in group)]
        for family in _families(group):
            made, left = _finish(family, model.stack.grid, note)
            sequences += made
            aside += left
    for member in rest:
        reason = f"{member.phase.label}: the only phase on its grid; a sequence needs at least two"
        if sequences:
            reason = f"{member.phase.label}: {_difference(member.stack.grid, sequences[0].grid)}"
            sequences[0] = _warned(
                sequences[0], f"{member.name} is left out: {_difference(member.stack.grid, sequences[0].grid)}"
            )
        aside.append(SetAside(member.series.name, reason))
    return sequences, aside


def _warned(sequence: Assembled, warning: str) -> Assembled:
    return Assembled(sequence.members, sequence.grid, (*sequence.warnings, warning))


def _difference(grid: Grid, other: Grid) -> str:
    """How a grid differs from the one of the other phases."""
    if grid.size != other.size:
        return f"{_times(grid.size)} voxels, the other phases have {_times(other.size)}"
    spacing, others = (_times(round(s, 3) for s in g.spacing) for g in (grid, other))
    if spacing != others:
        return f"voxels of {spacing} mm, the other phases have {others} mm"
    origin, others = (", ".join(f"{o:g}" for o in g.origin) for g in (grid, other))
    if origin != others:
        return f"its first voxel is at ({origin}) mm, that of the other phases at ({others}) mm"
    return "its axes have other directions than those of the other phases"


def _times(numbers: object) -> str:
    return "×".join(f"{n:g}" for n in numbers)  # type: ignore[attr-defined]


def _families(group: Sequence[Member]) -> list[list[Member]]:
    """Several reconstructions of one scan apart, where their labels tell them apart and each has several phases."""
    if not _double(group):
        return [list(group)]
    families: dict[str, list[Member]] = defaultdict(list)
    for member in group:
        families[member.verdict.family].append(member)
    parts = list(families.values())
    if len(parts) > 1 and all(len(p) >= 2 and not _double(p) for p in parts):
        return parts
    return [list(group)]


def _double(members: Sequence[Member]) -> bool:
    ordered = sorted(m.phase.fraction for m in members)
    return any(cyclic_distance(a, b) <= SAME_PHASE for a, b in zip(ordered, [*ordered[1:], ordered[0]], strict=True))


def _finish(group: Sequence[Member], grid: Grid, note: str) -> tuple[list[Assembled], list[SetAside]]:
    """A sequence with one member a phase and its warnings."""
    kept: list[Member] = []
    aside: list[SetAside] = []
    warnings = [note] if note else []
    # sound volumes first, then the stronger evidence, then the lower series number
    for member in sorted(group, key=lambda m: (bool(m.stack.faults), -round(m.verdict.confidence, 3), m.series.order)):
        twin = next((k for k in kept if cyclic_distance(k.phase.fraction, member.phase.fraction) <= SAME_PHASE), None)
        if twin is None:
            kept.append(member)
            continue
        aside.append(
            SetAside(member.series.name, f"a second series for {member.phase.label}; {twin.series.name} is used")
        )
        warnings.append(
            f"two series for {twin.phase.label}: {twin.series.name} is used, {member.series.name} is left out"
        )
    kept.sort(key=lambda m: m.phase.fraction)
    if len(kept) < 2:
        reason = f"{kept[0].phase.label}: a single phase, a sequence needs at least two"
        return [], [*aside, SetAside(kept[0].series.name, reason)]
    return [Assembled(tuple(kept), grid, tuple(dict.fromkeys([*warnings, *_warnings(kept)])))], aside


def _warnings(members: Sequence[Member]) -> list[str]:
    warnings = []
    phases = [m.phase for m in members]
    if missing := missing_phases(phases):
        found = ", ".join(p.label for p in phases)
        warnings.append(
            f"missing phase{'s' if len(missing) > 1 else ''} {', '.join(p.label for p in missing)} (found {found})"
        )
    for member in members:
        warnings += [f"{member.name}: {fault}; it will not be read" for fault in member.stack.faults]
        warnings += [f"{member.phase.label}: {w}" for w in member.verdict.warnings]
        cut = [s.path.name for s in member.stack.slices if s.truncated]
        if cut:
            warnings.append(f"{member.name}: {cut[0]} is truncated{_more(len(cut))}; it will not be read")
    if any(m.verdict.amplitude for m in members):
        warnings.append(f"{AMPLITUDE_NOTE}; the order is right, the fractions of the cycle are nominal")
    sources = {m.verdict.family.split()[0].partition(":")[0] for m in members if m.verdict.family}
    if sources == {"folder"}:
        warnings.append("the phases are taken from the names of the folders; the headers do not name them")
    if sources == {"temporal"}:
        warnings.append("the phases are taken from the order of temporal positions; the headers do not name them")
    weakest = min(members, key=lambda m: m.verdict.confidence)
    if weakest.verdict.confidence < 0.5:
        warnings.append(
            f"weak evidence of the phases ({weakest.verdict.evidence}): check them, or name them with --phases"
        )
    padded = {
        (s.padding, padding_hu(s), is_padded(s)) for m in members for s in m.stack.slices if s.padding is not None
    }
    for stored, hu, replaced in sorted(padded, key=str):
        if replaced and hu is not None and hu != AIR_FLOOR:
            warnings.append(
                f"voxels outside the field of view (stored as {stored}, {hu:g} HU) are set to {AIR_FLOOR} HU"
            )
        elif not replaced:
            warnings.append(f"the padding value {stored} ({hu:g} HU) cannot be told from tissue and is left as it is")
    return warnings


def _more(count: int) -> str:
    return f", and {count - 1} more" if count > 1 else ""
