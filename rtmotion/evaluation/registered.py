"""The motion error of an image: what is left to register between prediction and truth, by one frozen registration.

Methods without displacement fields (copies, image-to-image networks) have no target registration error. For every
method alike, a coarse registration with settings that never change finds the field from the true phase to the
prediction; in a perfect forecast it is nothing but the optimiser's own trembling, under 0.1 mm. It sees what images
show: motion of even tissue, and displacements much smaller than its working voxels, escape it, so that it stands
beside the TRE of a field and never replaces it.
"""

import hashlib
from dataclasses import dataclass

import torch

from rtmotion.evaluation.true_phase import TruePhase
from rtmotion.field import DisplacementField, compose, resample
from rtmotion.registration import SvfRegistration
from rtmotion.registration.region import near_body
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume, Points

SPACING_MM = 6.0
"""Working spacing of the frozen registration; volumes that are coarser keep theirs."""

FROZEN = SvfRegistration(spacings=(12.0, 6.0), iterations=(20, 28), strides=(1, 2), rate=0.04)
"""The frozen registration. Whoever changes it raises `rtmotion.evaluation.cohort.PROTOCOL_VERSION`."""

NOTHING = float("nan")


@dataclass(frozen=True)
class RegisteredError:
    """What a frozen registration finds between two volumes, mm; NaN where there are no landmarks or no lung.

    Attributes:
        landmarks: Mean over the true phase's landmarks.
        lung: Mean over the true phase's lung.
    """

    landmarks: float
    lung: float


def registered_error(predicted: Volume, true: TruePhase) -> RegisteredError:
    """The length of the field from the true phase to the prediction: under 0.1 mm for a perfect forecast.

    A volume that was registered to this true phase before is not registered again.
    """
    key = _digest(predicted)
    if key not in true.registered:
        fixed = _coarse(true.volume)
        field = _register(fixed, _coarse(predicted), near_body(fixed))
        points = true.landmarks
        at_points = NOTHING if points is None else _mean_length(field.transform_points(points.double()) - points)
        true.registered[key] = (at_points, _mean_in(field, _coarse_lung(true, fixed)))
    return RegisteredError(*true.registered[key])


def registered_floor(last: Volume, last_landmarks: Points | None, true: TruePhase) -> RegisteredError:
    """The frozen registration's own error between the last observed phase and the true one.

    At landmarks: the distance of its field from the known motion of the landmarks. In the lung: how far going there
    and back (the last phase registered to the true one and the other way round) ends from the start, halved.

    Args:
        last: The last observed phase.
        last_landmarks: Its landmarks, LPS mm, shape (n, 3), row by row those of the true phase, or None.
        true: The true phase.
    """
    key = b"floor" + _digest(last)
    if key not in true.registered:
        fixed, moving = _coarse(true.volume), _coarse(last)
        there = _register(fixed, moving, near_body(fixed))
        back = _register(moving, fixed, near_body(moving))
        round_trip = DisplacementField(compose(there.data, back.data, fixed.grid) / 2, fixed.grid)
        points, at_points = true.landmarks, NOTHING
        if points is not None and last_landmarks is not None:
            at_points = _mean_length(there.transform_points(points.double()) - last_landmarks.double())
        true.registered[key] = (at_points, _mean_in(round_trip, _coarse_lung(true, fixed)))
    return RegisteredError(*true.registered[key])


def _register(fixed: Volume, moving: Volume, mask: MaskVolume) -> DisplacementField:
    return FROZEN.register(fixed, moving, mask=mask).displacement


def _coarse(volume: Volume) -> Volume:
    grid = volume.grid.with_spacing(SPACING_MM, minimum=8)
    return Volume(resample(volume.hu.cpu(), volume.grid, grid), grid)


def _coarse_lung(true: TruePhase, fixed: Volume) -> MaskVolume:
    lung = true.regions.get("lung")
    if lung is None:
        return torch.zeros(fixed.grid.shape, dtype=torch.bool)
    return resample(lung.float(), true.volume.grid, fixed.grid) >= 0.5


def _mean_in(field: DisplacementField, mask: MaskVolume) -> float:
    return float(field.magnitude[mask].double().mean()) if bool(mask.any()) else NOTHING


def _mean_length(vectors: Points) -> float:
    """The mean over the rows that are finite (a landmark may be missing in a phase)."""
    lengths = torch.linalg.vector_norm(vectors.double(), dim=1)
    lengths = lengths[torch.isfinite(lengths)]
    return float(lengths.mean()) if len(lengths) else NOTHING


def _digest(volume: Volume) -> bytes:
    # copies as they were read (int16) and as a forecaster hands them on (float32) are one volume
    return hashlib.blake2b(volume.hu.detach().cpu().contiguous().numpy().tobytes(), digest_size=16).digest()
