"""Which files belong together, and which phase each is: the numbers in their names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rtmotion.errors import PhaseError
from rtmotion.sequence import Phase
from rtmotion_data.readers.file_headers import ending_of

_NUMBER = re.compile(r"\d+(?:\.\d+)?")

_NOT_CT = re.compile(
    r"(?<![a-z])(?:dvf|ddf|disp\w*|deform\w*|field|flow|velocity|svf|labels?|masks?|seg\w*|uncert\w*|sigma|std|err\w*"
    r"|diff\w*|jac\w*|mip|minip|aip|avg|ave|average|mean|midp\w*|midv\w*|itv\w*|contours?|struct\w*|dose|pet|warped)"
    r"(?![a-z])",
    re.I,
)
"""Names of what lies beside a 4D CT: fields, labels, projections."""

_PHASE_WORD = re.compile(
    r"(?<![a-z])(?:phase|ph|t|p|resp|gated|gate|bin|4d|4dct|ct|frame|vol|volume|time|image|img)[\s_.\-=]*$", re.I
)
_PERCENT_SIGN = re.compile(r"^\s*(?:%|_?pct|_?percent)", re.I)

FINEST_STEP = 5
"""Percentages of the cycle come in steps of at least this: at most 20 phases."""


@dataclass(frozen=True)
class Family:
    """Files whose names differ in one number only.

    Attributes:
        pattern: The name with `#` in place of the number.
        files: In the order of the number.
        numbers: One a file.
        percent_sign: A percent sign follows the number.
        phase_word: A word for a phase stands before the number.
    """

    pattern: str
    files: tuple[Path, ...]
    numbers: tuple[float, ...]
    percent_sign: bool = False
    phase_word: bool = False


def natural_key(path: Path) -> list[tuple[int, float, str]]:
    """Sorts 2 before 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(1, float(p), "") if p.isdigit() else (0, 0.0, p.lower()) for p in parts]


def is_no_ct(path: Path) -> bool:
    """Whether the name is that of a field, label or projection."""
    return _NOT_CT.search(_stem(path).replace("_", " ")) is not None


def _stem(path: Path) -> str:
    ending = ending_of(path) or ""
    return path.name[: len(path.name) - len(ending)]


def families(files: Sequence[Path]) -> list[Family]:
    """Groups files whose names differ in one number; the likeliest phases come first.

    A file belongs to one family at most: groups whose number follows a word for a phase or has a percent sign go before
    others, larger groups before smaller ones. Files that fit nowhere are in none.
    """
    groups: dict[tuple[str, str], list[tuple[float, Path]]] = {}
    signs: dict[tuple[str, str], tuple[bool, bool]] = {}
    for file in files:
        stem = _stem(file)
        for match in _NUMBER.finditer(stem):
            before, after = stem[: match.start()], stem[match.end() :]
            key = (f"{before}#{after}{ending_of(file)}", str(file.parent))
            groups.setdefault(key, []).append((float(match[0]), file))
            # a bare number is its own phase word
            word = _PHASE_WORD.search(before) is not None or not (before.strip() or after.strip())
            signs[key] = (_PERCENT_SIGN.match(after) is not None, word)
    order = sorted(groups, key=lambda k: (-any(signs[k]), -len(groups[k]), k))
    used: set[Path] = set()
    found = []
    for key in order:
        members = sorted((n, f) for n, f in groups[key] if f not in used)
        if len(members) < 2:
            continue
        used.update(f for _, f in members)
        numbers, paths = zip(*members, strict=True)
        found.append(Family(key[0], paths, numbers, *signs[key]))
    return found


def phases_of(numbers: Sequence[float], names: Sequence[str], percent_sign: bool = False) -> tuple[list[float], str]:
    """Fractions of the cycle from the numbers in names, and what was made of them.

    Numbers are percentages if a percent sign says so, or if all are at most 100 and lie (within rounding) on different
    multiples of 100/n for some n of 2 to 20 phases. Others are indices: numbers without a gap count from the first, and
    phase i of N lies at i/N; numbers with gaps are taken in their order.

    Args:
        numbers: One a file, increasing.
        names: The files' names, for messages.
        percent_sign: A percent sign follows the numbers.

    Raises:
        PhaseError: If two files have the same phase.
    """
    count = len(numbers)
    double = [names[i] for i in range(1, count) if numbers[i] == numbers[i - 1]]
    if double:
        raise PhaseError(f"two files for one phase: {double[0]} and another with its number; give the files one by one")
    if percent_sign or _are_percentages(numbers):
        seen: dict[str, int] = {}
        for i, number in enumerate(numbers):
            label = Phase.of_percent(number).label
            if label in seen:
                raise PhaseError(f"two files for phase {label}: {names[seen[label]]} and {names[i]}; remove one")
            seen[label] = i
        return [(n % 100) / 100 for n in numbers], "percentage in the file name"
    first = numbers[0]
    if all(n == first + i for i, n in enumerate(numbers)):
        return [
            i / count for i in range(count)
        ], f"index in the file name, counted from {first:g}, {count} in the cycle"
    return [i / count for i in range(count)], f"order of the numbers in the file names, {count} in the cycle"


def _are_percentages(numbers: Sequence[float]) -> bool:
    if max(numbers) > 100 or min(numbers) < 0:
        return False
    for count in range(2, 100 // FINEST_STEP + 1):
        places = [round(n * count / 100) for n in numbers]
        near = all(abs(n - place * 100 / count) < 0.7 for n, place in zip(numbers, places, strict=True))
        if near and len(set(places)) == len(places):
            return True
    return False


def missing_phases(fractions: Sequence[float]) -> str | None:
    """A warning where phases of an evenly divided cycle are missing, or None."""
    if len(fractions) < 2:
        return None
    percents = [100 * f for f in fractions]
    step = min(b - a for a, b in pairwise(percents))
    count = round(100 / step)
    if abs(count * step - 100) > 0.15 * step * count or count > 100 // FINEST_STEP:
        return f"the phases are not evenly spaced: {', '.join(f'{p:.0f}' for p in percents)} %"
    there = {round(p * count / 100) for p in percents}
    missing = [f"T{min(round(100 * i / count), 99):02d}" for i in range(count) if i not in there]
    if not missing:
        return None
    return f"{len(fractions)} of {count} phases are there; missing: {', '.join(missing)}"
