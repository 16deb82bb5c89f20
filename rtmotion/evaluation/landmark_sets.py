"""How well a displacement field carries the landmarks of a published set, with its direction and units said."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from rtmotion.evaluation.landmarks import (
    TargetError,
    summarise,
    target_registration_vectors,
)
from rtmotion.field import DisplacementField
from rtmotion.grid import Grid
from rtmotion.landmarks import IdentityCheck, LandmarkSet
from rtmotion.sequence import PhaseSequence
from rtmotion.types import Points

AXES = ("left_right", "anterior_posterior", "superior_inferior")
"""The axes x, y, z of LPS."""

TABLE_COLUMNS = (
    "set",
    "fixed",
    "moving",
    "landmark",
    *(f"{what}_{axis}_mm" for what in ("fixed", "target", "mapped") for axis in "xyz"),
    "identity_mm",
    "error_mm",
    "error_snapped_mm",
)
"""Columns of `landmark_rows`."""


@dataclass(frozen=True)
class LandmarkErrors:
    """Errors over the landmarks of a set, mm.

    Attributes:
        distance: Of the distances: mean, SD, median, 95th percentile, maximum, count.
        left_right_mm: Mean absolute error along x of LPS.
        anterior_posterior_mm: Along y.
        superior_inferior_mm: Along z.
    """

    distance: TargetError
    left_right_mm: float
    anterior_posterior_mm: float
    superior_inferior_mm: float

    def to_json(self) -> dict[str, float]:
        """The numbers with their units in their names."""
        named = {f"{name}_mm": value for name, value in asdict(self.distance).items() if name != "count"}
        return {**named, **{f"{axis}_mean_absolute_mm": getattr(self, f"{axis}_mm") for axis in AXES}}


@dataclass(frozen=True, eq=False)
class LandmarkEvaluation:
    """A displacement field measured on a set of landmarks.

    Attributes:
        landmarks: The set.
        fixed: Label of the phase on whose grid the field is given, from which landmarks are carried.
        moving: Label of the phase that the field points to.
        plain: Errors of the mapped landmarks as they are.
        snapped: Errors of mapped and target landmarks rounded to the nearest voxel centre of the moving image.
        identity: Errors of no field at all: the distances of the landmarks.
        check: The identity's error against the published one, or None where nothing is published of the two phases.
        outside: Number of landmarks outside the field's grid, where its border values were taken.
        vectors: From target to mapped landmark, LPS mm, shape (n, 3), not snapped.
        snapped_vectors: The same, snapped.
    """

    landmarks: LandmarkSet
    fixed: str
    moving: str
    plain: LandmarkErrors
    snapped: LandmarkErrors
    identity: LandmarkErrors
    check: IdentityCheck | None
    outside: int
    vectors: Points
    snapped_vectors: Points

    @property
    def direction(self) -> str:
        """Which way the field points and what the error is, in words."""
        return (
            f"u(x) in mm, LPS, on the grid of the fixed phase {self.fixed}, carries a landmark x of {self.fixed} to "
            f"x + u(x) in the moving phase {self.moving}; the error is its distance from the same landmark of "
            f"{self.moving}"
        )

    def to_json(self) -> dict[str, Any]:
        """One entry of `landmarks` in register.json."""
        return {
            "set": self.landmarks.name,
            "convention": self.landmarks.convention,
            "count": self.landmarks.count,
            "fixed": self.fixed,
            "moving": self.moving,
            "direction": self.direction,
            "units": "mm; left_right, anterior_posterior, superior_inferior are x, y, z of LPS",
            "source_units": self.landmarks.source_units,
            "reference_of_the_set": self.landmarks.reference,
            "tre": self.plain.to_json(),
            "tre_snapped": self.snapped.to_json(),
            "snapping": "mapped and target landmarks to the nearest voxel centre of the moving image",
            "identity": self.identity.to_json(),
            "identity_check": None if self.check is None else self.check.to_json(),
            "outside_the_field": self.outside,
        }


def evaluate_landmarks(
    displacement: DisplacementField, landmarks: LandmarkSet, fixed: str, moving: str, moving_grid: Grid | None = None
) -> LandmarkEvaluation:
    """Measures a displacement field on the landmarks of two phases.

    Args:
        displacement: On the grid of the fixed phase, mm, LPS: `x -> x + u(x)` lies in the moving phase.
        landmarks: The set.
        fixed: Label of the fixed phase.
        moving: Label of the moving phase.
        moving_grid: The grid of the moving image, to whose voxel centres landmarks are snapped; None where it is that
            of the field.

    Raises:
        PhaseError: If one of the phases has no landmarks.
        GeometryError: If no landmark is carried to a finite place.
    """
    here, there = landmarks.of(fixed).double(), landmarks.of(moving).double()
    grid = moving_grid or displacement.grid
    vectors = target_registration_vectors(displacement, here, there)
    snapped = target_registration_vectors(displacement, here, there, snap=grid)
    return LandmarkEvaluation(
        landmarks,
        fixed,
        moving,
        landmark_errors(vectors),
        landmark_errors(snapped),
        landmark_errors(here - there),
        landmarks.check(fixed, moving, grid),
        int((~displacement.grid.contains(here)).sum()),
        vectors,
        snapped,
    )


def landmark_errors(vectors: Points) -> LandmarkErrors:
    """Errors from their vectors, LPS mm, shape (n, 3).

    Raises:
        GeometryError: If there is none.
    """
    finite = vectors[vectors.isfinite().all(dim=1)]
    return LandmarkErrors(summarise(_lengths(finite)), *(float(v) for v in finite.abs().mean(dim=0)))


def landmark_rows(evaluations: Sequence[LandmarkEvaluation]) -> list[tuple[str | int | float, ...]]:
    """One row a landmark and evaluation, mm, LPS, to four decimals; columns are `TABLE_COLUMNS`."""
    rows: list[tuple[str | int | float, ...]] = []
    for e in evaluations:
        here, target = e.landmarks.of(e.fixed).double(), e.landmarks.of(e.moving).double()
        numbers = torch.cat(
            [
                here,
                target,
                target + e.vectors,
                *(_lengths(v)[:, None] for v in (here - target, e.vectors, e.snapped_vectors)),
            ],
            dim=1,
        )
        for number, values in enumerate(numbers.tolist(), start=1):
            rows.append((e.landmarks.convention, e.fixed, e.moving, number, *(round(v, 4) for v in values)))
    return rows


def sets_of_sequence(sequence: PhaseSequence, name: str) -> tuple[LandmarkSet, ...]:
    """The landmarks that came with a sequence as a set; none where there are none."""
    points: Mapping[str, Points] = {label: p.double() for label, p in sequence.landmarks.items() if len(p)}
    if not points:
        return ()
    return (LandmarkSet(name, "lps-mm", points, "mm, LPS"),)


def _lengths(vectors: Points) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return lengths
