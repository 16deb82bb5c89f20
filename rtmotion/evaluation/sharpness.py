"""Whether a prediction looks like a scan: its edges, its roughness from slice to slice, and how its samples differ.

All take volumes in HU of shape (z, y, x) and a mask of the same shape. A blurred average of what may come has a small
error in HU and no edges; slices that were predicted one by one have edges and jump from slice to slice.
"""

import math

import torch
from torch import Tensor

from rtmotion.grid import Grid
from rtmotion.types import AnyVolume, MaskVolume, ScalarVolume

HALF_OF_80 = 1.2816
"""Standard deviations from the middle of a normal distribution to the end of its 80 % interval."""


def slope(volume: AnyVolume, grid: Grid) -> ScalarVolume:
    """Length of the gradient by central differences, HU/mm, shape (z, y, x); an axis of one voxel has no slope."""
    values = volume.detach().cpu().float()
    squares = torch.zeros_like(values)
    for axis, spacing in zip((2, 1, 0), grid.spacing, strict=True):
        if values.shape[axis] > 1:
            squares += torch.gradient(values, spacing=spacing, dim=axis)[0].square()
    return squares.sqrt()


def edge_error(predicted: ScalarVolume, truth: ScalarVolume, mask: MaskVolume) -> float:
    """Mean absolute difference of two slopes over the mask, HU/mm."""
    return float((predicted - truth)[mask].abs().double().mean())


def sharpness(predicted: ScalarVolume, truth: ScalarVolume, mask: MaskVolume) -> float:
    """Mean slope of the prediction over the mask in % of the truth's: below 100 it is blurred, or less noisy."""
    there = float(truth[mask].double().mean())
    return 100 * float(predicted[mask].double().mean()) / there if there > 0 else math.nan


def slice_roughness(volume: AnyVolume, mask: MaskVolume) -> float:
    """Mean of |a(z-1) - 2 a(z) + a(z+1)| / 2 along the slice axis over the mask, HU; NaN in under three slices."""
    values = volume.detach().cpu().float()
    inner = mask[1:-1]
    if values.shape[0] < 3 or not bool(inner.any()):
        return math.nan
    off = values[1:-1] - (values[:-2] + values[2:]) / 2
    return float(off[inner].abs().double().mean())


def spread_coverage(predicted: AnyVolume, truth: AnyVolume, spread: Tensor, mask: MaskVolume) -> float:
    """Share of the mask's voxels whose true HU lies inside the 80 % interval of the prediction, %.

    Args:
        predicted: HU, the middle of the interval.
        truth: HU.
        spread: One standard deviation, HU, read as normal.
        mask: Where.
    """
    off = (predicted.detach().cpu().float() - truth.detach().cpu().float())[mask].abs()
    return 100 * float((off <= HALF_OF_80 * spread.detach().cpu()[mask]).double().mean())
