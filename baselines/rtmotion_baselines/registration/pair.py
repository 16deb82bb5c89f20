"""What the engines of other libraries share: a mask, one grid, and the Registration of what they found."""

import time

import torch

from rtmotion.errors import GeometryError
from rtmotion.field import DisplacementField, folds, resample
from rtmotion.registration import Registration
from rtmotion.registration.region import near_body
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume

AIR_HU = -1000.0

RIM_MM = 25.0
"""More than the diaphragm moves in all but the deepest breaths."""


def region(fixed: Volume, mask: MaskVolume | None) -> MaskVolume:
    """Where the similarity counts: the mask given, or in and just around the body.

    Raises:
        GeometryError: If the mask does not lie on the fixed grid.
    """
    if mask is None:
        return near_body(fixed)
    if tuple(mask.shape) != fixed.grid.shape:
        raise GeometryError(f"the mask {tuple(mask.shape)} does not lie on the fixed grid {fixed.grid.shape}")
    return mask > 0


def blanking_region(fixed: Volume, mask: MaskVolume | None) -> MaskVolume:
    """`region` for engines that can only blank both images outside of it, `RIM_MM` wider than a mask that is given.

    Where the images are blanked an edge appears that does not breathe: it has to keep off what does.
    """
    keep = region(fixed, mask)
    if mask is None or keep.all() or not keep.any():
        return keep
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(~keep.cpu().numpy(), sampling=fixed.grid.spacing[::-1])
    return torch.from_numpy(distance <= RIM_MM).to(keep.device)


def on_grid_of(fixed: Volume, moving: Volume) -> Volume:
    """The moving volume on the fixed grid; air outside of its own."""
    if moving.grid.is_close(fixed.grid):
        return moving
    return Volume(resample(moving.hu, moving.grid, fixed.grid, fill=AIR_HU), fixed.grid)


def registration_of(displacement: DisplacementField, start: float) -> Registration:
    """The registration of a displacement, with its folding in % of all voxels and the seconds since `start`."""
    folding = 100 * float(folds(displacement.data, displacement.grid).float().mean())
    return Registration(displacement, None, time.perf_counter() - start, {"folding_percent": folding})
