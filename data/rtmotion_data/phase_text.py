"""What a series description, comment or folder name says about the breathing phase: text in, reading out."""

import re
from dataclasses import dataclass
from typing import Literal

from rtmotion.sequence import Phase

Kind = Literal["phase", "range", "none"]

_NUMBER = r"(\d{1,3}(?:\.\d+)?)"
_EDGE = r"(?<![a-z0-9])"
_BREATHING = re.compile(r"4\s?-?d(?![a-z0-9]*\s*flow)|resp|gat(?:ed|ing)|breath|rcct|r\.?c\.?ct|ventilation", re.I)

# an image of another kind, or made from several phases: (reason, pattern); the first that matches wins
_NOT_A_PHASE: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (reason, re.compile(pattern, re.I))
    for reason, pattern in (
        ("scout", r"scout|topogram|locali[sz]er|surview|scanogram"),
        ("report or screen capture", r"dose[\s_-]*(?:report|info)|patient protocol|screen[\s_-]*(?:save|capture)"),
        (
            "intensity projection over phases, not a phase",
            rf"{_EDGE}(?:t?mips?|min[\s_-]?ips?|max[\s_-]?ips?|mnip|ave?[\s_-]?ips?|aips?|averages?|avg|ave|mean)(?![a-z])",
        ),
        ("mid-position or mid-ventilation image, not a phase", rf"{_EDGE}mid[\s_-]?(?:p|v|pos\w*|vent\w*)(?![a-z])"),
        (
            "CT for attenuation correction, not a phase",
            rf"ctac|{_EDGE}ac[\s_-]?ct(?![a-z])|ct[\s_-]ac(?![a-z])|attenuation",
        ),
        (
            "cardiac phase, not a breathing phase",
            rf"diast|syst(?!em)|cardiac|coronar|{_EDGE}(?:ecg|ekg|ccta|heart|bpm|r-?r)(?![a-z])|calcium|ca[\s_-]?scor",
        ),
        ("phase of contrast enhancement, not a breathing phase", r"arterial|venous|portal|delayed|nephro"),
        ("coronal or sagittal reformat", rf"coronal|sagittal|{_EDGE}(?:cor|sag)(?![a-z])"),
    )
)
_BREATH_HOLD = re.compile(
    rf"{_EDGE}(?:insp(?:\.|iration|iratory)?|exp(?:\.|iration|iratory)?|inhale|exhale|d?ibh|ebh|bh|breath[\s-]?hold)(?![a-z])",
    re.I,
)

# percentages and numbers that belong to the reconstruction
_RECONSTRUCTION = re.compile(
    rf"{_EDGE}(?:asi?r[\s-]?v?|ss|idose|admire|safire|veo|clear|aidr|sn|zoom|dose)\s*[=:(-]?\s*\d+(?:\.\d+)?\s*[%)]?"
    r"|\d+(?:\.\d+)?\s*%\s*(?:asi?r|dose|mas|kv|tube|overlap|contrast|zoom|window|recon|ssf|iodine)\w*",
    re.I,
)

_IN_EX = rf"{_NUMBER}\s*%\s*(in|ex)(?:h|hale|hal|sp|p|piration|hal\w*)?(?![a-z])"
_RANGE = re.compile(rf"{_IN_EX}\s*(?:-|–|to|\.\.)\s*{_IN_EX}", re.I)
_PERCENT_RANGE = re.compile(rf"{_EDGE}{_NUMBER}\s*%?\s*(?:-|–|to|\.\.)\s*{_NUMBER}\s*%", re.I)
_PERCENT = re.compile(rf"(?<![\d.]){_NUMBER}\s*%")

