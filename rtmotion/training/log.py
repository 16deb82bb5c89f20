"""The log of a training: a CSV that can be plotted while it runs."""

import csv
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

COLUMNS = ("step", "seconds", "patients", "rate", "part", "value")


class TrainingLog:
    """Appends rows `step, seconds, patients, rate, part, value`: the mean of each part of the loss since the last row.

    Validation scores are rows of their own whose part begins with `validation_`. A row that says something of a step
    behind the checkpoint that a training goes on from is dropped.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        """Opens the log, or goes on with it after a number of steps."""
        self._path = path
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._count = 0
        self._last = ("0.0", "0")
        rows = []
        if step and path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    def add(self, parts: Mapping[str, float]) -> None:
        """Takes the parts of one step's loss."""
        for name, value in parts.items():
            self._sums[name] += value
        self._count += 1

    def write(self, step: int, seconds: float, patients: int, rate: float) -> None:
        """Writes the means since the last call."""
        head = (step, f"{seconds:.1f}", patients, f"{rate:.3g}")
        self._append([(*head, name, f"{total / self._count:.6g}") for name, total in self._sums.items()])
        self._last = (f"{seconds:.1f}", str(patients))
        self._sums.clear()
        self._count = 0

    def write_validation(self, step: int, scores: Mapping[str, float]) -> None:
        """Writes the scores of a validation."""
        self._append([(step, *self._last, "", f"validation_{name}", f"{v:.6g}") for name, v in scores.items()])

    def _append(self, rows: list[tuple[object, ...]]) -> None:
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
