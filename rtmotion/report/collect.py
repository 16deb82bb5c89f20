"""Gathers what the report of one forecast shows."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmotion.errors import GeometryError
from rtmotion.evaluation.regions import body_mask
from rtmotion.forecasting import Forecast
from rtmotion.report.data import ReportData, plain, plain_rows
from rtmotion.report.diaphragm import diaphragm_motion
from rtmotion.report.orientation import Orientation, orientation_of
from rtmotion.report.overlays import encode_body, encode_displacements, encode_uncertainty, histogram
from rtmotion.report.slices import (
    SPRITE_COLUMNS,
    TONE_HU,
    TONE_LEVEL,
    body_box,
    describe_views,
    encode_views,
    liveliest,
)
from rtmotion.sequence import PhaseSequence, Volume

Array = npt.NDArray[Any]

IMAGE_BUDGET = 6_000_000
"""Bytes of JPEG in a page: 8 MB as base64, beside 2 MB of plotly and at most 2 MB of overlays."""

PERSISTENCE = "persistence"


def collect_forecast(
    forecast: Forecast,
    observed: PhaseSequence,
    truth: PhaseSequence | None,
    metrics: Iterable[Any],
    info: Mapping[str, Any],
    *,
    budget: int = IMAGE_BUDGET,
) -> ReportData:
    """Everything that the page of a forecast shows, with its images already reduced and compressed.

    Args:
        forecast: The forecast.
        observed: The phases that it was made from.
        truth: The true phases to come; None where they are not known. It may lack some.
        metrics: Rows of phase, region, metric, value and unit: dataclasses or mappings.
        info: What else the page states, JSON-compatible; every key may be missing. `case` (its name, no patient
            data), `format`, `device`, `seed`, `versions` (name to version), `options` (name to value), `references`
            (name of another method to its metric rows, for the error plot; persistence is computed where it is
            missing), `warnings` (of the input), `created` (date as text).
        budget: Bytes that the images may take.

    Raises:
        GeometryError: If the forecast does not lie on the grid of the observed phases.
    """
    check_grid(forecast, observed)
    rows = plain_rows(metrics)
    orientation = orientation_of(observed.grid)
    shown = observed.volume(forecast.reference.label) if forecast.reference else observed.volumes[-1]
    body = body_mask(shown)
    upright_body = orientation.upright(body.numpy())
    box = body_box(upright_body, orientation)
    phases, tiles, volumes = gather_tiles(forecast, observed, truth, orientation, box)
    slices, sprites, quality = encode_views(volumes, budget)
    upright_body = upright_body[box]
    overlays: dict[str, Array] = {"body": encode_body(upright_body, orientation, box)}
    ranges: dict[str, Any] = {}
    if forecast.displacements is not None:
        overlays["displacement"], ranges["displacement"] = encode_displacements(
            forecast.displacements, orientation, box, upright_body
        )
    if forecast.uncertainty is not None:
        overlays["uncertainty"], ranges["uncertainty"] = encode_uncertainty(
            forecast.uncertainty, orientation, box, upright_body
        )
    start = liveliest(_changes(volumes) * upright_body, slices)
    facts = {
        "method": forecast.method,
        "reference": forecast.reference.label if forecast.reference else None,
        "hasTruth": any(p["truth"] is not None for p in phases if not p["observed"]),
        "phases": phases,
        "tiles": tiles,
        "spriteColumns": SPRITE_COLUMNS,
        "tone": {"hu": TONE_HU, "level": TONE_LEVEL},
        "jpegQuality": quality,
        "tilt": orientation.tilt_degrees,
        "grid": {"size": observed.grid.size, "spacing": observed.grid.spacing},
        "views": describe_views(slices, volumes[0], box, orientation, observed.grid, start),
        "ranges": ranges,
        "metrics": rows,
        "references": _references(observed, truth, rows, info),
        "waveform": _waveform(forecast),
        "diaphragm": diaphragm_motion(forecast, observed, truth, body),
        "histogram": histogram(forecast.uncertainty, body.numpy()) if forecast.uncertainty is not None else None,
        "seconds": dict(forecast.seconds),
        "warnings": list(dict.fromkeys([*info.get("warnings", ()), *forecast.warnings])),
        "details": dict(forecast.details),
        "info": {k: v for k, v in info.items() if k not in ("references", "warnings")},
    }
    return ReportData(plain(facts), {name: tuple(images) for name, images in sprites.items()}, overlays)


def check_grid(forecast: Forecast, observed: PhaseSequence) -> None:
    """Refuses a forecast that lies on another grid than what it was made from.

    Raises:
        GeometryError: If it does.
    """
    if not forecast.grid.is_close(observed.grid):
        raise GeometryError(
            f"the report shows prediction and input on one grid; the forecast lies on {forecast.grid.size}, "
            f"the observed phases on {observed.grid.size}"
        )


def gather_tiles(
    forecast: Forecast,
    observed: PhaseSequence,
    truth: PhaseSequence | None,
    orientation: Orientation,
    box: tuple[slice, slice, slice],
) -> tuple[list[dict[str, Any]], int, list[Array]]:
    """The phases of the whole cycle in order, the number of images, and the images, upright and cropped.

    A phase has the number of its image in `truth` (what was observed, or the true one where it is known) and in
    `prediction`, and in `target` its place among the predicted ones.
    """

    def upright(volume: Volume) -> Array:
        return orientation.upright(volume.data.detach().cpu().numpy())[box]

    volumes = [upright(v) for v in observed.volumes]
    phases: list[dict[str, Any]] = [
        {"label": p.label, "fraction": p.fraction, "observed": True, "truth": i, "prediction": None, "target": None}
        for i, p in enumerate(observed.phases)
    ]
    for target, (phase, volume) in enumerate(zip(forecast.targets, forecast.volumes, strict=True)):
        known = truth is not None and phase.label in truth.labels
        entry: dict[str, Any] = {"label": phase.label, "fraction": phase.fraction, "observed": False, "target": target}
        entry["prediction"] = len(volumes)
        volumes.append(upright(volume))
        entry["truth"] = len(volumes) if known else None
        if truth is not None and known:
            volumes.append(upright(truth.volume(phase.label)))
        phases.append(entry)
    return sorted(phases, key=lambda p: p["fraction"]), len(volumes), volumes


def _changes(volumes: list[Array]) -> Array:
    """The range of HU over all images, kept to what motion of soft tissue makes, float32."""
    low = high = volumes[0]
    for volume in volumes[1:]:
        low, high = np.minimum(low, volume), np.maximum(high, volume)
    return (high - low).clip(0, 600).astype(np.float32)


def _references(
    observed: PhaseSequence, truth: PhaseSequence | None, rows: list[dict[str, Any]], info: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Rows of other methods for the error plot; persistence always, where there is a truth to hold it against."""
    from rtmotion.evaluation.protocol import evaluate

    found = {str(name): plain_rows(of_method) for name, of_method in info.get("references", {}).items()}
    if truth is not None and rows and PERSISTENCE not in found:
        known = {str(r["phase"]) for r in rows}
        kept = truth.select([i for i, label in enumerate(truth.labels) if label in known])
        copies = Forecast(PERSISTENCE, kept.phases, (observed.volumes[-1],) * len(kept))
        found[PERSISTENCE] = [asdict(r) for r in evaluate(copies, kept, observed, metrics={"mae"})]
    return found


def _waveform(forecast: Forecast) -> dict[str, Any] | None:
    if forecast.waveform is None:
        return None
    w = forecast.waveform
    return {"fraction": w.fraction, "mean": w.mean, "low": w.low, "high": w.high, "observed": w.observed}
