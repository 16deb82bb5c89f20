"""What a generative network is shown of a patient: the observed phases on one grid, and how far the others lie ahead.

The grid has isotropic voxels of 4 mm along the patient's axes. Every 2 × 2 × 2 of them are one cell with eight
channels, so that a network works at 8 mm without losing anything of the image.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from rtmotion.grid import Grid
from rtmotion.sequence import Phase, PhaseSequence
from rtmotion.types import ScalarVolume

SPACING_MM = 4.0
CELL_MM = 2 * SPACING_MM
CELL_CHANNELS = 8

MULTIPLE = 4
"""Volumes have so many cells along each axis, or a multiple of it: the networks halve the resolution twice."""

CENTRE_HU, HALF_RANGE_HU = -250.0, 750.0
"""HU from -1000 to 500 are -1 to 1; what lies outside is clipped."""

CHANGE_UNIT = 0.15
"""Standard deviation of the change where tissue moves, in the cells' unit: 110 HU."""

SLOTS = 10
"""Places on the clock: tenths of a cycle."""

CLOCK_CHANNELS = SLOTS * (CELL_CHANNELS + 1)


class Clip(NamedTuple):
    """The observed phases of a patient, and which phases are asked for.

    Attributes:
        cells: Observed phases in the order of time, -1 to 1, shape (k, 8, z, y, x).
        times: Theirs, in cycles after the last of them, so that this one has 0 and the others less; shape (k,).
        ahead: Times of the targets, in the order of time, more than 0; shape (m,).
    """

    cells: Tensor
    times: Tensor
    ahead: Tensor

    @property
    def last(self) -> Tensor:
        """The last observed phase, shape (8, z, y, x)."""
        return self.cells[-1]

    @property
    def grid(self) -> Grid:
        """A grid of the cells' spacing; nothing here depends on where it lies."""
        z, y, x = self.cells.shape[-3:]
        return Grid((x, y, z), (CELL_MM,) * 3)

    def to(self, device: torch.device) -> "Clip":
        """The same clip on another device."""
        return Clip(*(t.to(device) for t in self))


def image_grid(grid: Grid) -> Grid:
    """The grid of 4 mm over a volume, which its cells divide evenly."""
    return grid.along_patient_axes(SPACING_MM, multiple=2 * MULTIPLE)


def cell_grid(image: Grid) -> Grid:
    """The grid of the cells of an image grid."""
    x, y, z = image.size
    return image.resized((x // 2, y // 2, z // 2))


def to_cells(hu: Tensor) -> Tensor:
    """HU on an image grid, shape (*batch, z, y, x), as cells: -1 to 1, shape (*batch, 8, z/2, y/2, x/2)."""
    values = ((hu - CENTRE_HU) / HALF_RANGE_HU).clamp(-1, 1)
    *lead, z, y, x = values.shape
    split = values.reshape(-1, z // 2, 2, y // 2, 2, x // 2, 2).permute(0, 2, 4, 6, 1, 3, 5)
    return split.reshape(*lead, CELL_CHANNELS, z // 2, y // 2, x // 2)


def from_cells(cells: Tensor) -> Tensor:
    """The values of cells, shape (*batch, 8, z, y, x), on their image grid in HU from the centre, (*batch, 2z, 2y, 2x).

    Linear, without the centre's offset: a difference of cells becomes a difference in HU.
    """
    *lead, _, z, y, x = cells.shape
    joined = cells.reshape(-1, 2, 2, 2, z, y, x).permute(0, 4, 1, 5, 2, 6, 3)
    return joined.reshape(*lead, 2 * z, 2 * y, 2 * x) * HALF_RANGE_HU


def clock(clip: Clip, *, differences: bool) -> Tensor:
    """The observed phases on a clock of ten slots counted back from the last.

    A phase lies in the slot nearest to it; of two in one slot the later stays; empty slots are zero.

    Args:
        clip: The observed phases.
        differences: Whether slots hold how their phases differ from the last one, in units of `CHANGE_UNIT`, rather
            than the phases; the first slot holds the last phase in any case.

    Returns:
        Shape (90, z, y, x): eight channels a slot, then for each slot whether there is a phase in it.
    """
    slots = clip.cells.new_zeros(SLOTS, *clip.cells.shape[1:])
    filled = clip.cells.new_zeros(SLOTS, 1, *clip.cells.shape[2:])
    for cells, time in zip(clip.cells, clip.times.tolist(), strict=True):
        slot = min(round(-time * SLOTS), SLOTS - 1)
        slots[slot], filled[slot] = (cells - clip.last) / CHANGE_UNIT if differences else cells, 1.0
    slots[0] = clip.last
    return torch.cat([slots.flatten(0, 1), filled.flatten(0, 1)])


def slot_of(time: float) -> int:
    """The slot of a target that lies `time` cycles ahead, 1 to 9."""
    return min(max(round(time * SLOTS), 1), SLOTS - 1)


def clip_of(
    images: Sequence[ScalarVolume],
    observed: PhaseSequence,
    targets: Sequence[Phase],
) -> tuple[Clip, list[int]]:
    """The clip of observed phases, and the order in time of the targets.

    Args:
        images: The observed phases on the image grid, HU, shape (z, y, x) each.
        observed: The observed phases.
        targets: The phases wanted, in any order.

    Returns:
        The clip, and for each of its targets the index among `targets`.
    """
    last = observed.phases[-1].fraction
    times = torch.tensor([f - last for f in observed.fractions.tolist()])
    ahead = [(t.fraction - last) % 1.0 for t in targets]
    order = sorted(range(len(targets)), key=ahead.__getitem__)
    cells = to_cells(torch.stack(list(images)))
    return Clip(cells, times, torch.tensor([ahead[i] for i in order])), order


def tiled(function: Callable[[Tensor], Tensor], values: Tensor, tile: int) -> Tensor:
    """A network's answer for a volume of any size: in overlapping tiles, blended by Gaussian weights.

    A volume that is no larger than a tile is answered as a whole.

    Args:
        function: Takes (1, c, z, y, x) and returns (1, d, z, y, x).
        values: Shape (c, z, y, x).
        tile: Cells along each axis.

    Returns:
        Shape (d, z, y, x).
    """
    if max(values.shape[-3:]) <= tile:
        return function(values[None])[0]
    from monai.inferers.utils import sliding_window_inference

    size = [min(tile, n) for n in values.shape[-3:]]
    found: Tensor = sliding_window_inference(values[None], size, 1, function, overlap=0.5, mode="gaussian")
    return found[0]
