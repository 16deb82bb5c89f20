"""The sets of landmarks at a path, whatever their format: DIR-Lab, POPI, landmarks.csv."""

import warnings
from pathlib import Path

from rtmotion.errors import ReadError, ReadWarning
from rtmotion.landmarks import LandmarkSet
from rtmotion_data.found import FoundSequence
from rtmotion_data.readers.dirlab_landmarks import case_number, dirlab_landmark_sets
from rtmotion_data.readers.landmarks import read_landmarks
from rtmotion_data.readers.popi_landmarks import popi_landmark_sets

CSV = "landmarks.csv"


def read_landmark_sets(path: Path, found: FoundSequence) -> tuple[LandmarkSet, ...]:
    """Reads the landmarks of a case.

    Args:
        path: `landmarks.csv` (id, phase, x, y, z in LPS mm); a folder with it, with DIR-Lab's text files
            (`*_T00_*.txt`) or with POPI's (`NN-Landmarks.pts`, `NN.pts`); or one of those files, which stands for all
            beside it.
        found: The case: its grid and phases.

    Returns:
        At least one set, each with two phases or more.

    Raises:
        ReadError: If there is none, or one is malformed; the message names file and line.

    Warns:
        ReadWarning: If the distance of the landmarks is not that published.
    """
    if not path.exists():
        raise ReadError(f"{path} does not exist: check the path of the landmarks")
    sets = _read(path, found, [p.label for p in found.phases])
    for landmarks in sets:
        for check in landmarks.checks(found.grid):
            if not check.agrees:
                warnings.warn(f"{landmarks.name}: {check.describe()}", ReadWarning, stacklevel=2)
    return sets


def _read(path: Path, found: FoundSequence, labels: list[str]) -> tuple[LandmarkSet, ...]:
    table = path if path.is_file() and path.suffix.lower() == ".csv" else path / CSV
    if table.is_file():
        points = read_landmarks(table, labels)
        if len(points) < 2 or not all(len(p) for p in points.values()):
            there = ", ".join(points) or "none"
            raise ReadError(f"{table}: the same landmarks in two of {', '.join(labels)} are needed, it has {there}")
        count = len(next(iter(points.values())))
        return (LandmarkSet(f"{table.name}, {count} landmarks", "lps-mm", points, "mm, LPS"),)
    folder = path.parent if path.is_file() else path
    sets = popi_landmark_sets(folder, found.grid, labels, dicom=found.format == "dicom")
    sets = sets or dirlab_landmark_sets(folder, found.grid, labels, case_number(found.name))
    if not sets:
        raise ReadError(
            f"{path}: no landmarks of two phases of {', '.join(labels)}: {CSV}, DIR-Lab's *_T00_*.txt or POPI's "
            "NN-Landmarks.pts or NN.pts were expected"
        )
    return sets