# one phase: (dialect, pattern, confidence, needs company)
_PHASE: tuple[tuple[str, re.Pattern[str], float, bool], ...] = (
    ("GE", re.compile(rf"{_EDGE}T\s*=\s*{_NUMBER}\s*%", re.I), 0.95, False),
    ("gated", re.compile(rf"gat(?:ed|ing)[\s_,:-]*{_NUMBER}\s*%", re.I), 0.95, False),
    ("In/Ex", re.compile(_IN_EX, re.I), 0.6, False),
    ("phase", re.compile(rf"phase[\s_:=#-]*{_NUMBER}\s*%", re.I), 0.9, False),
    ("phase", re.compile(r"phase[\s_:=#-]*(\d{2,3})(?![\d.])", re.I), 0.8, False),
    ("phase", re.compile(r"phase[\s_:=#-]*(0)(?![\d.])", re.I), 0.6, True),
    ("T", re.compile(rf"{_EDGE}T[\s_-]?{_NUMBER}\s*%", re.I), 0.9, False),
    ("T", re.compile(rf"{_EDGE}T[\s_-]?(\d[05])(?![a-z0-9.])", re.I), 0.6, True),
    ("percent alone", re.compile(rf"^\s*{_NUMBER}\s*%\s*[A-Z]?\s*$"), 0.8, False),
)
_FOLDER_NUMBER = re.compile(r"^\s*(\d{1,3})\s*$")


@dataclass(frozen=True)
class Reading:
    """What a text says.

    Attributes:
        kind: `phase`, `range` (all phases announced in one series) or `none`.
        matched: The part of the text that says so; nothing else of it is ever quoted from comments and folder names.
        dialect: The manner of labelling.
        percents: Percentages of the cycle, one for a phase, first and last for a range.
        confidence: 0 to 1.
        amplitude: The label counts amplitude (Siemens In/Ex), not time.
        needs_company: Believable only beside other series labelled in the same manner.
        reason: Why it is no phase.
    """

    kind: Kind
    matched: str = ""
    dialect: str = ""
    percents: tuple[float, ...] = ()
    confidence: float = 0.0
    amplitude: bool = False
    needs_company: bool = False
    reason: str = ""

    @property
    def phase(self) -> Phase:
        """The phase of a reading of kind `phase`."""
        return Phase.of_percent(self.percents[0])


SILENT = Reading("none")


def percent_of_amplitude(amplitude: float, direction: str) -> float:
    """The percentage of the cycle of a Siemens amplitude label, assuming T00 at end-inhale and T50 at end-exhale.

    100 % In is end-inhale (0), 0 % Ex is end-exhale (50); exhalation runs from 100 down to 0 % Ex, inhalation from 0
    up to 100 % In. Amplitude is taken as linear in time, which breathing is not: the order of the phases is right, the
    fraction is nominal.

    Args:
        amplitude: 0 to 100, the percentage of the text.
        direction: `In` or `Ex`.

    Returns:
        0 <= percentage < 100.

    >>> [percent_of_amplitude(a, d) for a, d in ((100, "In"), (80, "Ex"), (0, "Ex"), (20, "In"), (80, "In"))]
    [0.0, 10.0, 50.0, 60.0, 90.0]
    """
    share = min(max(amplitude, 0.0), 100.0) / 100
    percent = 50 * (1 - share) if direction.lower().startswith("e") else 50 + 50 * share
    return round(percent, 6) % 100


def read_text(text: str) -> Reading:
    """What a description, comment or protocol name says of the breathing phase.

    Args:
        text: One line; it may be empty.

    Returns:
        A reading of kind `phase`, `range` or `none`; of kind `none` with a reason where the text names something else
        (projection, scout, cardiac phase ...), and without one where it is silent.

    >>> read_text("T=30%,PR=24% -> 30%,AR(cm)=-2.04 -> -1.9").phase.label
    'T30'
    >>> read_text("Ave-IP(10) 0%_10%_20%").reason
    'intensity projection over phases, not a phase'
    """
    for reason, pattern in _NOT_A_PHASE:
        if found := pattern.search(text):
            return Reading("none", matched=found.group(0).strip(), reason=reason)
    if found := _RANGE.search(text):
        percents = (
            percent_of_amplitude(float(found[1]), found[2]),
            percent_of_amplitude(float(found[3]), found[4]),
        )
        return Reading("range", found.group(0), "In/Ex", percents, 0.6, amplitude=True)
    plain = _RECONSTRUCTION.sub(" ", text)
    if reading := _one_phase(plain):
        return reading
    return _percents(plain)


def _one_phase(text: str) -> Reading | None:
    for dialect, pattern, confidence, needs_company in _PHASE:
        found = pattern.search(text)
        if found is None or float(found[1]) > 100:
            continue
        if dialect == "In/Ex":
            percent = percent_of_amplitude(float(found[1]), found[2])
            return Reading("phase", found.group(0).strip(), dialect, (percent,), confidence, amplitude=True)
        matched = found.group(0).strip()
        return Reading("phase", matched, dialect, (float(found[1]) % 100,), confidence, needs_company=needs_company)
    return None


