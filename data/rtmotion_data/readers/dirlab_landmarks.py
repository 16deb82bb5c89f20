"""DIR-Lab's landmarks: 300 in the extreme phases, 75 in six, as voxel indices.

Castillo et al., Phys Med Biol 2009, doi 10.1088/0031-9155/54/7/001, and 2010, doi 10.1088/0031-9155/55/1/018. One
`x y z` a line, 1-based voxel indices of the raw images, whose slices run from superior to inferior. The 300 (T00 and
T50) were chosen in T00; the 75 lie in T00 to T50, the exhaling half of the cycle.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import torch

from rtmotion.errors import ReadError
from rtmotion.grid import Grid
from rtmotion.landmarks import LandmarkSet
from rtmotion.types import Points
from rtmotion_data.readers.point_files import read_point_file, same_count

IDENTITY_MM: Mapping[int, float] = {
    1: 3.89,
    2: 4.34,
    3: 6.94,
    4: 9.83,
    5: 7.48,
    6: 10.89,
    7: 11.03,
    8: 14.99,
    9: 7.92,
    10: 7.30,
}
"""Published mean distance of the 300 landmarks in T00 and T50 before registration, mm, by case number."""

EXTREME = 300
BREATH = ("T00", "T50")
"""End-inhale and end-exhale."""

SOURCE_UNITS = "voxel indices from 1 (x y z) of the images in their stored order"

_POINTS = re.compile(r"(?<![A-Za-z0-9])T(\d{2})(?!\d)", re.I)
_CASE = re.compile(r"case[\s_-]?(\d{1,2})(?!\d)", re.I)


def case_number(name: str) -> int | None:
    """The case's number in a file name.

    >>> case_number("case8_T00-ssm.img")
    8
    """
    match = _CASE.search(name)
    return int(match[1]) if match else None


def files_below(root: Path, ending: str) -> Iterator[Path]:
    """Files with an ending (upper case as well) in a folder and up to three levels below, sorted."""
    patterns = ("*", "*/*", "*/*/*", "*/*/*/*")
    return iter(sorted(f for p in patterns for f in root.glob(p) if f.suffix.lower() == f".{ending}" and f.is_file()))


def dirlab_landmark_sets(
    folder: Path,
    grid: Grid,
    labels: Collection[str],
    case: int | None = None,
    identity_mm: Mapping[int, float] = IDENTITY_MM,
) -> tuple[LandmarkSet, ...]:
    """The sets of landmarks in a folder and up to three levels below, the largest first; one phase is no set.

    Args:
        folder: Where the text files are.
        grid: The grid of the images.
        labels: The phases that the images have; files of others are left alone.
        case: Number of the case; files that name another one are left alone. None takes it from the files.
        identity_mm: Published identity error by case number.

    Raises:
        ReadError: If a file is malformed, names a voxel outside the images, or has more or fewer points than the
            others of its set.
    """
    families: dict[tuple[Path, str], dict[str, Path]] = {}
    for file in files_below(folder, "txt"):
        phase, number = _POINTS.search(file.name), case_number(file.name)
        if phase is None or f"T{phase[1]}" not in labels or (case is not None and number not in (None, case)):
            continue
        pattern = (file.parent, file.name[: phase.start()] + file.name[phase.end() :])
        families.setdefault(pattern, {})[f"T{phase[1]}"] = file
    sets: dict[int, LandmarkSet] = {}
    for files in families.values():
        found = _read_set(files, grid, case, identity_mm)
        if len(files) > 1:
            sets.setdefault(found.count, found)
    return tuple(sets[count] for count in sorted(sets, reverse=True))


def _read_set(files: Mapping[str, Path], grid: Grid, case: int | None, identity_mm: Mapping[int, float]) -> LandmarkSet:
    stored = {file: _read_indices(file, grid) for file in files.values()}
    same_count(stored)
    points = {label: grid.index_to_world(stored[file] - 1) for label, file in files.items()}
    count = len(next(iter(points.values())))
    number = case if case is not None else case_number(next(iter(files.values())).name)
    distance = identity_mm.get(number) if number is not None and count == EXTREME else None
    return LandmarkSet(
        f"DIR-Lab{'' if number is None else f' case {number}'}, {count} landmarks",
        f"dirlab-{count}",
        points,
        SOURCE_UNITS,
        reference=BREATH[0],
        published={} if distance is None else {BREATH: distance},
        breath=BREATH,
    )


def _read_indices(file: Path, grid: Grid) -> Points:
    """1-based voxel indices, float64, shape (n, 3)."""
    indices, lines = read_point_file(file)
    outside = ((indices < 0.5) | (indices > torch.tensor(grid.size) + 0.5)).any(dim=1)
    if bool(outside.any()):
        first = int(outside.int().argmax())
        listed = " ".join(f"{v:g}" for v in indices[first].tolist())
        size = " × ".join(str(n) for n in grid.size)
        raise ReadError(
            f"{file}, line {lines[first]}: {listed} lies outside the {size} voxels of the images: another case's file, "
            "columns that are not x y z, or mm instead of voxels"
        )
    return indices
