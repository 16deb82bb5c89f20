"""Which three slices of a case are shown where there is room for one a view: the same for every method and k."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmotion.evaluation.regions import body_mask
from rtmotion.grid import Grid
from rtmotion.report.orientation import Orientation
from rtmotion.report.slices import VIEWS, body_box
from rtmotion.sequence import PhaseSequence, Volume

Array = npt.NDArray[Any]
Box = tuple[slice, slice, slice]

COARSE_MM = 5.0
"""Every so many mm a voxel is looked at: what the body and its motion are is seen from these."""

TARGETS = ("tumour", "tumor", "gtv", "ctv", "itv", "ptv")
"""A structure whose name holds one of these is what the treatment is for; the first that is found is taken."""

LARGEST_CHANGE_HU = 600.0
"""Changes above this are edges of bone and air: one voxel of them counts no more than soft tissue against lung."""


def choose_planes(sequences: Sequence[PhaseSequence], orientation: Orientation) -> tuple[Box, dict[str, int], str]:
    """The box around the body, one slice of each view, and why these.

    The slices go through the tumour where there is a mask of one, else where the images change most over the cycle.

    Args:
        sequences: The observed phases and, where they are known, the true ones: together the whole cycle, so that
            every k has the same slices.
        orientation: Of their grid.

    Returns:
        The box [s, p, l] of the upright volume; the index of the slice of each view in that box; a text for the page.
    """
    first = sequences[0].volumes[0]
    steps = _steps(first.grid)
    thin = [_thinned(v, steps) for s in sequences for v in s.volumes]
    body = body_mask(thin[0]).numpy()
    box = body_box(orientation.upright(_thickened(body, steps, first.grid.shape)), orientation)
    target = _target(sequences)
    if target is not None:
        name, mask = target
        # over a mask that a crop cuts, the box still holds its part
        centre = [float(a.mean()) for a in np.nonzero(orientation.upright(mask))]
        at = [int(np.clip(round(c), b.start, b.stop - 1)) - b.start for c, b in zip(centre, box, strict=True)]
        return box, {v.name: at[2 - v.normal] for v in VIEWS}, f"through the centre of {name}"
    change = np.ptp(np.stack([np.asarray(v.data) for v in thin]), axis=0).clip(0, LARGEST_CHANGE_HU) * body
    fine = orientation.upright(_thickened(change, steps, first.grid.shape))[box]
    return box, _most(fine), "where the images change most over the cycle"


def _most(change: Array) -> dict[str, int]:
    """The slice of each view with the largest sum."""
    found = {}
    for view in VIEWS:
        profile = change.sum(axis=tuple(a for a in range(3) if a != 2 - view.normal))
        top = np.flatnonzero(profile == profile.max())
        found[view.name] = int(top[len(top) // 2])
    return found


def _target(sequences: Sequence[PhaseSequence]) -> tuple[str, Array] | None:
    """The name and a mask (z, y, x) of the tumour in the first phase that has one."""
    for wanted in TARGETS:
        for sequence in sequences:
            for name, of_phase in sequence.masks.items():
                if wanted not in name.lower():
                    continue
                mask = _first_mask(of_phase, sequence.labels)
                if mask is not None:
                    return name, mask
    return None


def _first_mask(of_phase: Mapping[str, Any], labels: Sequence[str]) -> Array | None:
    masks = (np.asarray(of_phase[label].cpu()) > 0 for label in labels if label in of_phase)
    return next((m for m in masks if m.any()), None)


def _steps(grid: Grid) -> tuple[int, int, int]:
    """Along z, y, x of the index."""
    z, y, x = (max(1, round(COARSE_MM / s)) for s in reversed(grid.spacing))
    return z, y, x


def _thinned(volume: Volume, steps: tuple[int, int, int]) -> Volume:
    """Every so many voxels, without averaging: quick, and enough to see where the body is."""
    data = volume.data.detach().cpu()[:: steps[0], :: steps[1], :: steps[2]]
    z, y, x = data.shape
    spacing = tuple(s * n for s, n in zip(volume.grid.spacing, reversed(steps), strict=True))
    return Volume(data, Grid((x, y, z), spacing, volume.grid.origin, volume.grid.direction))  # type: ignore[arg-type]


def _thickened(values: Array, steps: tuple[int, int, int], shape: tuple[int, int, int]) -> Array:
    """Each value as often as voxels were passed over."""
    for axis, step in enumerate(steps):
        values = values.repeat(step, axis=axis)
    return values[: shape[0], : shape[1], : shape[2]]
