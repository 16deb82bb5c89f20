"""What can be measured of one forecast: each function yields (region, metric, value) for what the data allows."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch

from rtmotion.evaluation import calibration, fields, intensity, landmarks, lungs, overlap, sharpness
from rtmotion.evaluation.intensity import mask_box
from rtmotion.evaluation.regions import lung_mask
from rtmotion.evaluation.registered import registered_error, registered_floor
from rtmotion.evaluation.true_phase import SEGMENTED, TruePhase
from rtmotion.field import DisplacementField, index_coordinates, sample_at_index, to_index_units
from rtmotion.forecasting import Forecast
from rtmotion.sequence import PhaseSequence, Volume, cyclic_distance
from rtmotion.types import AnyVolume, MaskVolume, Points, VectorVolume

Found = Iterator[tuple[str, str, float]]
"""Region, metric, value."""

REGISTERED = ("tre_registered", "motion_registered", "tre_registered_floor", "motion_registered_floor")
"""The metrics that need a registration of each predicted phase to the true one: most of the time of an evaluation."""

RANGE_OF_MOTION = tuple(f"range_of_motion{suffix}" for suffix in ("", "_si", "_ap", "_lr"))


@dataclass
class Trajectories:
    """Where the forecast's structures are, phase by phase: what the range of motion is taken from.

    Attributes:
        predicted: Centroids of the warped masks by structure, LPS mm; None where one is empty.
        true: Centroids of the true masks, in the same order.
    """

    predicted: dict[str, list[Points | None]] = field(default_factory=dict)
    true: dict[str, list[Points]] = field(default_factory=dict)


def phase_scores(
    forecast: Forecast,
    index: int,
    true: TruePhase,
    observed: PhaseSequence,
    wanted: set[str],
    trajectories: Trajectories,
) -> Found:
    """The metrics of one predicted phase."""
    predicted = forecast.volumes[index]
    yield from _intensity(predicted, true, observed.volumes[-1], wanted)
    yield from _look(forecast, index, true, wanted)
    if "lung" in true.regions and bool(true.regions["lung"].any()):
        yield from _lung_motion(predicted, true, wanted)
    if wanted & set(REGISTERED):
        yield from _registered(predicted, true, observed)
    if forecast.displacements is None or forecast.reference is None:
        return
    displacement = forecast.displacements[index]
    body, lung = true.regions.get("body"), true.regions.get("lung")
    if "folding" in wanted and body is not None and bool(body.any()):
        yield "body", "folding", fields.folding_percent(displacement.data, displacement.grid, body)
    if "sd_log_jacobian" in wanted and lung is not None and bool(lung.any()):
        yield "lung", "sd_log_jacobian", fields.sd_log_jacobian(displacement.data, displacement.grid, lung)
    yield from _landmarks(forecast, index, true, observed)
    yield from _structures(displacement, forecast.reference.label, true, observed, wanted, trajectories)


def _intensity(predicted: Volume, true: TruePhase, last: Volume, wanted: set[str]) -> Found:
    maps = {"ssim": intensity.ssim_map, "ncc": intensity.local_ncc_map}
    truth = true.volume.data
    computed = {name: to_map(predicted.data, truth, true.anywhere) for name, to_map in maps.items() if name in wanted}
    for region, mask in {**true.structures, **true.regions}.items():
        if not bool(mask.any()):
            continue
        error = intensity.errors(predicted.data, truth, mask)
        yield region, "mae", error.mae
        yield region, "rmse", error.rmse
        if region not in true.regions:
            continue
        yield region, "psnr", error.psnr
        for name, values in computed.items():
            yield region, name, intensity.masked_mean(values, mask)
        if "change" in wanted and region == "body":
            yield region, "change", intensity.change_score(predicted.data, truth, last.data, mask)


def _look(forecast: Forecast, index: int, true: TruePhase, wanted: set[str]) -> Found:
    """Whether the prediction looks like a scan, over the body; the truth's own slope and roughness are kept."""
    body = true.regions.get("body")
    if body is None or not bool(body.any()):
        return
    predicted, truth = forecast.volumes[index], true.volume
    if wanted & {"edge_error", "sharpness"}:
        slope = sharpness.slope(predicted.data, predicted.grid)
        yield "body", "edge_error", sharpness.edge_error(slope, true.slope, body)
        yield "body", "sharpness", sharpness.sharpness(slope, true.slope, body)
    if "jitter" in wanted:
        own = sharpness.slice_roughness(truth.data, body)
        yield "body", "jitter", sharpness.slice_roughness(predicted.data, body) - own
    if forecast.reconstruct is not None and "round_trip" in wanted:
        shown = forecast.reconstruct(truth)
        yield "body", "round_trip", intensity.errors(shown.hu, truth.hu, body).mae
    if forecast.diversity is not None:
        yield "body", "diversity", forecast.diversity[index]
    if forecast.hu_spread is not None:
        spread = forecast.hu_spread[index]
        yield "body", "coverage_hu_80", sharpness.spread_coverage(predicted.data, truth.data, spread, body)