def _percents(text: str) -> Reading:
    """Readings of bare percentages, which mean a phase only where the text speaks of breathing."""
    breathing = _BREATHING.search(text) is not None
    found = _PERCENT_RANGE.search(text)
    if found and breathing and max(float(found[1]), float(found[2])) <= 100:
        return Reading("range", found.group(0), "percent", (float(found[1]), float(found[2])), 0.6)
    percents = [(m.group(0), float(m[1])) for m in _PERCENT.finditer(text) if float(m[1]) <= 100]
    if len(percents) > 2:
        return Reading("range", "".join(p for p, _ in percents), "percent", (percents[0][1], percents[-1][1]), 0.4)
    if len(percents) == 1:
        matched, percent = percents[0]
        if breathing:
            return Reading("phase", matched, "4D percent", (percent % 100,), 0.85)
        return Reading("phase", matched, "percent", (percent % 100,), 0.6, needs_company=True)
    if found := _BREATH_HOLD.search(text):
        return Reading("none", found.group(0).strip(), reason="breath-hold or static CT, not a phase of a cycle")
    return SILENT


def read_folder(name: str) -> Reading:
    """What a folder's name says: as `read_text`, and a bare number (`00`, `30`) beside others of its kind."""
    if found := _FOLDER_NUMBER.match(name):
        percent = float(found[1])
        if percent <= 100:
            return Reading("phase", found[1], "number", (percent % 100,), 0.4, needs_company=True)
        return SILENT
    reading = read_text(name.replace("_", " ").replace("pct", "%"))
    if reading.kind == "phase":
        return Reading(
            "phase", reading.matched, reading.dialect, reading.percents, 0.5, reading.amplitude, reading.needs_company
        )
    # a folder called "mean" or "average" does not outweigh headers that say nothing: only labels are taken
    return SILENT


def read_respiratory(
    percent: float | None, states: tuple[str, str] = ("", ""), amplitudes: tuple[float, float] | None = None
) -> Reading:
    """What the attributes of DICOM's respiratory synchronisation say.

    Args:
        percent: Nominal Percentage of Respiratory Phase (0020,9245).
        states: Starting and ending Respiratory Phase (0020,9247), (0020,9249).
        amplitudes: Starting and ending Respiratory Amplitude (0020,9246), (0020,9248), % of the inhalation.

    Returns:
        A phase, or silence. The percentage is believed most; a state of maximum or minimum is end-inhale or
        end-exhale; inspiration or expiration counts with its mean amplitude, as Siemens' In and Ex do.
    """
    if percent is not None and 0 <= percent <= 100:
        return Reading("phase", f"{percent:g}", "tag", (percent % 100,), 0.98)
    state = states[0].upper()
    if not state or state != states[1].upper():
        return SILENT
    if state in ("MAXIMUM", "MINIMUM"):
        return Reading("phase", state, "state", (0.0 if state == "MAXIMUM" else 50.0,), 0.6, amplitude=True)
    if state in ("INSPIRATION", "EXPIRATION") and amplitudes and all(0 <= a <= 100 for a in amplitudes):
        amplitude = sum(amplitudes) / 2
        turned = percent_of_amplitude(amplitude, "In" if state == "INSPIRATION" else "Ex")
        return Reading("phase", f"{amplitude:g} % {state}", "state", (turned,), 0.6, amplitude=True)
    return SILENT


def stem(text: str, reading: Reading) -> str:
    """The text without its phase and its other numbers: equal for the series of one family."""
    if reading.dialect == "GE":
        return ""  # ranges of phase and amplitude follow, and long descriptions are cut off
    rest = text.replace(reading.matched, "%", 1) if reading.matched else text
    rest = re.sub(r"^\s*CT\d*:", "", rest)
    return re.sub(r"[\s\d.]+", " ", rest).strip().lower()


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts names by the numbers in them: `phase 9` before `phase 10`."""
    return [(0, int(w), "") if w.isdecimal() else (1, 0, w.lower()) for w in re.split(r"(\d+)", name) if w]
