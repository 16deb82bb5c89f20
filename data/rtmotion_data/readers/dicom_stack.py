"""Slices into stacks: their order along the normal, their grid, and what is wrong with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from rtmotion.errors import GeometryError
from rtmotion.grid import Grid
from rtmotion.interop import grid_from_dicom
from rtmotion_data.readers.dicom_headers import Slice

SAME_PLACE = 0.02
"""mm: slices nearer than this lie at the same place (positions are written with two or three decimals)."""

UNEVEN = 0.11
"""mm: distances of neighbouring slices may differ by this, or by 2 % of them: some write positions with one decimal."""

SIDEWAYS = 0.5
"""mm: slices may lie so far beside the line from the first to the last."""

PlaneKey = tuple[int, int, tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Stack:
    """The slices of one volume.

    Attributes:
        slices: In the order of their positions along the normal of the image plane; never by instance number.
        grid: The grid that the slices fill, or would fill were none missing.
        faults: Why the volume cannot be read without making something up; empty for a sound one.
    """

    slices: tuple[Slice, ...]
    grid: Grid
    faults: tuple[str, ...] = ()


def plane_key(image: Slice) -> PlaneKey:
    """What slices of one volume have in common: rows, columns, pixel spacing and orientation, rounded."""
    spacing = tuple(round(s, 4) for s in image.pixel_spacing or ())
    # rounding errors of the cosines are no other orientation; adding zero turns -0.0 into 0.0
    orientation = tuple(round(c, 3) + 0.0 for c in image.orientation or ())
    return (image.rows, image.columns, spacing, orientation)


def along_normal(slices: Sequence[Slice]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The position of each slice along the common normal, mm, shape (n,), and the normal, LPS, shape (3,)."""
    cosines = np.asarray(slices[0].orientation, dtype=float)
    normal = np.cross(cosines[:3], cosines[3:6])
    length = float(np.linalg.norm(normal))
    if not 0.9 < length < 1.1:
        raise GeometryError(f"{slices[0].path}: ImageOrientationPatient {cosines.tolist()} is no pair of directions")
    positions = np.array([s.position for s in slices], dtype=float)
    return positions @ (normal / length), normal / length


def place_numbers(along: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The number of the place, from 0, that each slice lies at: equal for slices at the same place. Shape (n,)."""
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order]) > SAME_PLACE
    numbers = np.empty(len(along), dtype=np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum(steps)])
    return numbers


def stack_slices(slices: Sequence[Slice]) -> Stack:
    """Sorts the slices of one volume and checks that they lie evenly.

    Args:
        slices: At least two, of one plane key.

    Raises:
        GeometryError: If there are fewer than two places, or the slices are stacked off their normal (tilted gantry).
    """
    along, normal = along_normal(slices)
    order = np.argsort(along, kind="stable")
    along = along[order]
    ordered = tuple(slices[i] for i in order)
    places = place_numbers(along)
    count = int(places[-1]) + 1
    if count < 2:
        raise GeometryError(f"{ordered[0].path.name}: a single slice is no volume")
    first = np.array([along[places == p][0] for p in range(count)])
    step = float(np.median(np.diff(first)))
    allowed = max(UNEVEN, 0.02 * step)
    slots = np.rint((first - first[0]) / step)
    faults = _duplicates(ordered, places, normal) + _distances(ordered, places, first, step, allowed, normal)
    evenly = round(float(first[-1] - first[0]) / step) + 1 if step > 0 else count
    size = (ordered[0].columns, ordered[0].rows, max(evenly, int(slots[-1]) + 1, 2))
    grid = grid_from_dicom(
        ordered[0].orientation or (), _pair(ordered[0]), _point(ordered[0]), _point(ordered[-1]), size
    )
    faults += _sideways(ordered)
    return Stack(ordered, grid, tuple(faults))


def _pair(image: Slice) -> tuple[float, float]:
    spacing = image.pixel_spacing or ()
    if len(spacing) != 2 or min(spacing) <= 0:
        raise GeometryError(f"{image.path.name}: PixelSpacing {list(spacing)} is not two positive distances")
    return (spacing[0], spacing[1])


def _point(image: Slice) -> tuple[float, float, float]:
    position = image.position or ()
    if len(position) != 3:
        raise GeometryError(f"{image.path.name}: ImagePositionPatient {list(position)} is not three coordinates")
    return (position[0], position[1], position[2])


def describe_place(image: Slice, normal: npt.NDArray[np.float64]) -> str:
    """Where a slice lies, in the coordinate that its normal runs along: `z = -12.5 mm`."""
    axis = int(np.argmax(np.abs(normal)))
    return f"{'xyz'[axis]} = {(image.position or (0, 0, 0))[axis]:g} mm"


def _duplicates(slices: Sequence[Slice], places: npt.NDArray[np.int64], normal: npt.NDArray[np.float64]) -> list[str]:
    found = [(a, b) for (a, p), (b, q) in pairwise(zip(slices, places, strict=True)) if p == q]
    if not found:
        return []
    a, b = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return [f"two slices at {describe_place(a, normal)}: {a.path.name} and {b.path.name}{more}"]


def _distances(
    slices: Sequence[Slice],
    places: npt.NDArray[np.int64],
    first: npt.NDArray[np.float64],
    step: float,
    allowed: float,
    normal: npt.NDArray[np.float64],
) -> list[str]:
    """Gaps (whole slices missing) and other uneven distances, each with the files on either side."""
    faults = []
    index = {int(p): i for i, p in reversed(list(enumerate(places)))}
    distances = np.diff(first)
    for p, distance in enumerate(distances):
        missing = round(float(distance) / step) - 1
        if missing < 1 or abs(distance - (missing + 1) * step) > allowed * (missing + 1):
            continue
        before, after = slices[index[p]], slices[index[p + 1]]
        faults.append(
            f"{missing} slice{'s' if missing > 1 else ''} missing between {describe_place(before, normal)} "
            f"({before.path.name}) and {describe_place(after, normal)} ({after.path.name})"
        )
    ratios = np.maximum(np.rint(distances / step), 1)
    uneven = np.abs(distances - ratios * step) > allowed * ratios
    even = np.linspace(first[0], first[-1], len(first)) if not faults else first
    drift = np.abs(first - even) > 2 * allowed
    if uneven.any() or drift.any():
        p = int(np.argmax(uneven if uneven.any() else drift[1:]))
        faults.append(
            f"uneven slice distances: {distances.min():.3f} to {distances.max():.3f} mm, "
            f"first at {describe_place(slices[index[p]], normal)} ({slices[index[p]].path.name})"
        )
    return faults


def _sideways(slices: Sequence[Slice]) -> list[str]:
    positions = np.array([s.position for s in slices], dtype=float)
    line = positions[-1] - positions[0]
    line /= np.linalg.norm(line)
    off = positions - positions[0]
    beside = np.linalg.norm(off - np.outer(off @ line, line), axis=1)
    worst = int(np.argmax(beside))
    if beside[worst] <= SIDEWAYS:
        return []
    return [f"{slices[worst].path.name} lies {beside[worst]:.1f} mm beside the line of the other slices"]
