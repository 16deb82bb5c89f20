"""What the engines of other libraries share: a mask, one grid, and the Registration of what they found."""

import time

from rtmotion.errors import GeometryError
from rtmotion.field import DisplacementField, folds, resample
from rtmotion.registration import Registration
from rtmotion.registration.region import near_body
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume

AIR_HU = -1000.0


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


def on_grid_of(fixed: Volume, moving: Volume) -> Volume:
    """The moving volume on the fixed grid; air outside of its own."""
    if moving.grid.is_close(fixed.grid):
        return moving
    return Volume(resample(moving.hu, moving.grid, fixed.grid, fill=AIR_HU), fixed.grid)


def registration_of(displacement: DisplacementField, start: float) -> Registration:
    """The registration of a displacement, with its folding in % of all voxels and the seconds since `start`."""
    folding = 100 * float(folds(displacement.data, displacement.grid).float().mean())
    return Registration(displacement, None, time.perf_counter() - start, {"folding_percent": folding})
