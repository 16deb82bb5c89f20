"""From volumes to the pictures that the tokenizer is shown, and back.

A picture is a slice of the volume across one of the patient's axes (the nearest axis of the volume), turned as the
patient is whatever the volume's direction, brought to the tokenizer's square by one scale for
both directions, so that a millimetre is as long across as it is along. It holds the body and a margin; what lies
outside is not shown. HU from -1000 to 600 are 0 to 1, the same in all three channels; what lies beyond is clipped.
"""

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from rtmotion.grid import Grid
from rtmotion.types import MaskVolume, ScalarVolume

LOW_HU, HIGH_HU = -1000.0, 600.0

TOWARDS = (2, 1, 0)
"""The patient's axes (of LPS) as pictures have them: slices, then rows, then columns, of an axial plane."""

PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}
"""The patient's axis (of LPS) that runs from slice to slice."""

MARGIN_MM = 16.0
"""Around the body."""


def to_unit(hu: Tensor) -> Tensor:
    """HU as 0 to 1, any shape."""
    return ((hu - LOW_HU) / (HIGH_HU - LOW_HU)).clamp(0, 1)


def to_hu(unit: Tensor) -> Tensor:
    """The HU of 0 to 1, any shape."""
    return LOW_HU + (HIGH_HU - LOW_HU) * unit


@dataclass(frozen=True)
class Framing:
    """Which part of a volume the pictures show, and how large.

    Attributes:
        order: The volume's axes (of z, y, x) from slice to slice, along rows and along columns.
        reverse: Which of these three run against the patient's axis.
        box: The part of the volume along z, y, x.
        shown: Rows and columns that the part takes of the picture, from its upper left corner.
        resolution: Rows and columns of a picture.
    """

    order: tuple[int, int, int]
    reverse: tuple[int, ...]
    box: tuple[slice, slice, slice]
    shown: tuple[int, int]
    resolution: int

    def pictures(self, hu: ScalarVolume) -> Tensor:
        """A volume's slices, shape (slices, 3, resolution, resolution), 0 to 1; beside the part it is air."""
        part = to_unit(hu[self.box].float()).permute(self.order).flip(self.reverse)[:, None]  # (slices, 1, h, w)
        part = F.interpolate(part, self.shown, mode="bilinear", antialias=True)
        rows, columns = (self.resolution - n for n in self.shown)
        return F.pad(part, (0, columns, 0, rows)).expand(-1, 3, -1, -1).clamp(0, 1)

    def values(self, pictures: Tensor) -> Tensor:
        """What pictures show, HU, on the part's voxels: the channels' mean, shape of the part (z, y, x)."""
        grey = pictures.float().mean(dim=1, keepdim=True)[..., : self.shown[0], : self.shown[1]]
        size = [self.box[axis].stop - self.box[axis].start for axis in self.order[1:]]
        # no antialiasing: a picture finer than the voxels is read at their centres, as it was made
        back = F.interpolate(grey, size, mode="bilinear")[:, 0]
        places = [self.order.index(axis) for axis in range(3)]
        return to_hu(back).flip(self.reverse).permute(places)

    @property
    def slices(self) -> int:
        """How many pictures show the part."""
        part = self.box[self.order[0]]
        return len(range(part.start, part.stop))


def framing(body: MaskVolume, grid: Grid, plane: str, resolution: int) -> Framing:
    """The frame around a body: a square of its larger extent, so that every voxel of it is shown.

    Args:
        body: The patient, shape (z, y, x); where it is empty the whole volume is shown.
        grid: Of the volume.
        plane: `axial`, `coronal` or `sagittal`.
        resolution: Of the pictures.
    """
    direction = np.abs(grid.direction_matrix)
    axes = {world: 2 - int(direction[world].argmax()) for world in TOWARDS}
    worlds = (PLANES[plane], *(w for w in TOWARDS if w != PLANES[plane]))
    order = (axes[worlds[0]], axes[worlds[1]], axes[worlds[2]])
    reverse = tuple(i for i, w in enumerate(worlds) if grid.direction_matrix[w][2 - axes[w]] < 0)
    spacing = grid.spacing[::-1]  # z, y, x
    box = []
    for i, (n, millimetres) in enumerate(zip(body.shape, spacing, strict=True)):
        there = body.any(dim=tuple(j for j in range(3) if j != i)).nonzero().flatten()
        margin = round(MARGIN_MM / millimetres)
        low, high = (int(there[0]) - margin, int(there[-1]) + 1 + margin) if len(there) else (0, n)
        box.append(slice(max(low, 0), min(high, n)))
    extents = [(s.stop - s.start) * mm for s, mm in zip(box, spacing, strict=True)]
    rows, columns = (extents[axis] for axis in order[1:])
    scale = resolution / max(rows, columns)
    shown = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    return Framing(order, reverse, (box[0], box[1], box[2]), shown, resolution)