def _lung_motion(predicted: Volume, true: TruePhase, wanted: set[str]) -> Found:
    """Diaphragm, volume and overlap of the lungs: the segmenter of the region `lung` on prediction and truth."""
    if not wanted & {"diaphragm", "lung_volume", "dsc", "hd95", "mda"}:
        return
    lung, true_lung = lung_mask(predicted), true.regions["lung"]
    yield "lung", "lung_volume", abs(lungs.lung_volume_error(lung, true_lung))
    for dome in true.domes:
        error = lungs.diaphragm_error(predicted, lung, dome)
        if error is not None:
            yield dome.region, "diaphragm", error
    yield from _overlap(SEGMENTED, lung, true_lung, true, wanted)


def _registered(predicted: Volume, true: TruePhase, observed: PhaseSequence) -> Found:
    """The motion error that a frozen registration sees, and that registration's own error."""
    last = observed.phases[-1].label
    own = registered_floor(observed.volumes[-1], observed.landmarks.get(last), true)
    found = registered_error(predicted, true)
    yield "landmarks", "tre_registered", found.landmarks
    yield "landmarks", "tre_registered_floor", own.landmarks
    yield "lung", "motion_registered", found.lung
    yield "lung", "motion_registered_floor", own.lung


def _landmarks(forecast: Forecast, index: int, true: TruePhase, observed: PhaseSequence) -> Found:
    if forecast.displacements is None or forecast.reference is None or true.landmarks is None:
        return
    moving = observed.landmarks.get(forecast.reference.label)
    if moving is None or not len(moving):
        return
    displacement, fixed = forecast.displacements[index], true.landmarks
    exact = landmarks.summarise(landmarks.target_registration_errors(displacement, fixed, moving))
    to_voxels = landmarks.target_registration_errors(displacement, fixed, moving, snap=observed.grid)
    for suffix, error in (("", exact), ("_snapped", landmarks.summarise(to_voxels))):
        for name, value in (("mean", error.mean), ("sd", error.sd), ("p95", error.p95), ("max", error.max)):
            yield "landmarks", f"tre_{name}{suffix}", value
    yield "landmarks", "tre_identity", landmarks.summarise(landmarks.identity_errors(fixed, moving)).mean
    if forecast.uncertainty is None:
        return
    usable = torch.isfinite(fixed).all(dim=1) & torch.isfinite(moving).all(dim=1)
    fixed, moving = fixed[usable].double(), moving[usable].double()
    sd = landmarks.sample_at_points(forecast.uncertainty[index], displacement.grid, fixed)
    result = calibration.calibrate(displacement.transform_points(fixed) - fixed, moving - fixed, sd)
    for level in calibration.LEVELS:
        yield "landmarks", f"coverage_{level}", result.coverage[level]
        yield "landmarks", f"width_{level}", result.width[level]
    yield "landmarks", "crps", result.crps


def _structures(
    displacement: DisplacementField,
    reference: str,
    true: TruePhase,
    observed: PhaseSequence,
    wanted: set[str],
    trajectories: Trajectories,
) -> Found:
    """The reference phase's masks, carried by the predicted field, against the true phase's."""
    if not wanted & {"dsc", "hd95", "mda", "centroid", "centroid_si", "centroid_ap", "centroid_lr", *RANGE_OF_MOTION}:
        return
    places = Places.of(displacement)
    for name, mask in true.structures.items():
        moving = observed.masks.get(name, {}).get(reference)
        if moving is None or not bool(mask.any()):
            continue
        predicted = warped_mask(moving, places)
        there = overlap.centroid(predicted, true.volume.grid) if bool(predicted.any()) else None
        trajectories.predicted.setdefault(name, []).append(there)
        trajectories.true.setdefault(name, []).append(true.centroid(name))
        yield from _overlap(name, predicted, mask, true, wanted)
        if there is not None:
            error = overlap.centroid_error(there, true.centroid(name))
            for suffix, value in (("", error.total), ("_si", error.si), ("_ap", error.ap), ("_lr", error.lr)):
                yield name, f"centroid{suffix}", value


