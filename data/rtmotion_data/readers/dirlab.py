"""DIR-Lab 4D CT: raw int16 images without a header, and landmarks as voxel indices.

Castillo et al., Phys Med Biol 2009, doi 10.1088/0031-9155/54/7/001. The conventions: x runs to the patient's left, y
to posterior, z (the slices) from superior to inferior; so the grid's third axis points to -z of LPS, and no voxel is
flipped. Landmarks are 1-based voxel indices (x, y, z). The sets give no origin: the first voxel lies at 0.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rtmotion.errors import PhaseError, ReadError, ReadWarning
from rtmotion.grid import Grid
from rtmotion.interop import tensor_from_array
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion.types import Points
from rtmotion_data.found import FoundPhase, FoundSequence, Inspection, SetAside
from rtmotion_data.readers.file_names import missing_phases
from rtmotion_data.readers.hounsfield import PADDING, is_stored_with_offset, remove_offset

SUPERIOR_TO_INFERIOR = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
"""Direction of the grid, row by row: slices run down the patient."""

SELF_CHECK_MM = 0.1
"""An identity TRE farther than this from the published one: wrong landmarks, spacing or axis order."""

_IMAGE = re.compile(r"case[\s_-]?(\d{1,2})[\s_-]*(?:deploy)?[\s_-]*T(\d{2})(?!\d).*\.img$", re.I)
_POINTS = re.compile(r"T(\d{2})(?!\d).*\.txt$", re.I)
_CASE = re.compile(r"case[\s_-]?(\d{1,2})(?!\d)", re.I)


@dataclass(frozen=True)
class DirlabCase:
    """What the files of a case do not say.

    Attributes:
        size: Voxels along x, y, z.
        spacing: mm along x, y, z.
        identity_tre: Published mean distance of the 300 landmarks in T00 and T50 before registration, mm; None where
            there is none.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    identity_tre: float | None = None


CASES: Mapping[int, DirlabCase] = {
    1: DirlabCase((256, 256, 94), (0.97, 0.97, 2.5), 3.89),
    2: DirlabCase((256, 256, 112), (1.16, 1.16, 2.5), 4.34),
    3: DirlabCase((256, 256, 104), (1.15, 1.15, 2.5), 6.94),
    4: DirlabCase((256, 256, 99), (1.13, 1.13, 2.5), 9.83),
    5: DirlabCase((256, 256, 106), (1.10, 1.10, 2.5), 7.48),
    6: DirlabCase((512, 512, 128), (0.97, 0.97, 2.5), 10.89),
    7: DirlabCase((512, 512, 136), (0.97, 0.97, 2.5), 11.03),
    8: DirlabCase((512, 512, 128), (0.97, 0.97, 2.5), 14.99),
    9: DirlabCase((512, 512, 128), (0.97, 0.97, 2.5), 7.92),
    10: DirlabCase((512, 512, 120), (0.97, 0.97, 2.5), 7.30),
}
"""The ten cases of the 4D CT set."""


def inspect_dirlab(root: Path, cases: Mapping[int, DirlabCase] = CASES) -> Inspection | None:
    """The DIR-Lab cases at a folder, up to three levels deep; None if no file is named like their images.

    Args:
        root: A case folder (`Case1Pack`, `Case8Deploy`), its `Images`, or a folder of cases.
        cases: Geometry by case number.

    Raises:
        ReadError: If an image has another size than its case, or there is no such case.
        PhaseError: If two images claim the same phase.
    """
    by_case: dict[int, dict[int, Path]] = {}
    for file in _files(root, "img"):
        if match := _IMAGE.search(file.name):
            case, percent = int(match[1]), int(match[2])
            other = by_case.setdefault(case, {}).setdefault(percent, file)
            if other != file:
                raise PhaseError(f"two images for T{percent:02d} of case {case}: {other} and {file}; remove one")
    if not by_case:
        return None
    sequences, aside = [], []
    for case, images in sorted(by_case.items()):
        if len(images) < 2:
            aside.append(SetAside(f"DIR-Lab case {case}", "only one phase is there"))
        else:
            sequences.append(_found(case, dict(sorted(images.items())), _geometry(case, cases, root)))
    return Inspection(tuple(sequences), tuple(aside))


def _files(root: Path, ending: str) -> Iterator[Path]:
    """Files with an ending (upper case as well) in a folder and up to three levels below."""
    patterns = ("*", "*/*", "*/*/*", "*/*/*/*")
    return iter(sorted(f for p in patterns for f in root.glob(p) if f.suffix.lower() == f".{ending}" and f.is_file()))


def _geometry(case: int, cases: Mapping[int, DirlabCase], where: Path) -> DirlabCase:
    if case not in cases:
        raise ReadError(f"{where}: DIR-Lab has no case {case}; there are {', '.join(str(c) for c in sorted(cases))}")
    return cases[case]


