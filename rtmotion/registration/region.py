"""Where a registration of chest CT looks."""

import numpy as np
import torch

from rtmotion.field import resample
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume

WORKING_SPACING = 4.0
"""mm: fine enough for the skin, coarse enough that the search takes no time."""

TISSUE_HU = -500.0
AIR_HU = -940.0
"""Smoothed over 4 mm, lung lies above it in all but severe emphysema, room air below."""

CROPPED_SHARE = 0.3
"""A volume whose lateral faces are to more than this share inside a patient is a crop, without air or table."""


def near_body(volume: Volume) -> MaskVolume:
    """The patient and two coarse voxels around: without the table and the air beyond, which do not breathe.

    The largest piece of tissue, holes filled slice by slice across the body's long axis. In a crop, whose faces cut
    through the patient, everything counts.

    Args:
        volume: HU.

    Returns:
        Bool, shape (z, y, x) of the volume.
    """
    from scipy import ndimage

    grid = volume.grid.with_spacing(WORKING_SPACING, minimum=8)
    hu = resample(volume.hu, volume.grid, grid).cpu().numpy()
    # array axis of the body's long axis: index axes are x, y, z and array axes z, y, x
    long_axis = 2 - int(np.argmax(np.abs(grid.direction_matrix[2])))
    lateral = [a for a in range(3) if a != long_axis]
    faces = np.concatenate([np.take(hu, i, axis=a).ravel() for a in lateral for i in (0, -1)])
    everywhere = torch.ones(volume.grid.shape, dtype=torch.bool, device=volume.data.device)
    if (faces > AIR_HU).mean() > CROPPED_SHARE:
        return everywhere
    pieces, count = ndimage.label(ndimage.binary_opening(hu > TISSUE_HU))
    if count == 0:
        return everywhere
    body = pieces == 1 + int(np.argmax(np.bincount(pieces.ravel())[1:]))
    slices = np.moveaxis(body, long_axis, 0)
    filled = np.stack([ndimage.binary_fill_holes(s) for s in slices])
    near = ndimage.binary_dilation(np.moveaxis(filled, 0, long_axis), iterations=2)
    mask = torch.from_numpy(np.ascontiguousarray(near)).to(volume.data.device)
    return resample(mask.float(), grid, volume.grid, mode="nearest") > 0.5
