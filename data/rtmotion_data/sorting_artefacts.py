"""Suspected sorting artefacts: slabs of a phase that were taken at another state of breathing than their neighbours.

4D CT is put together from slabs of a few slices (couch positions), each sorted by the breathing signal. Where the
signal was wrong, structures jump at the border of two slabs in one phase, at a place where its neighbours in the
cycle are smooth.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from rtmotion.grid import Grid
from rtmotion.sequence import PhaseSequence

HU_WINDOW = (-1000.0, 200.0)
"""Soft tissue against air is what jumps; bone and metal would outweigh it."""

REACH_MM = 10.0
"""So far the diaphragm may lie from one phase to the next: its own edge is no artefact within this."""

SEVERITY = 6.0
"""Jumps that stand out by fewer standard deviations are not reported."""

SHARE = 0.1
"""A reported jump exceeds by this share the largest that the neighbouring phases have nearby."""


@dataclass(frozen=True)
class Artefact:
    """A jump between two neighbouring slices of one phase.

    Attributes:
        label: The phase.
        position: Where along the slice axis the border lies, LPS mm (z for axial slices).
        severity: How far the jump stands out, in standard deviations of the phase's other slices.
    """

    label: str
    position: float
    severity: float

    def describe(self) -> str:
        """One line for the warnings of an inspection."""
        return (
            f"{self.label}: suspected sorting artefact at {self.position:.1f} mm along the slices "
            f"(jump of {self.severity:.0f} standard deviations)"
        )


def slice_jumps(sequence: PhaseSequence) -> npt.NDArray[np.float64]:
    """Mean absolute difference of neighbouring slices, HU in the window, shape (phases, slices - 1)."""
    low, high = HU_WINDOW
    jumps = []
    for volume in sequence.volumes:
        # slice by slice: no second copy of the volume is held
        clipped = (s.float().clamp(low, high) for s in volume.data)
        before = next(clipped)
        row = []
        for after in clipped:
            row.append(float(torch.mean(torch.abs(after - before))))
            before = after
        jumps.append(row)
    return np.array(jumps, dtype=float).reshape(len(sequence), -1)


def find_artefacts(sequence: PhaseSequence, severity: float = SEVERITY) -> tuple[Artefact, ...]:
    """Finds the slice borders where one phase jumps and its neighbours in the cycle do not.

    Each jump is compared with the largest one that the previous and the next phase have within `REACH_MM` (so that
    the diaphragm, which moves, is not taken for an artefact); what exceeds it is measured in robust standard
    deviations over the slices of all phases.

    Args:
        sequence: At least three phases; fewer give no neighbours to compare with, and nothing is reported.
        severity: Smallest number of standard deviations that is reported.

    Returns:
        In the order of phases, then of positions.
    """
    jumps = slice_jumps(sequence)
    if len(sequence) < 3 or jumps.shape[1] < 3:
        return ()
    reach = max(1, round(REACH_MM / sequence.grid.spacing[2]))
    padded = np.pad(jumps, ((0, 0), (reach, reach)), mode="edge")
    nearby = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=1).max(axis=-1)
    expected = np.maximum(np.roll(nearby, 1, axis=0), np.roll(nearby, -1, axis=0))
    typical = np.maximum(np.roll(jumps, 1, axis=0), np.roll(jumps, -1, axis=0))
    difference = jumps - typical
    spread = 1.4826 * float(np.median(np.abs(difference - np.median(difference)))) + 1e-6
    excess = (jumps - expected) / spread
    found = (excess >= severity) & (jumps > (1 + SHARE) * expected)
    return tuple(
        Artefact(sequence.phases[p].label, _position(sequence.grid, k), float(excess[p, k]))
        for p, k in zip(*np.nonzero(found), strict=True)
    )


def _position(grid: Grid, border: int) -> float:
    """The world coordinate, along the axis that the slices are stacked on, of the border behind slice `border`."""
    axis = int(np.argmax(np.abs(grid.direction_matrix[:, 2])))
    index = torch.tensor([[(grid.size[0] - 1) / 2, (grid.size[1] - 1) / 2, border + 0.5]], dtype=torch.float64)
    return float(grid.index_to_world(index)[0, axis])
