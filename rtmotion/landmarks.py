"""Sets of landmarks of one case: points of the same anatomy in several phases, and what is published about them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import permutations
from typing import Any

import numpy as np
import torch

from rtmotion.errors import GeometryError, PhaseError
from rtmotion.grid import Grid
from rtmotion.types import Points

SELF_CHECK_MM = 0.1
"""An identity error farther than this from the published one: other landmarks, another spacing or axis order."""


@dataclass(frozen=True)
class IdentityCheck:
    """How far the landmarks of two phases lie apart, against what their publishers say.

    Attributes:
        first: Label of a phase.
        second: Label of another phase.
        measured_mm: Mean distance of the landmarks in the two phases, mm: the registration error of doing nothing.
        published_mm: The same as published.
        superior_mm: Mean movement of the landmarks from the first phase to the second towards the head, mm.
        second_is_exhale: Whether the second phase is end-exhale and the first end-inhale, so that the landmarks must
            move towards the head.
        hint: What would explain a difference; may be empty.
    """

    first: str
    second: str
    measured_mm: float
    published_mm: float
    superior_mm: float
    second_is_exhale: bool = False
    hint: str = ""

    @property
    def agrees(self) -> bool:
        """Whether the distance is that published and the movement goes the way that breathing goes."""
        upside_down = self.second_is_exhale and self.superior_mm < 0
        return abs(self.measured_mm - self.published_mm) <= SELF_CHECK_MM and not upside_down

    def describe(self) -> str:
        """The check in words."""
        text = (
            f"the landmarks lie {self.measured_mm:.2f} mm apart in {self.first} and {self.second}, published are "
            f"{self.published_mm:.2f} mm"
        )
        if self.agrees:
            return f"{text}: they agree"
        if abs(self.measured_mm - self.published_mm) > SELF_CHECK_MM:
            return f"{text}: {self.hint or 'wrong landmark files, another case, spacing or order of the axes'}"
        return (
            f"from end-inhale {self.first} to end-exhale {self.second} the landmarks move {-self.superior_mm:.2f} mm "
            "towards the feet, and should move towards the head: the slices are upside down"
        )

    def to_json(self) -> dict[str, Any]:
        """The check as JSON has it; `says` is `describe`."""
        return {**asdict(self), "agrees": self.agrees, "says": self.describe()}


@dataclass(frozen=True, eq=False)
class LandmarkSet:
    """Points of the same anatomy in several phases of one case.

    Attributes:
        name: What set it is, in words, without patient data.
        convention: `dirlab-300`, `dirlab-75`, `popi-model`, `popi-2011`, or `lps-mm` (landmarks.csv, phantoms).
        points: World points (LPS, mm, float64, shape (n, 3)) by phase label; row i of one phase and row i of every
            other are the same landmark.
        source_units: Unit and frame of the numbers in the files.
        reference: Label of the phase in which the publishers chose the landmarks, or None.
        published: Published mean distance, mm, by the labels of two phases.
        breath: Labels of end-inhale and end-exhale where the publishers say them, or None.
    """

    name: str
    convention: str
    points: Mapping[str, Points]
    source_units: str
    reference: str | None = None
    published: Mapping[tuple[str, str], float] = field(default_factory=dict)
    breath: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        shapes = {label: tuple(p.shape) for label, p in self.points.items()}
        if len(set(shapes.values())) != 1 or any(len(s) != 2 or s[1] != 3 or not s[0] for s in shapes.values()):
            listed = ", ".join(f"{label}: {shape}" for label, shape in shapes.items()) or "none"
            raise GeometryError(
                f"{self.name}: every phase must have the same landmarks, at least one, shape (n, 3); got {listed}"
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The phases that have landmarks, in order."""
        return tuple(sorted(self.points))

    @property
    def count(self) -> int:
        """The number of landmarks."""
        return len(next(iter(self.points.values())))

    def of(self, label: str) -> Points:
        """The landmarks of a phase, LPS mm, shape (n, 3).

        Raises:
            PhaseError: If the phase has none.
        """
        if label not in self.points:
            raise PhaseError(f"{self.name}: phase {label} has no landmarks; those with: {', '.join(self.labels)}")
        return self.points[label]

    def identity_mm(self, first: str, second: str) -> float:
        """The mean distance of the landmarks of two phases, mm: the registration error of doing nothing.

        Raises:
            PhaseError: If one of the phases has no landmarks.
        """
        return float(torch.linalg.vector_norm(self.of(first) - self.of(second), dim=1).mean())

    def check(self, first: str, second: str, grid: Grid | None = None) -> IdentityCheck | None:
        """Compares two phases with what is published of them; None where nothing is.

        The distance depends on the spacing and on which axis is which; it does not see a mirrored axis or an index
        that is off by one. The movement towards the head sees slices that are upside down.

        Args:
            first: Label of a phase.
            second: Label of another phase.
            grid: The grid of the images, to say what would explain a difference.

        Raises:
            PhaseError: If one of the phases has no landmarks.
        """
        published = self.published.get((first, second), self.published.get((second, first)))
        if published is None:
            return None
        exhale = self.breath is not None and set(self.breath) == {first, second}
        first, second = self.breath if exhale and self.breath is not None else (first, second)
        measured = self.identity_mm(first, second)
        superior = float((self.of(second) - self.of(first))[:, 2].mean())
        differs = abs(measured - published) > SELF_CHECK_MM
        hint = self._explanation(first, second, published, grid) if differs and grid is not None else ""
        return IdentityCheck(first, second, measured, published, superior, exhale, hint)

    def checks(self, grid: Grid | None = None) -> tuple[IdentityCheck, ...]:
        """All pairs of phases of which something is published; see `check`."""
        pairs = (pair for pair in self.published if all(label in self.points for label in pair))
        return tuple(found for pair in pairs if (found := self.check(*pair, grid)) is not None)

    def to_json(self) -> dict[str, Any]:
        """What the set is, with the checks that can be made of it; the points stay out."""
        return {
            "set": self.name,
            "convention": self.convention,
            "count": self.count,
            "phases": list(self.labels),
            "source_units": self.source_units,
            "reference": self.reference,
            "identity_checks": [check.to_json() for check in self.checks()],
        }

    def _explanation(self, first: str, second: str, published: float, grid: Grid) -> str:
        """What would give the published distance: another order of the columns, or no spacing."""
        steps = (self.of(second) - self.of(first)).numpy() @ grid.world_to_index_matrix.T
        # those that move the fewest columns come first
        for order in sorted(permutations(range(3)), key=lambda o: sum(a != b for a, b in enumerate(o))):
            distance = float(np.linalg.norm(steps[:, order] * np.asarray(grid.spacing), axis=1).mean())
            if abs(distance - published) <= SELF_CHECK_MM:
                columns = " ".join("xyz"[a] for a in order)
                return f"with the columns read as {columns} they would be {distance:.2f} mm: swapped axes"
        if abs(float(np.linalg.norm(steps, axis=1).mean()) - published) <= SELF_CHECK_MM:
            return "read as mm instead of voxels they would agree: wrong unit"
        return ""
