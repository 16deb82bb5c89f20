"""What can be measured of one forecast: each function yields (region, metric, value) for what the data allows."""

from collections.abc import Iterator, Mapping

import torch

from rtmotion.evaluation import calibration, fields, intensity, landmarks, lungs, overlap
from rtmotion.evaluation.regions import lung_mask
from rtmotion.field import DisplacementField
from rtmotion.forecasting import Forecast
from rtmotion.sequence import PhaseSequence, Volume, cyclic_distance
from rtmotion.types import AnyVolume, MaskVolume

Found = Iterator[tuple[str, str, float]]
"""Region, metric, value."""


def phase_scores(
    forecast: Forecast,
    index: int,
    truth: PhaseSequence,
    observed: PhaseSequence,
    masks: Mapping[str, MaskVolume],
    wanted: set[str],
) -> Found:
    """The metrics of one predicted phase."""
    label = forecast.targets[index].label
    structures = {name: by[label].bool() for name, by in truth.masks.items() if label in by}
    true, predicted = truth.volume(label), forecast.volumes[index]
    yield from _intensity(predicted, true, observed.volumes[-1], masks, structures, wanted)
    if wanted & {"diaphragm", "lung_volume"} and "lung" in masks:
        yield from _lung_motion(predicted, true, masks["lung"])
    if forecast.displacements is None or forecast.reference is None:
        return
    field = forecast.displacements[index]
    body = masks.get("body")
    if "folding" in wanted and body is not None and body.any():
        yield "body", "folding", fields.folding_percent(field.data, field.grid, body)
    if "sd_log_jacobian" in wanted and "lung" in masks and masks["lung"].any():
        yield "lung", "sd_log_jacobian", fields.sd_log_jacobian(field.data, field.grid, masks["lung"])
    yield from _landmarks(forecast, index, truth, observed)
    for name, mask in structures.items():
        reference = observed.masks.get(name, {}).get(forecast.reference.label)
        if reference is not None and mask.any():
            yield from _structure(name, _warped_mask(field, reference), mask, true, wanted)


def _intensity(
    predicted: Volume,
    true: Volume,
    last: Volume,
    masks: Mapping[str, MaskVolume],
    structures: Mapping[str, MaskVolume],
    wanted: set[str],
) -> Found:
    anywhere = torch.stack(list(masks.values())).any(dim=0) if masks else None
    maps = {"ssim": intensity.ssim_map, "ncc": intensity.local_ncc_map}
    computed = {name: to_map(predicted.data, true.data, anywhere) for name, to_map in maps.items() if name in wanted}
    for region, mask in {**structures, **masks}.items():
        if not mask.any():
            continue
        yield region, "mae", intensity.mae(predicted.data, true.data, mask)
        yield region, "rmse", intensity.rmse(predicted.data, true.data, mask)
        if region not in masks:
            continue
        yield region, "psnr", intensity.psnr(predicted.data, true.data, mask)
        for name, values in computed.items():
            yield region, name, intensity.masked_mean(values, mask)
        if "change" in wanted and region == "body":
            yield region, "change", intensity.change_score(predicted.data, true.data, last.data, mask)


def _lung_motion(predicted: Volume, true: Volume, true_lung: MaskVolume) -> Found:
    """Diaphragm and lung volume: the segmenter of `rtmotion.evaluation.regions` on prediction and truth."""
    if not true_lung.any():
        return
    lung = lung_mask(predicted)
    yield "lung", "lung_volume", abs(lungs.lung_volume_error(lung, true_lung))
    for side, part in lungs.split_lungs(true_lung, true.grid).items():
        error = lungs.diaphragm_error(predicted, lung, true, part)
        if error is not None:
            yield "lung" if side == "lung" else f"lung-{side}", "diaphragm", error