def _found(case: int, images: Mapping[int, Path], geometry: DirlabCase) -> FoundSequence:
    x, y, z = geometry.size
    for file in images.values():
        actual = file.stat().st_size
        if actual != 2 * x * y * z:
            raise ReadError(
                f"{file}: DIR-Lab case {case} has {x}×{y}×{z} voxels of 2 bytes, {2 * x * y * z} bytes; this file has "
                f"{actual}: wrong case number in the name, or cut off"
            )
    phases = tuple(
        FoundPhase(f"T{percent:02d}", percent / 100, f"T{percent:02d} in the file name", 1.0, (file,))
        for percent, file in images.items()
    )
    gap = missing_phases([p.fraction for p in phases])
    grid = Grid(geometry.size, geometry.spacing, (0.0, 0.0, 0.0), SUPERIOR_TO_INFERIOR)
    return FoundSequence("dirlab", grid, phases, (gap,) if gap else (), f"dirlab case {case}")


def read_dirlab(found: FoundSequence, points: int = 300, cases: Mapping[int, DirlabCase] = CASES) -> PhaseSequence:
    """The volumes of a case in HU, with its landmarks in LPS mm.

    Stored values are HU + 1024 where the air in the images says so; values outside the field of view become -1024 HU.

    Args:
        found: What `inspect_dirlab` found.
        points: 300 takes the landmarks of T00 and T50, 75 those of T00 to T50; where the set wanted is not there, the
            other is taken.
        cases: As for `inspect_dirlab`.

    Raises:
        ReadError: If an image or a landmark file is damaged.

    Warns:
        ReadWarning: Which offset was found, and if the landmarks of a known case do not have the published distance.
    """
    images = [phase.files[0] for phase in found.phases]
    volumes: list[torch.Tensor] = []
    shifted = False
    for file in images:
        stored = _read_image(file, found.grid)
        shifted = is_stored_with_offset(stored) if not volumes else shifted  # the first phase decides for all
        volumes.append(remove_offset(stored) if shifted else torch.where(stored > PADDING, stored, -1024).short())
    if shifted:
        _warn(f"{found.name}: the values are stored as HU + 1024 (air near 0): shifted by -1024")
    sequence = PhaseSequence(
        tuple(Phase(p.fraction, p.label) for p in found.phases),
        tuple(Volume(v, found.grid) for v in volumes),
        _landmarks(found, points),
    )
    match = _CASE.search(images[0].name)
    published = cases[int(match[1])].identity_tre if match and int(match[1]) in cases else None
    if published is not None and all(len(sequence.landmarks.get(t, ())) == 300 for t in ("T00", "T50")):
        measured = identity_tre(sequence, "T00", "T50")
        if abs(measured - published) > SELF_CHECK_MM:
            _warn(
                f"{found.name}: its landmarks lie {measured:.2f} mm apart in T00 and T50, published are "
                f"{published:.2f} mm: wrong landmark files, or another case's"
            )
    return sequence


def identity_tre(sequence: PhaseSequence, first: str, second: str) -> float:
    """The mean distance of the landmarks of two phases, mm: the registration error of doing nothing.

    Raises:
        PhaseError: If one of the phases has no landmarks.
    """
    for label in (first, second):
        if label not in sequence.landmarks:
            raise PhaseError(f"phase {label} has no landmarks; those with: {', '.join(sequence.landmarks) or 'none'}")
    difference = sequence.landmarks[first] - sequence.landmarks[second]
    return float(torch.linalg.vector_norm(difference, dim=1).mean())


def _warn(message: str) -> None:
    warnings.warn(message, ReadWarning, stacklevel=3)


def _read_image(file: Path, grid: Grid) -> torch.Tensor:
    """An image as stored: little-endian int16, x fastest."""
    values = np.fromfile(file, dtype="<i2")
    if values.size != grid.voxels:
        raise ReadError(
            f"{file}: {2 * grid.voxels} bytes were expected, this file has {2 * values.size}: copy it again"
        )
    return tensor_from_array(values.reshape(grid.shape))


def _landmarks(found: FoundSequence, points: int) -> dict[str, Points]:
    """The landmarks of a case: all phases that have as many points as are wanted."""
    images = found.phases[0].files[0]
    match = _CASE.search(images.name)
    number = int(match[1]) if match else None
    # beside the images, or in the folders beside that of the images
    around = images.parent if images.parent.name.lower() != "images" else images.parent.parent
    labels = {p.label for p in found.phases}
    sets: dict[int, dict[str, Points]] = {}
    for file in _files(around, "txt"):
        phase, case = _POINTS.search(file.name), _CASE.search(file.name)
        if phase and (case is None or int(case[1]) == number) and f"T{phase[1]}" in labels:
            read = _read_points(file, found.grid)
            sets.setdefault(len(read), {})[f"T{phase[1]}"] = read
    complete = {count: by for count, by in sets.items() if len(by) > 1}
    if not complete:
        return {}
    return complete[points] if points in complete else complete[max(complete)]


def _read_points(file: Path, grid: Grid) -> Points:
    """1-based voxel indices as world points, LPS mm, float64, shape (n, 3)."""
    try:
        rows = [[float(n) for n in line.split()] for line in file.read_text().splitlines() if line.strip()]
    except (OSError, ValueError):
        raise ReadError(f"{file}: lines of three numbers x y z were expected; copy the file again") from None
    if not rows or any(len(r) != 3 for r in rows):
        raise ReadError(f"{file}: lines of three numbers x y z were expected; copy the file again")
    return grid.index_to_world(torch.tensor(rows, dtype=torch.float64) - 1)
