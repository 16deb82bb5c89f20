"""Which breathing phase a DICOM series is, and what says so.

No single tag can be trusted: respiratory tags, texts, temporal positions and folder names are read in that order, the
first that speaks wins, and the others are compared with it. One series alone is judged by `classify_series`; the
series of a study together by `classify_study`, where a family of equally labelled series backs its members.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rtmotion.sequence import Phase, cyclic_distance
from rtmotion_data.phase_text import Reading, read_folder, read_respiratory, read_text, stem

FAMILY = 3
"""So many different phases labelled in one manner make each other believable."""

SAME_PHASE = 0.02
"""Fractions of the cycle that lie nearer than this mean the same phase (33 % and 33.3 %)."""

AMPLITUDE_NOTE = "amplitude label: 100 % In is taken as T00, 0 % Ex as T50, linear between"

_LOCALIZER = ("LOCALIZER", "SCOUT")


@dataclass(frozen=True)
class SeriesFacts:
    """What the headers of one series say, as far as it bears on its phase. Texts may be empty.

    Attributes:
        description: SeriesDescription.
        comments: ImageComments; may hold free text on the patient, so only the matched part is ever quoted.
        protocol: ProtocolName.
        image_type: ImageType.
        manufacturer: Manufacturer.
        series_number: SeriesNumber.
        respiratory_percent: Nominal Percentage of Respiratory Phase (0020,9245).
        respiratory_states: Starting and ending respiratory phase (0020,9247) and (0020,9249): INSPIRATION, MAXIMUM,
            EXPIRATION, MINIMUM.
        respiratory_amplitudes: Starting and ending respiratory amplitude (0020,9246) and (0020,9248), %.
        temporal_position: Temporal Position Identifier (0020,0100), from 1.
        temporal_positions: Number of Temporal Positions (0020,0105).
        folder: Name of the folder that holds the files.
        instances: Number of images.
    """

    description: str = ""
    comments: str = ""
    protocol: str = ""
    image_type: tuple[str, ...] = ()
    manufacturer: str = ""
    series_number: int | None = None
    respiratory_percent: float | None = None
    respiratory_states: tuple[str, str] = ("", "")
    respiratory_amplitudes: tuple[float, float] | None = None
    temporal_position: int | None = None
    temporal_positions: int | None = None
    folder: str = ""
    instances: int = 0


@dataclass(frozen=True)
class SinglePhase:
    """The series is one phase.

    Attributes:
        phase: Its fraction of the vendor's cycle and its label.
        evidence: What says so.
        confidence: 0 to 1.
        family: The manner of labelling; series of one family belong together.
        amplitude: The label counts amplitude (In/Ex), so the fraction is nominal.
        warnings: Evidence that disagrees.
    """

    phase: Phase
    evidence: str
    confidence: float
    family: str = ""
    amplitude: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class AllPhases:
    """The series announces all phases of a cycle: its images have to be split.

    Attributes:
        evidence: What says so.
        confidence: 0 to 1.
        percents: Percentages of the cycle of the first and the last phase.
        amplitude: The label counts amplitude (In/Ex).
    """

    evidence: str
    confidence: float
    percents: tuple[float, float]
    amplitude: bool = False


@dataclass(frozen=True)
class NoPhase:
    """The series is no phase, or nothing trustworthy says that it is one.

    Attributes:
        reason: Why.
        candidate: The phase that it would be in the company of others of its kind.
    """

    reason: str
    candidate: SinglePhase | None = None


Verdict = SinglePhase | AllPhases | NoPhase


def _readings(facts: SeriesFacts) -> list[tuple[str, Reading, str]]:
    """All that speaks: (source, reading, family), strongest first."""
    found: list[tuple[str, Reading, str]] = []
    reading = read_respiratory(facts.respiratory_percent, facts.respiratory_states, facts.respiratory_amplitudes)
    percentage = "Nominal Percentage of Respiratory Phase (0020,9245)"
    source = percentage if reading.dialect == "tag" else "Respiratory Phase (0020,9247)"
    found.append((source, reading, reading.dialect))
    texts = (
        ("SeriesDescription", facts.description),
        ("ImageComments", facts.comments),
        ("ProtocolName", facts.protocol),
    )
    for source, text in texts:
        reading = read_text(text)
        if source == "ImageComments" and reading.kind == "none":
            continue  # free text: "delayed", "mean" and the like are no verdict on the image
        found.append((source, reading, f"{reading.dialect}:{stem(text, reading)}"))
    if facts.temporal_position is not None and (facts.temporal_positions or 0) > 1:
        count = facts.temporal_positions or 0
        if 1 <= facts.temporal_position <= count:
            percent = 100 * (facts.temporal_position - 1) / count
            reading = Reading("phase", f"{facts.temporal_position} of {count}", "temporal", (percent,), 0.5)
            found.append(("Temporal Position Identifier (0020,0100)", reading, "temporal"))
    reading = read_folder(facts.folder)
    found.append(("folder name", reading, f"folder {reading.dialect}:{stem(facts.folder, reading)}"))
    return found


def _quote(source: str, reading: Reading, facts: SeriesFacts) -> str:
    # descriptions may be quoted whole; from comments and folder names nothing but the matched text
    text = " ".join(facts.description.split()) if source == "SeriesDescription" else reading.matched
    return f"{source} '{text}'" if not source.endswith(")") else f"{source}: {text}"


def classify_series(facts: SeriesFacts) -> Verdict:
    """Judges one series without knowing its neighbours.

    Args:
        facts: What its headers say.

    Returns:
        The phase with its evidence; that all phases are in this series; or the reason that it is no phase (with a
        candidate, where the text would do in the company of others: a lone `30%` is no phase).

    >>> classify_series(SeriesFacts("Thorax 4D 30%")).phase.label
    'T30'
    >>> classify_series(SeriesFacts("CT Thorax ASIR 40%")).reason
    'nothing in its headers names a breathing phase'
    """
    if any(value.upper() in _LOCALIZER for value in facts.image_type):
        return NoPhase("scout (ImageType LOCALIZER)")
    made = read_text(" ".join(facts.image_type).replace("\\", " "))
    readings = _readings(facts)
    description = next(r for source, r, _ in readings if source == "SeriesDescription")
    if description.reason and not description.reason.startswith("breath-hold"):
        return NoPhase(description.reason)
    if made.reason.startswith("intensity projection"):
        return NoPhase(f"{made.reason} (ImageType {made.matched})")
    speaking = [(s, r, f) for s, r, f in readings if r.kind != "none"]
    trusted = [entry for entry in speaking if not entry[1].needs_company]
    if description.reason and not trusted:
        return NoPhase(description.reason)
    if not speaking:
        return NoPhase("nothing in its headers names a breathing phase")
    # a range in the description tells less than a phase that all images of the series agree on
    chosen = [e for e in trusted if e[1].kind == "phase" and e[0] not in ("ProtocolName", "folder name")]
    source, reading, family = (chosen or trusted or speaking)[0]
    evidence = _quote(source, reading, facts)
    if reading.amplitude:
        evidence += f" ({AMPLITUDE_NOTE})"
    if reading.kind == "range":
        first, last = reading.percents
        return AllPhases(evidence, reading.confidence, (first, last), reading.amplitude)
    others = [(s, r) for s, r, _ in speaking if s != source and r.kind == "phase" and r.dialect not in ("temporal",)]
    disagreeing = [
        f"{_quote(source, reading, facts)} and {_quote(s, r, facts)} disagree on the phase; the first is believed"
        for s, r in others
        if not r.needs_company and cyclic_distance(r.phase.fraction, reading.phase.fraction) > SAME_PHASE
    ]
    confidence = reading.confidence * (0.7 if disagreeing else 1.0)
    verdict = SinglePhase(reading.phase, evidence, confidence, family, reading.amplitude, tuple(disagreeing))
    if reading.needs_company:
        return NoPhase(f"{_quote(source, reading, facts)} alone does not say that it is a breathing phase", verdict)
    return verdict


def classify_study(series: Sequence[SeriesFacts]) -> list[Verdict]:
    """Judges the series of one study together.

    Labels that mean nothing alone (`30%`, a folder `30`, `T30`) are believed in a family of at least three different
    phases; a family of believed labels raises the confidence of its members; images from which the phases were sorted
    (cine) are told apart.

    Args:
        series: One entry a series.

    Returns:
        One verdict a series, in the same order.
    """
    verdicts = [classify_series(facts) for facts in series]
    families: dict[str, list[Phase]] = defaultdict(list)
    for verdict in verdicts:
        single = verdict.candidate if isinstance(verdict, NoPhase) else verdict
        if isinstance(single, SinglePhase):
            families[single.family].append(single.phase)
    sizes = {family: len(distinct(phases)) for family, phases in families.items()}
    judged: list[Verdict] = []
    for verdict in verdicts:
        if isinstance(verdict, NoPhase) and verdict.candidate and sizes[verdict.candidate.family] >= FAMILY:
            verdict = verdict.candidate
        if isinstance(verdict, SinglePhase) and sizes[verdict.family] >= FAMILY:
            raised = verdict.confidence + 0.5 * (1 - verdict.confidence)
            verdict = replace(verdict, confidence=raised)
        judged.append(verdict)
    return [_cine(facts, v, series, judged) for facts, v in zip(series, judged, strict=True)]


def _cine(facts: SeriesFacts, verdict: Verdict, series: Sequence[SeriesFacts], verdicts: Sequence[Verdict]) -> Verdict:
    """Names the unsorted images that a study's phases were made from: as many as several phases hold."""
    if not isinstance(verdict, NoPhase) or verdict.candidate or not verdict.reason.startswith("nothing"):
        return verdict
    counts = [f.instances for f, v in zip(series, verdicts, strict=True) if isinstance(v, SinglePhase)]
    if len(counts) < FAMILY or len(set(counts)) != 1 or counts[0] < 1:
        return verdict
    copies, rest = divmod(facts.instances, counts[0])
    if rest or copies < FAMILY:
        return verdict
    return NoPhase(
        f"images not sorted by phase (cine): {copies} at each of the {counts[0]} slices of the phases beside it"
    )