def _landmarks(forecast: Forecast, index: int, truth: PhaseSequence, observed: PhaseSequence) -> Found:
    label = forecast.targets[index].label
    if forecast.displacements is None or forecast.reference is None or label not in truth.landmarks:
        return
    moving = observed.landmarks.get(forecast.reference.label)
    if moving is None or not len(moving):
        return
    field, fixed = forecast.displacements[index], truth.landmarks[label]
    errors = landmarks.summarise(landmarks.target_registration_errors(field, fixed, moving))
    snapped = landmarks.target_registration_errors(field, fixed, moving, snap=observed.grid)
    values = {
        "tre_mean": errors.mean,
        "tre_sd": errors.sd,
        "tre_p95": errors.p95,
        "tre_max": errors.max,
        "tre_mean_snapped": landmarks.summarise(snapped).mean,
        "tre_identity": landmarks.summarise(landmarks.identity_errors(fixed, moving)).mean,
    }
    if forecast.uncertainty is not None:
        usable = torch.isfinite(fixed).all(dim=1) & torch.isfinite(moving).all(dim=1)
        fixed, moving = fixed[usable].double(), moving[usable].double()
        sd = landmarks.sample_at_points(forecast.uncertainty[index], field.grid, fixed)
        result = calibration.calibrate(field.transform_points(fixed) - fixed, moving - fixed, sd)
        values |= {f"coverage_{level}": value for level, value in result.coverage.items()}
        values |= {"width_80": result.width[80], "crps": result.crps}
    for name, value in values.items():
        yield "landmarks", name, value


def _warped_mask(field: DisplacementField, reference: AnyVolume) -> MaskVolume:
    """The reference phase's mask in the predicted phase."""
    return field.warp(reference.float()) >= 0.5


def _structure(name: str, predicted: MaskVolume, mask: MaskVolume, true: Volume, wanted: set[str]) -> Found:
    yield name, "dsc", overlap.dice(predicted, mask)
    if not predicted.any():
        return
    if wanted & {"hd95", "mda"}:
        distance = overlap.surface_distance(predicted, mask, true.grid)
        if distance is not None:
            yield name, "hd95", distance.hd95
            yield name, "mda", distance.mda
    error = overlap.centroid_error(predicted, mask, true.grid)
    for suffix, value in (("", error.total), ("_si", error.si), ("_ap", error.ap), ("_lr", error.lr)):
        yield name, f"centroid{suffix}", value


def cycle_scores(forecast: Forecast, truth: PhaseSequence, observed: PhaseSequence, wanted: set[str]) -> Found:
    """What is said of all predicted phases together."""
    if forecast.displacements is None or forecast.reference is None or not forecast.targets:
        return
    stack = torch.stack([f.data for f in forecast.displacements])
    if len(stack) >= 3 and "smoothness" in wanted:
        yield "volume", "smoothness", fields.temporal_smoothness(stack)
    first, last = observed.phases[0], forecast.targets[-1]
    step = min((b.fraction - a.fraction for a, b in zip(observed.phases, observed.phases[1:], strict=False)), default=1)
    closes = cyclic_distance(first.fraction, last.fraction) < 1.5 * step
    if closes and forecast.reference.label == first.label and "closure" in wanted:
        yield "volume", "closure", fields.closure(stack[-1], torch.zeros_like(stack[-1]))
    if not any(metric.startswith("range_of_motion") for metric in wanted):
        return
    for name, by in truth.masks.items():
        seen = observed.masks.get(name, {})
        labels = [p.label for p in forecast.targets]
        if forecast.reference.label not in seen or not all(label in by and by[label].any() for label in labels):
            continue
        warped = [_warped_mask(field, seen[forecast.reference.label]) for field in forecast.displacements]
        known = [overlap.centroid(m, observed.grid) for m in seen.values() if m.any()]
        if all(m.any() for m in warped):
            error = overlap.range_of_motion_error(
                known + [overlap.centroid(m, truth.grid) for m in warped],
                known + [overlap.centroid(by[label], truth.grid) for label in labels],
            )
            for suffix, value in (("", error.total), ("_si", error.si), ("_ap", error.ap), ("_lr", error.lr)):
                yield name, f"range_of_motion{suffix}", value
