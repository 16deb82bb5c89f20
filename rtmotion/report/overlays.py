"""Displacement and uncertainty as small 8-bit volumes, which the page samples in every view."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from rtmotion.field import DisplacementField
from rtmotion.report.orientation import Orientation

Array = npt.NDArray[Any]
Box = tuple[slice, slice, slice]

COARSE_MM = 5.0
"""Spacing of the overlays: displacement and uncertainty are smooth."""

MOST_VOXELS = 64_000
"""Of one overlay volume; a larger one gets coarser."""


def coarse_shape(box: Box, orientation: Orientation) -> tuple[int, int, int]:
    """The shape (s, p, l) of the overlays over a box."""
    extent = [(b.stop - b.start) * orientation.spacing[2 - a] for a, b in enumerate(box)]
    fine = [b.stop - b.start for b in box]
    step = max(COARSE_MM, float(np.prod(extent) / MOST_VOXELS) ** (1 / 3))
    return tuple(max(1, min(n, round(e / step))) for n, e in zip(fine, extent, strict=True))


def reduce(values: Array, shape: tuple[int, int, int]) -> Array:
    """An array (c, s, p, l) averaged to a coarser shape, float32."""
    tensor = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(F.adaptive_avg_pool3d(tensor, shape).numpy())


def encode_displacements(
    fields: Sequence[DisplacementField], orientation: Orientation, box: Box, body: Array
) -> tuple[Array, dict[str, float]]:
    """The motion from the reference phase to each predicted phase, -u, along left, posterior and superior.

    Args:
        fields: Predicted phase to reference phase, as a forecast has them.
        orientation: Of the grid.
        box: What the report shows of the upright volume.
        body: The body, upright and cropped: colours are scaled to what moves in there.

    Returns:
        int8, shape (phases, 3, s, p, l), and `step` (mm a level) with `p99` and `max` of the magnitude in the body.
    """
    shape = coarse_shape(box, orientation)
    coarse, inside = [], []
    for field in fields:
        vectors = -orientation.vectors(field.data)[:, box[0], box[1], box[2]]
        inside.append(np.sqrt((vectors**2).sum(axis=0))[body][::7])
        coarse.append(reduce(vectors, shape))
    stacked = np.stack(coarse)
    step = max(float(np.abs(stacked).max()), 1e-3) / 127
    return np.round(stacked / step).astype(np.int8), {"step": step, **_range(inside)}


def encode_uncertainty(
    uncertainty: Sequence[Tensor], orientation: Orientation, box: Box, body: Array
) -> tuple[Array, dict[str, float]]:
    """One standard deviation of displacement, mm: uint8, shape (phases, s, p, l), and its `step`, `p99` and `max`."""
    shape = coarse_shape(box, orientation)
    coarse, inside = [], []
    for volume in uncertainty:
        upright = orientation.upright(volume.detach().cpu().float().numpy())[box]
        inside.append(upright[body][::7])
        coarse.append(reduce(upright[None], shape)[0])
    stacked = np.stack(coarse)
    step = max(float(stacked.max()), 1e-3) / 255
    return np.round(stacked / step).clip(0, 255).astype(np.uint8), {"step": step, **_range(inside)}


def encode_body(body: Array, orientation: Orientation, box: Box) -> Array:
    """The body's share of each coarse voxel, uint8, 0 to 255."""
    share = reduce(body[None].astype(np.float32), coarse_shape(box, orientation))[0]
    return np.asarray(np.round(255 * share).astype(np.uint8))


def histogram(uncertainty: Sequence[Tensor], body: Array, bins: int = 40) -> dict[str, list[float]]:
    """How often each uncertainty occurs in the body, over all predicted phases.

    Returns:
        `mm` (centres of the bins), `percent` of the body's voxels, and `median`, `p95` (lists of one number).
    """
    inside = np.concatenate([u.detach().cpu().float().numpy()[body][::5] for u in uncertainty])
    if not inside.size:
        return {"mm": [], "percent": [], "median": [], "p95": []}
    upper = max(float(np.percentile(inside, 99.5)), 1e-3)
    counts, edges = np.histogram(inside.clip(0, upper), bins=bins, range=(0.0, upper))
    return {
        "mm": [round(float(c), 4) for c in (edges[1:] + edges[:-1]) / 2],
        "percent": [round(100 * float(c) / inside.size, 4) for c in counts],
        "median": [float(np.median(inside))],
        "p95": [float(np.percentile(inside, 95))],
    }


def _range(inside: Sequence[Array]) -> dict[str, float]:
    values = np.concatenate(inside)
    if not values.size:
        return {"p99": 0.0, "max": 0.0}
    return {"p99": float(np.percentile(values, 99)), "max": float(values.max())}
