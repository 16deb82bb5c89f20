"""The landmarks of a registration: which sets there are, what the fields make of them, the table of errors."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtmotion_cli.cases import Case, said_while_reading

if TYPE_CHECKING:
    from rtmotion.evaluation.landmark_sets import LandmarkEvaluation
    from rtmotion.landmarks import LandmarkSet
    from rtmotion.registration import Registration
    from rtmotion.sequence import PhaseSequence

TABLE = "landmarks.csv"


def landmark_sets(case: Case, path: Path | None, moving: str) -> "tuple[tuple[LandmarkSet, ...], list[str]]":
    """The landmarks at a path; without one those found beside the images, or that came with the volumes.

    Returns:
        The sets, and what the user should know of them: a self-check that fails, no landmarks in the phase `moving`.

    Raises:
        ReadError: If there are none at the path, or a file is malformed.
    """
    from rtmotion.evaluation.landmark_sets import sets_of_sequence
    from rtmotion_data.readers.landmark_sets import read_landmark_sets

    with said_while_reading() as said:
        if path is not None:
            sets = read_landmark_sets(path, case.found)
        else:
            sets = case.found.landmarks or sets_of_sequence(case.sequence, f"{case.found.name}, its own landmarks")
    return sets, [*said, *_unused(sets, moving)]


def evaluate_fields(
    sets: "Sequence[LandmarkSet]",
    sequence: "PhaseSequence",
    reference: int,
    registrations: "Sequence[Registration]",
) -> "list[LandmarkEvaluation]":
    """Every set in every phase that it shares with the reference, by the field from that phase to the reference."""
    from rtmotion.evaluation.landmark_sets import evaluate_landmarks

    moving = sequence.labels[reference]
    return [
        evaluate_landmarks(registrations[i].displacement.to("cpu"), landmarks, label, moving, sequence.grid)
        for landmarks in sets
        if moving in landmarks.points
        for i, label in enumerate(sequence.labels)
        if i != reference and label in landmarks.points
    ]


def _unused(sets: "Sequence[LandmarkSet]", moving: str) -> list[str]:
    """What to tell of sets that have no landmarks in the reference phase."""
    return [
        f"{s.name}: none in the reference phase {moving}, so they measure nothing; take --reference "
        f"{' or '.join(s.labels)}"
        for s in sets
        if moving not in s.points
    ]


def errors_table(evaluations: "Sequence[LandmarkEvaluation]") -> str:
    """The text of landmarks.csv: one row a landmark and field, mm, LPS."""
    from rtmotion.evaluation.landmark_sets import TABLE_COLUMNS, landmark_rows

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(TABLE_COLUMNS)
    writer.writerows(landmark_rows(evaluations))
    return text.getvalue()


SHOWN = ("set", "fixed → moving", "identity", "mean", "SD", "median", "95 %", "max", "LR", "AP", "SI", "snapped")
"""Headings of `shown_rows`; all numbers are mm."""


def shown_rows(entries: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The rows that `register` prints, from the entries of `landmarks` in register.json."""
    rows = []
    for entry in entries:
        tre = entry["tre"]
        numbers = (
            entry["identity"]["mean_mm"],
            *(tre[f"{name}_mm"] for name in ("mean", "sd", "median", "p95", "max")),
            *(tre[f"{a}_mean_absolute_mm"] for a in ("left_right", "anterior_posterior", "superior_inferior")),
            entry["tre_snapped"]["mean_mm"],
        )
        rows.append((entry["convention"], f"{entry['fixed']} → {entry['moving']}", *(f"{n:.2f}" for n in numbers)))
    return rows