def distinct(phases: Sequence[Phase]) -> list[float]:
    """The different fractions among phases, increasing; those nearer than `SAME_PHASE` count once."""
    kept: list[float] = []
    for fraction in sorted(p.fraction for p in phases):
        if all(cyclic_distance(fraction, k) > SAME_PHASE for k in kept):
            kept.append(fraction)
    return kept


def missing_phases(phases: Sequence[Phase]) -> list[Phase]:
    """The phases that an evenly spaced cycle would have between those given.

    The step is the most frequent distance of neighbours (the smaller one of two equally frequent); with fewer than
    four phases nothing is said.

    >>> [p.label for p in missing_phases([Phase.of_percent(p) for p in (0, 10, 20, 40, 50, 60, 70, 80, 90)])]
    ['T30']
    """
    fractions = distinct(phases)
    if len(fractions) < 4:
        return []
    gaps = [(b - a) % 1.0 for a, b in zip(fractions, [*fractions[1:], fractions[0]], strict=True)]
    alike = [sum(abs(g - other) <= SAME_PHASE for other in gaps) for g in gaps]
    step = min(g for g, count in zip(gaps, alike, strict=True) if count == max(alike))
    missing = []
    for start, gap in zip(fractions, gaps, strict=True):
        steps = round(gap / step)
        missing += [Phase.of_percent(round(100 * (start + gap * i / steps), 3)) for i in range(1, steps)]
    return sorted(missing)
