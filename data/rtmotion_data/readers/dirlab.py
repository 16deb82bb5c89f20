"""DIR-Lab 4D CT: raw int16 images without a header, and landmarks as voxel indices.

Castillo et al., Phys Med Biol 2009, doi 10.1088/0031-9155/54/7/001. The conventions: x runs to the patient's left, y
to posterior, z (the slices) from superior to inferior; so the grid's third axis points to -z of LPS, and no voxel is
flipped. The sets give no origin: the first voxel lies at 0. The landmarks are read in `dirlab_landmarks`.
"""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from rtmotion.errors import PhaseError, ReadError, ReadWarning
from rtmotion.grid import Grid
from rtmotion.interop import tensor_from_array
from rtmotion.landmarks import LandmarkSet
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion_data.found import FoundPhase, FoundSequence, Inspection, SetAside
from rtmotion_data.readers.dirlab_landmarks import EXTREME, IDENTITY_MM, case_number, dirlab_landmark_sets, files_below
from rtmotion_data.readers.file_names import missing_phases
from rtmotion_data.readers.hounsfield import PADDING, is_stored_with_offset, remove_offset

SUPERIOR_TO_INFERIOR = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
"""Direction of the grid, row by row: slices run down the patient."""

_IMAGE = re.compile(r"case[\s_-]?(\d{1,2})[\s_-]*(?:deploy)?[\s_-]*T(\d{2})(?!\d).*\.img$", re.I)


@dataclass(frozen=True)
class DirlabCase:
    """What the files of a case do not say.

    Attributes:
        size: Voxels along x, y, z.
        spacing: mm along x, y, z.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]


CASES: Mapping[int, DirlabCase] = {
    1: DirlabCase((256, 256, 94), (0.97, 0.97, 2.5)),
    2: DirlabCase((256, 256, 112), (1.16, 1.16, 2.5)),
    3: DirlabCase((256, 256, 104), (1.15, 1.15, 2.5)),
    4: DirlabCase((256, 256, 99), (1.13, 1.13, 2.5)),
    5: DirlabCase((256, 256, 106), (1.10, 1.10, 2.5)),
    6: DirlabCase((512, 512, 128), (0.97, 0.97, 2.5)),
    7: DirlabCase((512, 512, 136), (0.97, 0.97, 2.5)),
    8: DirlabCase((512, 512, 128), (0.97, 0.97, 2.5)),
    9: DirlabCase((512, 512, 128), (0.97, 0.97, 2.5)),
    10: DirlabCase((512, 512, 120), (0.97, 0.97, 2.5)),
}
"""The ten cases of the 4D CT set."""


def inspect_dirlab(
    root: Path, cases: Mapping[int, DirlabCase] = CASES, identity_mm: Mapping[int, float] = IDENTITY_MM
) -> Inspection | None:
    """The DIR-Lab cases at a folder, up to three levels deep; None if no file is named like their images.

    Args:
        root: A case folder (`Case1Pack`, `Case8Deploy`), its `Images`, or a folder of cases.
        cases: Geometry by case number.
        identity_mm: Published distance of the 300 landmarks in T00 and T50 by case number.

    Raises:
        ReadError: If an image has another size than its case, or there is no such case.
        PhaseError: If two images claim the same phase.
    """
    by_case: dict[int, dict[int, Path]] = {}
    for file in files_below(root, "img"):
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
            sequences.append(_found(case, dict(sorted(images.items())), _geometry(case, cases, root), identity_mm))
    return Inspection(tuple(sequences), tuple(aside))


def _geometry(case: int, cases: Mapping[int, DirlabCase], where: Path) -> DirlabCase:
    if case not in cases:
        raise ReadError(f"{where}: DIR-Lab has no case {case}; there are {', '.join(str(c) for c in sorted(cases))}")
    return cases[case]


def _found(
    case: int, images: Mapping[int, Path], geometry: DirlabCase, identity_mm: Mapping[int, float]
) -> FoundSequence:
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
    found = FoundSequence("dirlab", grid, phases, (gap,) if gap else (), f"dirlab case {case}")
    try:
        sets = _landmark_sets(found, identity_mm)
    except ReadError as error:
        return replace(found, warnings=(*found.warnings, str(error)))
    return replace(found, landmarks=sets, warnings=(*found.warnings, *_disagreements(sets, grid)))


def _landmark_sets(found: FoundSequence, identity_mm: Mapping[int, float]) -> tuple[LandmarkSet, ...]:
    """The sets beside the images, or in the folders beside that of the images."""
    image = found.phases[0].files[0]
    around = image.parent if image.parent.name.lower() != "images" else image.parent.parent
    labels = {p.label for p in found.phases}
    return dirlab_landmark_sets(around, found.grid, labels, case_number(image.name), identity_mm)


def _disagreements(sets: tuple[LandmarkSet, ...], grid: Grid) -> tuple[str, ...]:
    """What the landmarks say against what is published of them."""
    return tuple(f"{s.name}: {check.describe()}" for s in sets for check in s.checks(grid) if not check.agrees)


def read_dirlab(found: FoundSequence, points: int = EXTREME) -> PhaseSequence:
    """The volumes of a case in HU, with its landmarks in LPS mm.

    Stored values are HU + 1024 where the air in the images says so; values outside the field of view become -1024 HU.

    Args:
        found: What `inspect_dirlab` found.
        points: 300 takes the landmarks of T00 and T50, 75 those of T00 to T50; where the set wanted is not there, the
            largest is taken.

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
    # an inspection that found none met none or a damaged file, which is refused now
    sets = found.landmarks or _landmark_sets(found, {})
    chosen = next((s for s in sets if s.count == points), next(iter(sets), None))
    for disagreement in _disagreements(sets, found.grid):
        _warn(disagreement)
    return PhaseSequence(
        tuple(Phase(p.fraction, p.label) for p in found.phases),
        tuple(Volume(v, found.grid) for v in volumes),
        {} if chosen is None else dict(chosen.points),
    )


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
