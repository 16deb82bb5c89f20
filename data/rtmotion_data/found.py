"""What a reader found at a path, before any voxel is read: `inspect --json` prints it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtmotion.grid import Grid
from rtmotion.landmarks import LandmarkSet

SCHEMA = "rtmotion.inspect/1"


@dataclass(frozen=True)
class FoundPhase:
    """A phase that was found, and what says that it is one.

    Attributes:
        label: T00 ... T99.
        fraction: Fraction of the vendor's cycle, 0 <= fraction < 1.
        evidence: What says so, in words, with the text or tag itself (never patient data).
        confidence: 0 to 1.
        files: The files that hold it, in slice order; one entry where all phases share one file.
        frames: Number (from 0) of each slice's frame in its file, in slice order, where DICOM files hold several
            frames; empty otherwise.
    """

    label: str
    fraction: float
    evidence: str
    confidence: float
    files: tuple[Path, ...]
    frames: tuple[int, ...] = ()


@dataclass(frozen=True)
class FoundSequence:
    """A phase sequence that was found: all that is known of it without its voxels.

    Attributes:
        format: `dicom`, `nifti`, `nrrd`, `metaimage`, `dirlab` or `phantom`.
        grid: The common grid of its phases.
        phases: In the order of their fractions.
        warnings: What the user should know: missing phases, irregular slices, disagreeing evidence.
        name: A name for the case that holds no patient data (folder or file name, or study number).
        landmarks: The published sets of landmarks beside the images (DIR-Lab's).
    """

    format: str
    grid: Grid
    phases: tuple[FoundPhase, ...]
    warnings: tuple[str, ...] = ()
    name: str = "case"
    landmarks: tuple[LandmarkSet, ...] = field(default=(), compare=False)

    def to_json(self, *, folders: bool = True) -> dict[str, Any]:
        """The entry of `sequences` in `inspect --json` and of `input` in forecast.json.

        Args:
            folders: Whether files are named with their folders. What is written to disk goes without: a folder may
                be named after a patient.
        """
        return {
            "name": self.name,
            "format": self.format,
            "grid": grid_to_json(self.grid),
            "phases": [
                {
                    "label": p.label,
                    "fraction": p.fraction,
                    "evidence": p.evidence,
                    "confidence": p.confidence,
                    "files": [str(f) if folders else f.name for f in p.files],
                }
                for p in self.phases
            ],
            "warnings": list(self.warnings),
            **({"landmarks": [s.to_json() for s in self.landmarks]} if self.landmarks else {}),
        }


@dataclass(frozen=True)
class SetAside:
    """Something at the path that is no phase, and why."""

    description: str
    reason: str


@dataclass(frozen=True)
class Inspection:
    """Everything that was found at a path."""

    sequences: tuple[FoundSequence, ...]
    set_aside: tuple[SetAside, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What `rtmotion inspect --json` prints."""
        return {
            "schema": SCHEMA,
            "sequences": [s.to_json() for s in self.sequences],
            "set_aside": [{"description": a.description, "reason": a.reason} for a in self.set_aside],
        }


def grid_to_json(grid: Grid) -> dict[str, Any]:
    """Size, spacing (mm), origin (LPS mm) and direction (row by row) of a grid."""
    return {
        "size": list(grid.size),
        "spacing": list(grid.spacing),
        "origin": list(grid.origin),
        "direction": list(grid.direction),
    }
