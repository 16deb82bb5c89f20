"""The protocol: what is measured of a forecast, on which regions; the same for every method."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from rtmotion.errors import GeometryError, PhaseError, UnknownNameError
from rtmotion.evaluation.overlap import centroid
from rtmotion.evaluation.scores import RANGE_OF_MOTION, Trajectories, cycle_scores, phase_scores
from rtmotion.evaluation.true_phase import TruePhase, true_phase
from rtmotion.forecasting import Forecast
from rtmotion.sequence import PhaseSequence

ALL_PHASES = "all"
"""The phase of rows that say something of the whole forecast."""

UNITS = {
    "mae": "HU",
    "rmse": "HU",
    "psnr": "dB",
    "ssim": "",
    "ncc": "",
    "change": "",
    "edge_error": "HU/mm",
    "sharpness": "%",
    "jitter": "HU",
    "diversity": "HU",
    "coverage_hu_80": "%",
    "round_trip": "HU",
    "tre_mean": "mm",
    "tre_sd": "mm",
    "tre_p95": "mm",
    "tre_max": "mm",
    "tre_mean_snapped": "mm",
    "tre_sd_snapped": "mm",
    "tre_p95_snapped": "mm",
    "tre_max_snapped": "mm",
    "tre_identity": "mm",
    "tre_registered": "mm",
    "tre_registered_floor": "mm",
    "motion_registered": "mm",
    "motion_registered_floor": "mm",
    "coverage_50": "%",
    "coverage_80": "%",
    "coverage_95": "%",
    "width_50": "mm",
    "width_80": "mm",
    "width_95": "mm",
    "crps": "mm",
    "folding": "%",
    "sd_log_jacobian": "",
    "smoothness": "mm",
    "closure": "mm",
    "dsc": "",
    "hd95": "mm",
    "mda": "mm",
    "centroid": "mm",
    "centroid_si": "mm",
    "centroid_ap": "mm",
    "centroid_lr": "mm",
    "range_of_motion": "mm",
    "range_of_motion_si": "mm",
    "range_of_motion_ap": "mm",
    "range_of_motion_lr": "mm",
    "diaphragm": "mm",
    "lung_volume": "%",
}
"""Every metric of the protocol and its unit; `psnr` and `ssim` are for a range of 4000 HU."""


@dataclass(frozen=True)
class MetricRow:
    """One number of an evaluation: a metric of one phase (or `all`) on one region."""

    phase: str
    region: str
    metric: str
    value: float
    unit: str


def evaluate(
    forecast: Forecast,
    truth: PhaseSequence,
    observed: PhaseSequence,
    *,
    metrics: Collection[str] | None = None,
    true_phases: Mapping[str, TruePhase] | None = None,
) -> list[MetricRow]:
    """Scores a forecast against the true phases.

    Args:
        forecast: The forecast; the phases that it predicts must be in `truth`.
        truth: The true phases, with landmarks and masks where there are any.
        observed: The phases that the forecast was made from, with theirs.
        metrics: Names of metrics wanted; None takes all that the data allows.
        true_phases: What is known of true phases by label, so that several forecasts of them share it; phases that
            are not in it are looked at anew.

    Returns:
        The rows, phase by phase, then those of the phase `all`. What cannot be measured (no landmarks, an empty
        region) has no row; every value is finite.

    Raises:
        UnknownNameError: If a metric is not in `UNITS`.
        PhaseError: If a predicted phase is not in `truth`.
        GeometryError: If prediction and truth lie on different grids.
    """
    wanted = set(UNITS) if metrics is None else set(metrics)
    check_metrics(wanted)
    _check(forecast, truth)
    forecast = _on_cpu(forecast)
    rows: list[MetricRow] = []
    trajectories = Trajectories()
    for index, phase in enumerate(forecast.targets):
        true = (true_phases or {}).get(phase.label) or true_phase(truth, phase.label)
        for region, name, value in phase_scores(forecast, index, true, observed, wanted, trajectories):
            rows += _row(phase.label, region, name, value, wanted)
    known = {
        name: [centroid(mask, observed.grid) for mask in observed.masks[name].values() if bool(mask.any())]
        for name in (trajectories.predicted if wanted & set(RANGE_OF_MOTION) else ())
    }
    for region, name, value in cycle_scores(forecast, observed, trajectories, known, wanted):
        rows += _row(ALL_PHASES, region, name, value, wanted)
    return rows


def check_metrics(names: Collection[str]) -> None:
    """Refuses what is no metric.

    Raises:
        UnknownNameError: If one is not in `UNITS`.
    """
    for name in sorted(set(names) - set(UNITS)):
        raise UnknownNameError("metric", name, list(UNITS))


def skill(error: float, trivial: float, oracle: float) -> float | None:
    """How much of what can be gained over the best trivial baseline a method gains.

    `1 - (error - oracle) / (trivial - oracle)`: 0 is no better than trivial, 1 as good as knowing the answer.

    Args:
        error: The method's error (for example MAE in HU, mean over the future phases).
        trivial: The error of the best trivial baseline on the same case and k.
        oracle: The error of the warp fitted to the true phases.

    Returns:
        None where the oracle is no better than the trivial baseline: there is nothing to gain.

    >>> skill(40.0, 50.0, 30.0)
    0.5
    """
    return 1.0 - (error - oracle) / (trivial - oracle) if trivial > oracle else None


def _row(phase: str, region: str, metric: str, value: float, wanted: set[str]) -> list[MetricRow]:
    if metric not in wanted or not math.isfinite(value):
        return []
    return [MetricRow(phase, region, metric, value, UNITS[metric])]


def _on_cpu(forecast: Forecast) -> Forecast:
    """The forecast with its voxels and fields where the truth is."""
    fields, sd, spread = forecast.displacements, forecast.uncertainty, forecast.hu_spread
    return replace(
        forecast,
        volumes=tuple(v.to("cpu") for v in forecast.volumes),
        displacements=None if fields is None else tuple(f.to("cpu") for f in fields),
        uncertainty=None if sd is None else tuple(s.cpu() for s in sd),
        hu_spread=None if spread is None else tuple(s.cpu() for s in spread),
    )


def _check(forecast: Forecast, truth: PhaseSequence) -> None:
    for phase in forecast.targets:
        if phase.label not in truth.labels:
            raise PhaseError(f"the forecast of {phase.label} has no true phase; there are {', '.join(truth.labels)}")
    if forecast.targets and not forecast.grid.is_close(truth.grid):
        raise GeometryError(
            f"the forecast lies on another grid ({forecast.grid.size}) than the truth ({truth.grid.size})"
        )
