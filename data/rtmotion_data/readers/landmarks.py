"""Landmarks beside the phases: `landmarks.csv` with columns id, phase, x, y, z."""

import csv
from collections.abc import Collection, Mapping
from pathlib import Path

import torch

from rtmotion.errors import ReadError
from rtmotion.sequence import Phase
from rtmotion.types import Points

COLUMNS = ("id", "phase", "x", "y", "z")


def read_landmarks(path: Path, labels: Collection[str]) -> Mapping[str, Points]:
    """The landmarks of some phases.

    Args:
        path: CSV with the columns id, phase (percent), x, y, z (LPS, mm).
        labels: The phases wanted, T00 ...

    Returns:
        Phase label to points, float64, shape (n, 3), LPS mm, in the same order of the same ids for all phases; a
        landmark that a phase lacks is left out of all. Phases without any landmark are missing.

    Raises:
        ReadError: If the file has other columns, or a line that holds no numbers.
    """
    points: dict[str, dict[str, list[float]]] = {}
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as stream:
        rows = csv.DictReader(stream)
        if not set(COLUMNS) <= set(rows.fieldnames or ()):
            raise ReadError(f"{path}: the columns {', '.join(COLUMNS)} were expected, there are {rows.fieldnames}")
        for row in rows:
            try:
                label = Phase.of_percent(float(row["phase"])).label
                place = [float(row[c]) for c in "xyz"]
            except (TypeError, ValueError):
                raise ReadError(f"{path}, line {rows.line_num}: numbers were expected for phase, x, y and z") from None
            points.setdefault(label, {})[row["id"]] = place
    wanted = {label: points[label] for label in labels if label in points}
    if not wanted:
        return {}
    first = next(iter(wanted.values()))
    common = [i for i in first if all(i in by_id for by_id in wanted.values())]
    return {
        label: torch.tensor([by_id[i] for i in common], dtype=torch.float64).reshape(-1, 3)
        for label, by_id in wanted.items()
    }