@dataclass(frozen=True, eq=False)
class Places:
    """Where a field carries the voxels of its grid.

    Attributes:
        index: In the moving phase (on the same grid), as an index (x, y, z), shape (3, z, y, x).
        low: The smallest step along z, y, x, voxels.
        high: The largest.
    """

    index: VectorVolume
    low: tuple[float, ...]
    high: tuple[float, ...]

    @staticmethod
    def of(displacement: DisplacementField) -> "Places":
        """Where the field carries the voxels of its grid."""
        steps = to_index_units(displacement.data, displacement.grid)
        along = steps.flip(0).flatten(1)
        low, high = along.amin(dim=1).tolist(), along.amax(dim=1).tolist()
        return Places(index_coordinates(displacement.grid) + steps, tuple(low), tuple(high))


def warped_mask(moving: AnyVolume, places: Places) -> MaskVolume:
    """A mask seen through a field: True where it is at least a half, by linear interpolation; shape (z, y, x)."""
    warped = torch.zeros(moving.shape, dtype=torch.bool)
    box = mask_box(moving.numpy() > 0)
    if box is None:
        return warped
    # only voxels that the field carries into the mask's box (or next to it) can be in the warped mask; where the
    # mask reaches the border of the volume it goes on outside
    near = []
    for inside, size, low, high in zip(box, moving.shape, places.low, places.high, strict=True):
        start = 0 if inside.start == 0 else max(0, math.floor(inside.start - 1 - high))
        stop = size if inside.stop == size else min(size, math.ceil(inside.stop + 1 - low))
        near.append(slice(min(start, size), max(stop, 0)))
    if all(s.start < s.stop for s in near):
        warped[*near] = sample_at_index(moving.float()[None], places.index[:, *near])[0] >= 0.5
    return warped


def _overlap(name: str, predicted: MaskVolume, mask: MaskVolume, true: TruePhase, wanted: set[str]) -> Found:
    yield name, "dsc", overlap.dice(predicted, mask)
    surface = overlap.surface(predicted, true.volume.grid) if wanted & {"hd95", "mda"} else None
    true_surface = None if surface is None else true.surface(name)
    if surface is not None and true_surface is not None:
        distance = overlap.distance_of_surfaces(surface, true_surface)
        yield name, "hd95", distance.hd95
        yield name, "mda", distance.mda


def cycle_scores(
    forecast: Forecast,
    observed: PhaseSequence,
    trajectories: Trajectories,
    known: Mapping[str, list[Points]],
    wanted: set[str],
) -> Found:
    """What is said of all predicted phases together.

    Args:
        forecast: The forecast.
        observed: The phases that it was made from.
        trajectories: What `phase_scores` found in every phase.
        known: Centroids of the structures in the observed phases.
        wanted: Names of metrics.
    """
    if forecast.displacements is None or forecast.reference is None or not forecast.targets:
        return
    stack = torch.stack([f.data for f in forecast.displacements]) if wanted & {"smoothness", "closure"} else None
    if stack is not None and len(stack) >= 3:
        yield "volume", "smoothness", fields.temporal_smoothness(stack)
    first, last = observed.phases[0], forecast.targets[-1]
    step = min((b.fraction - a.fraction for a, b in zip(observed.phases, observed.phases[1:], strict=False)), default=1)
    closes = cyclic_distance(first.fraction, last.fraction) < 1.5 * step
    if stack is not None and closes and forecast.reference.label == first.label:
        yield "volume", "closure", fields.closure(stack[-1], torch.zeros_like(stack[-1]))
    for name, path in trajectories.predicted.items():
        there = [place for place in path if place is not None]
        if len(there) == len(forecast.targets):
            error = overlap.range_of_motion_error([*known[name], *there], [*known[name], *trajectories.true[name]])
            for metric, value in zip(RANGE_OF_MOTION, (error.total, error.si, error.ap, error.lr), strict=True):
                yield name, metric, value
