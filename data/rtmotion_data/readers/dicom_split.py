"""One series that holds all phases, taken apart: the same slice position occurs once a phase."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from rtmotion.errors import PhaseError
from rtmotion.sequence import Phase
from rtmotion_data.phase_labels import AllPhases, SinglePhase
from rtmotion_data.phase_text import Reading, read_folder, read_respiratory, read_text
from rtmotion_data.readers.dicom_headers import Slice
from rtmotion_data.readers.dicom_stack import along_normal, place_numbers

K = TypeVar("K", int, tuple[float, ...])


@dataclass(frozen=True)
class Part:
    """One phase out of a series.

    Attributes:
        verdict: The phase and what says so.
        slices: Its slices, in no order.
    """

    verdict: SinglePhase
    slices: tuple[Slice, ...]


def copies(slices: Sequence[Slice]) -> tuple[int, int]:
    """The smallest and the largest number of slices at one place."""
    counts = np.bincount(place_numbers(along_normal(slices)[0]))
    return int(counts.min()), int(counts.max())


def split_phases(
    slices: Sequence[Slice], announced: AllPhases | None = None, percents: Sequence[float] | None = None
) -> list[Part]:
    """Takes a series apart into its phases.

    Tried in this order: respiratory percentage of each image, phase in each image's comment, temporal position, folder
    names; where the series announces all phases, or the user names them, also acquisition number, order of the
    instance numbers at each place, and acquisition time at each place. Times alone never make phases: images of a
    cine scan come in the order of time, not of breathing.

    Args:
        slices: Of one series and one plane key.
        announced: What the series says of its phases.
        percents: Percentages of the cycle that the user gives the phases, in the order of the split.

    Returns:
        The phases, or nothing where no evidence splits the series.

    Raises:
        PhaseError: If the user names another number of phases than there are.
    """
    for name, confidence, label in (
        ("Respiratory Synchronization (0020,9245)–(0020,9249) of each image", 0.98, _by_tag),
        ("comment of each image", 0.9, _by_comment),
        ("Temporal Position of each image", 0.5, _by_temporal_position),
        ("folder of each image", 0.5, _by_folder),
    ):
        readings = [label(s) for s in slices]
        if all(r is not None for r in readings) and len({r.percents for r in readings if r}) > 1:
            groups = _grouped(slices, [r.percents for r in readings if r])
            by_percents = {r.percents: r for r in readings if r}
            if percents is not None:
                return _named([groups[k] for k in sorted(groups)], percents, name)
            return [_part(groups[k], by_percents[k], name, confidence) for k in sorted(groups)]
    if announced is None and percents is None:
        return []
    for name, confidence, order in (
        ("acquisition number", 0.5, _acquisition_number),
        ("order of the instance numbers at each slice position", 0.4, _rank(lambda s: s.instance_number)),
        ("acquisition time at each slice position", 0.3, _rank(lambda s: s.acquisition_time or None)),
    ):
        keys = order(slices)
        if keys is None:
            continue
        ranked = _grouped(slices, keys)
        ordered = [ranked[k] for k in sorted(ranked)]
        if percents is not None:
            return _named(ordered, percents, name)
        if announced is not None:
            return _announced(ordered, announced, name, confidence)
    return []


def _grouped(slices: Sequence[Slice], keys: Sequence[K]) -> dict[K, list[Slice]]:
    groups: dict[K, list[Slice]] = {}
    for image, key in zip(slices, keys, strict=True):
        groups.setdefault(key, []).append(image)
    return groups


def _part(slices: Sequence[Slice], reading: Reading, name: str, confidence: float) -> Part:
    evidence = f"one series split by the {name}: '{reading.matched}'"
    confidence = min(confidence, reading.confidence) if reading.amplitude else confidence
    verdict = SinglePhase(reading.phase, evidence, confidence, f"split {name}", reading.amplitude)
    return Part(verdict, tuple(slices))


def _named(groups: Sequence[Sequence[Slice]], percents: Sequence[float], name: str) -> list[Part]:
    if len(groups) != len(percents):
        raise PhaseError(
            f"{len(percents)} phases were named, but the {name} splits the series into {len(groups)}: name as many"
        )
    return [
        Part(
            SinglePhase(Phase.of_percent(p), f"named by the user; one series split by the {name}, part {i + 1}", 1.0),
            tuple(group),
        )
        for i, (p, group) in enumerate(zip(percents, groups, strict=True))
    ]


def _announced(groups: Sequence[Sequence[Slice]], announced: AllPhases, name: str, confidence: float) -> list[Part]:
    first, last = announced.percents
    reach = (last - first) % 100
    # from 0 to 100 % is a whole cycle, whose end is its beginning again
    step = reach / (len(groups) - 1) if reach else 100 / len(groups)
    parts = []
    for i, group in enumerate(groups):
        phase = Phase.of_percent(round(first + i * step, 3))
        evidence = f"one series split by the {name}, part {i + 1} of {len(groups)}; {announced.evidence}"
        verdict = SinglePhase(phase, evidence, confidence, f"split {name}", announced.amplitude)
        parts.append(Part(verdict, tuple(group)))
    return parts


def _by_tag(image: Slice) -> Reading | None:
    reading = read_respiratory(image.respiratory_percent, image.respiratory_states, image.respiratory_amplitudes)
    return reading if reading.kind == "phase" else None


def _by_comment(image: Slice) -> Reading | None:
    reading = read_text(image.comments)
    return reading if reading.kind == "phase" else None


def _by_temporal_position(image: Slice) -> Reading | None:
    position, count = image.temporal_position, image.temporal_positions
    if position is None or count is None or not 1 <= position <= count:
        return None
    return Reading("phase", f"{position} of {count}", "temporal", (100 * (position - 1) / count,), 0.5)


def _by_folder(image: Slice) -> Reading | None:
    reading = read_folder(image.folder)
    return reading if reading.kind == "phase" else None


def _acquisition_number(slices: Sequence[Slice]) -> list[int] | None:
    """The acquisition numbers, where each of them has every place exactly once."""
    numbers = [s.acquisition_number for s in slices]
    if any(n is None for n in numbers) or len(set(numbers)) < 2:
        return None
    places = place_numbers(along_normal(slices)[0])
    pairs = {(n, int(p)) for n, p in zip(numbers, places, strict=True)}
    complete = len(pairs) == len(slices) == len(set(numbers)) * (int(places.max()) + 1)
    return [n for n in numbers if n is not None] if complete else None


def _rank(key: Callable[[Slice], int | str | None]) -> Callable[[Sequence[Slice]], list[int] | None]:
    """How many slices at the same place come before each one, in the order of a key."""

    def ranks(slices: Sequence[Slice]) -> list[int] | None:
        keys = [key(s) for s in slices]
        least, most = copies(slices)
        if any(k is None for k in keys) or least != most or most < 2:
            return None
        places = place_numbers(along_normal(slices)[0]).tolist()
        if len(set(zip(places, keys, strict=True))) != len(slices):
            return None  # two slices at one place with the same key: their order is not known
        order = sorted(range(len(slices)), key=lambda i: (places[i], keys[i]))
        result = [0] * len(slices)
        for rank, i in enumerate(order):
            result[i] = rank % most
        return result

    return ranks
