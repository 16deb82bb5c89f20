"""The series of a study judged: which of their images are which phase, and which are none."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rtmotion.errors import GeometryError, PhaseError
from rtmotion.sequence import Phase
from rtmotion_data.found import SetAside
from rtmotion_data.phase_labels import AllPhases, NoPhase, SeriesFacts, SinglePhase, Verdict, classify_study
from rtmotion_data.phase_text import natural_key
from rtmotion_data.readers.dicom_headers import Slice
from rtmotion_data.readers.dicom_split import Part, copies, split_phases
from rtmotion_data.readers.dicom_stack import plane_key

_OTHER_OBJECTS = {
    "RTSTRUCT": "structure set, not an image",
    "RTDOSE": "dose distribution, not a CT",
    "RTPLAN": "treatment plan, not an image",
    "REG": "registration, not an image",
    "SEG": "segmentation, not a CT",
}


@dataclass(frozen=True)
class Series:
    """The slices of one series that lie in planes of the same size and direction.

    Attributes:
        slices: At least one, in no order.
    """

    slices: tuple[Slice, ...]

    @property
    def first(self) -> Slice:
        """Any of its slices, for what they have in common."""
        return self.slices[0]

    @property
    def name(self) -> str:
        """How the series is called in messages: number, description, number of images; no patient data."""
        number = "" if self.first.series_number is None else f" {self.first.series_number}"
        described = " ".join(self.first.description.split())
        quoted = f" '{described}'" if described else " without description"
        return f"series{number}{quoted} ({len(self.slices)} images)"

    @property
    def order(self) -> tuple[int, list[tuple[int, int, str]], str]:
        """By series number, then folder (natural order), then UID."""
        number = self.first.series_number
        return (1 << 31 if number is None else number, natural_key(self.first.folder), self.first.series)

    def facts(self) -> SeriesFacts:
        """What bears on the phase; what differs between the images is left to the split."""
        first = self.first

        def common(attribute: str) -> bool:
            return len({getattr(s, attribute) for s in self.slices}) == 1

        return SeriesFacts(
            description=first.description,
            comments=first.comments if common("comments") else "",
            protocol=first.protocol,
            image_type=first.image_type,
            manufacturer=first.manufacturer,
            series_number=first.series_number,
            respiratory_percent=first.respiratory_percent if common("respiratory_percent") else None,
            respiratory_states=first.respiratory_states if common("respiratory_states") else ("", ""),
            respiratory_amplitudes=first.respiratory_amplitudes if common("respiratory_amplitudes") else None,
            temporal_position=first.temporal_position if common("temporal_position") else None,
            temporal_positions=first.temporal_positions,
            folder=first.folder if common("folder") else "",
            instances=len(self.slices),
        )


@dataclass(frozen=True)
class Judged:
    """The series of one study, judged.

    Attributes:
        parts: Single phases, each with the series that it comes from.
        set_aside: What is no phase.
    """

    parts: tuple[tuple[Series, Part], ...]
    set_aside: tuple[SetAside, ...]


def sort_out(slices: Sequence[Slice]) -> tuple[list[Series], list[SetAside]]:
    """Groups the CT slices of a study by series and plane; everything else is set aside."""
    groups: dict[object, list[Slice]] = defaultdict(list)
    others: dict[tuple[str, str, str], int] = defaultdict(int)
    for s in slices:
        if s.is_image:
            key = (s.series, s.frame_of_reference, s.description, s.series_number, plane_key(s))
            groups[key].append(s)
        else:
            others[(s.modality, s.series, s.description)] += 1
    aside = []
    for (modality, _, description), count in others.items():
        described = f" '{' '.join(description.split())}'" if description else ""
        reason = "no position in the patient (screen capture, report or damaged header)"
        if modality != "CT":
            reason = _OTHER_OBJECTS.get(modality, f"modality {modality or 'not given'}, not a CT")
        aside.append(SetAside(f"{modality or 'DICOM'} object{described} ({count} files)", reason))
    return sorted((Series(tuple(g)) for g in groups.values()), key=lambda s: s.order), aside


def judge(series: Sequence[Series]) -> Judged:
    """Finds the phases among the series of one study by what the headers say."""
    parts: list[tuple[Series, Part]] = []
    aside: list[SetAside] = []
    verdicts = classify_study([s.facts() for s in series])
    for one, verdict in zip(series, verdicts, strict=True):
        try:
            found, reason = _judge_one(one, verdict)
        except GeometryError as error:
            found, reason = [], str(error)
        parts += [(one, p) for p in found]
        if not found:
            aside.append(SetAside(one.name, reason))
    return Judged(tuple(parts), tuple(aside))


def _judge_one(series: Series, verdict: Verdict) -> tuple[list[Part], str]:
    """The phases in one series, or the reason that there is none."""
    _, most = copies(series.slices)
    if isinstance(verdict, AllPhases):
        if most == 1:
            return (
                [],
                f"it announces several phases but has each slice once: a projection or average ({verdict.evidence})",
            )
        parts = split_phases(series.slices, verdict)
        return parts, "all phases in one series, but nothing in the images tells them apart: name them with --phases"
    if isinstance(verdict, NoPhase):
        if (
            verdict.reason.startswith(("nothing", "images not sorted"))
            and most > 1
            and (parts := split_phases(series.slices))
        ):
            return parts, ""
        if most > 1 and verdict.reason.startswith("nothing"):
            return (
                [],
                f"up to {most} images at each slice position, and nothing says which phase: name them with --phases",
            )
        return [], verdict.reason
    if most > 1 and len(parts := split_phases(series.slices)) > 1:
        return parts, ""
    return [Part(verdict, series.slices)], ""


def judge_by_user(series: Sequence[Series], percents: Sequence[float]) -> Judged:
    """Gives the phases that the user names to the series of one study, in the order of their numbers.

    One series that has every slice once a phase is split; otherwise the labelled series are taken if there are as many
    as phases, or the unlabelled ones, or all that could be phases.

    Raises:
        PhaseError: If no set of series fits the number of phases, or they are no different percentages.
    """
    if not all(0 <= p <= 100 for p in percents) or len({p % 100 for p in percents}) < len(percents):
        named = ", ".join(f"{p:g}" for p in percents)
        raise PhaseError(f"--phases are different percentages of the cycle, 0 to 99, got {named}")
    verdicts = classify_study([s.facts() for s in series])
    barred = [isinstance(v, NoPhase) and not v.candidate and not v.reason.startswith("nothing") for v in verdicts]
    labelled = [s for s, v in zip(series, verdicts, strict=True) if isinstance(v, SinglePhase)]
    silent = [s for s, v, b in zip(series, verdicts, barred, strict=True) if isinstance(v, NoPhase) and not b]
    eligible = [s for s, b in zip(series, barred, strict=True) if not b]
    parts: list[tuple[Series, Part]] = []
    for one in eligible:
        if copies(one.slices) == (len(percents), len(percents)):
            parts = [(one, p) for p in split_phases(one.slices, percents=percents)]
            break
    for chosen in (labelled, silent, eligible):
        if not parts and len(chosen) == len(percents):
            ordered = sorted(chosen, key=lambda s: s.order)
            parts = [(s, _named(s, i, p)) for i, (s, p) in enumerate(zip(ordered, percents, strict=True))]
    if not parts:
        raise PhaseError(
            f"--phases names {len(percents)} phases, but {len(eligible)} series could be phases: "
            f"{'; '.join(s.name for s in eligible[:12]) or 'none'}; name one phase a series"
        )
    used = {id(s) for s, _ in parts}
    aside = [
        SetAside(s.name, v.reason if isinstance(v, NoPhase) else "not among the series that --phases names")
        for s, v in zip(series, verdicts, strict=True)
        if id(s) not in used
    ]
    return Judged(tuple(parts), tuple(aside))


def _named(series: Series, index: int, percent: float) -> Part:
    evidence = f"named by the user; number {index + 1} in the order of SeriesNumber, {series.name}"
    return Part(SinglePhase(Phase.of_percent(percent), evidence, 1.0), series.slices)
