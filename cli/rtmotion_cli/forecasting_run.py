"""`rtmotion forecast` as one straight road: read, observe, forecast, score, write, report."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtmotion.errors import PhaseError, RtmotionError
from rtmotion.methods import Method, find_method
from rtmotion_cli.cases import Case, read_case, versions
from rtmotion_cli.output_folder import check_output, default_output, remove_stale
from rtmotion_cli.terminal import Terminal

if TYPE_CHECKING:
    from rtmotion.evaluation.protocol import MetricRow
    from rtmotion.forecasting import Forecast
    from rtmotion.report import ReportData
    from rtmotion.sequence import Phase, PhaseSequence
    from rtmotion_data.traces import Recording

FULL_CYCLE = 10
"""Phases of a cycle that is forecast where the input ends with the last observed phase."""


OPTIONS_OF_SOME = {
    "weights": "such file",
    "calibration": "such file",
    "steps": "steps",
    "lvm_weights": "such folder",
    "plane": "plane",
}
"""Options that some methods take, and what they are called where another is given one."""


@dataclass(frozen=True)
class ForecastRequest:
    """What the user asked for.

    Attributes:
        paths: The input: one folder or file, or one 3D file a phase.
        observe: How many phases are given, the first in order.
        method: Name of the forecaster.
        out: Output folder; None takes `<case>_forecast` in the current folder.
        trace: A breathing trace file, or None.
        samples: Number of samples behind the uncertainty; None takes the method's own.
        study: Which study of the folder.
        phases: Percentages of the phases as text, where nothing says them.
        device: Torch device.
        seed: Of everything random.
        adapt: Whether the video model finds out how far it is to be trusted on this patient.
        weights: Weights of a network; None takes the shipped ones.
        calibration: What `rtmotion calibrate` learned of its uncertainty, or None.
        steps: Of the sampler of a method that draws images; None takes the method's own.
        lvm_weights: Folder of a large vision model; None takes the shipped one.
        plane: Of the slices that a large vision model is shown, or `fused`; None takes the method's own.
    """

    paths: tuple[Path, ...]
    observe: int
    method: str = "video"
    out: Path | None = None
    trace: Path | None = None
    samples: int | None = None
    study: str | None = None
    phases: str | None = None
    device: str = "cpu"
    seed: int = 0
    adapt: bool = True
    weights: Path | None = None
    calibration: Path | None = None
    steps: int | None = None
    lvm_weights: Path | None = None
    plane: str | None = None


@dataclass(frozen=True, eq=False)
class ForecastResult:
    """What a run left: the folder, the forecast and its score."""

    folder: Path
    forecast: "Forecast"
    metrics: "tuple[MetricRow, ...]"


def run_forecast(request: ForecastRequest, terminal: Terminal) -> ForecastResult:
    """Forecasts the phases that follow the first `observe` and writes what interface says.

    Raises:
        RtmotionError: If the input, an option or the output folder is of no use; nothing is written then.
    """
    method = forecasting_method(request.method)
    for option, what in OPTIONS_OF_SOME.items():
        if getattr(request, option) is not None and not method.takes(option):
            raise RtmotionError(f"--{option.replace('_', '-')}: {method.name} takes no {what}; leave it out")
    recording = _read_trace(request.trace)
    if request.out is not None:
        check_output(request.out)
    case = read_case(request.paths, terminal, request.study, request.phases)
    out = check_output(request.out or default_output(case.found.name, "forecast"), case.files)
    observed, truth, targets = split(case.sequence, request.observe)
    # said only now: bad input gets its one line and no other
    terminal.warn([*case.found.warnings, *(recording.warnings if recording else ())])
    forecast = make_forecast(method, observed, targets, recording, request, terminal)
    metrics = score(forecast, truth, observed, terminal)
    report = describe(forecast, observed, truth, case, metrics, request, terminal)
    write(out, forecast, observed, case, metrics, report, request, terminal)
    return ForecastResult(out, forecast, metrics)


def forecasting_method(name: str) -> Method:
    """The card of a method that can forecast without knowing the answer.

    Raises:
        RtmotionError: If there is no such method, or it is a bound that needs the true phases.
    """
    method = find_method(name)
    if method.kind == "bound":
        raise RtmotionError(
            f"--method {name} knows the true phases and is a bound for comparisons; use rtmotion compare"
        )
    return method


def split(sequence: "PhaseSequence", observe: int) -> "tuple[PhaseSequence, PhaseSequence | None, tuple[Phase, ...]]":
    """The observed phases, the true ones to come where the input has them, and the phases to forecast.

    Where the input ends with the last observed phase, the rest of a cycle of ten phases is to be forecast.

    Raises:
        PhaseError: If there are fewer than two phases to observe, or nothing to forecast.
    """
    from rtmotion.sequence import Phase, cyclic_distance

    if observe != len(sequence):
        observed, truth = sequence.observe(observe)
        return observed, truth, truth.phases
    if observe < 2:
        raise PhaseError(f"a forecast needs at least 2 observed phases; the input has {observe} ({sequence.labels[0]})")
    cycle = [Phase.of_percent(100 * i / FULL_CYCLE) for i in range(FULL_CYCLE)]
    targets = tuple(
        phase
        for phase in cycle
        if phase.fraction > sequence.phases[-1].fraction
        and min(cyclic_distance(phase.fraction, f) for f in sequence.fractions) > 0.5 / FULL_CYCLE
    )
    if not targets:
        raise PhaseError(
            f"--observe {observe} leaves nothing to forecast: the input has {observe} phases up to "
            f"{sequence.labels[-1]}; take --observe 2 to {observe - 1}"
        )
    return sequence, None, targets


def make_forecast(
    method: Method,
    observed: "PhaseSequence",
    targets: "tuple[Phase, ...]",
    recording: "Recording | None",
    request: ForecastRequest,
    terminal: Terminal,
) -> "Forecast":
    """Builds the forecaster and runs it."""
    options: dict[str, Any] = {"device": request.device, "seed": request.seed, "adapt": request.adapt}
    options |= {"weights": request.weights, "calibration": request.calibration}
    options |= {
        name: value
        for name in ("samples", "steps", "lvm_weights", "plane")
        if (value := getattr(request, name)) is not None
    }
    with terminal.progress(method.name) as step:
        forecaster = method.create(**options, progress=step)
        forecast = forecaster.forecast(observed, targets, None if recording is None else recording.trace)
    terminal.warn(forecast.warnings)
    if terminal.verbose:
        terminal.say("seconds: " + ", ".join(f"{stage} {s:.1f}" for stage, s in forecast.seconds.items()))
    return forecast if recording is None else replace(forecast, warnings=(*forecast.warnings, *recording.warnings))


def score(
    forecast: "Forecast", truth: "PhaseSequence | None", observed: "PhaseSequence", terminal: Terminal
) -> "tuple[MetricRow, ...]":
    """The metrics against the true phases; none where the input does not have them."""
    from rtmotion.evaluation.protocol import evaluate

    if truth is None:
        return ()
    with terminal.progress("scoring against the true phases"):
        return tuple(evaluate(forecast, truth, observed))


def describe(
    forecast: "Forecast",
    observed: "PhaseSequence",
    truth: "PhaseSequence | None",
    case: Case,
    metrics: "tuple[MetricRow, ...]",
    request: ForecastRequest,
    terminal: Terminal,
) -> "ReportData":
    """What the report shows."""
    from rtmotion.report import collect_forecast

    info = {
        "case": case.found.name,
        "format": case.found.format,
        "device": request.device,
        "seed": request.seed,
        "versions": versions(),
        "options": {
            "method": request.method,
            "observe": request.observe,
            "samples": request.samples,
            "steps": request.steps,
            "lvm_weights": None if request.lvm_weights is None else request.lvm_weights.name,
            "plane": request.plane,
            "trace": None if request.trace is None else request.trace.name,
            "adapt": request.adapt,
            "weights": None if request.weights is None else request.weights.name,
            "calibration": None if request.calibration is None else request.calibration.name,
        },
        "warnings": case.found.warnings,
    }
    with terminal.progress("building the report"):
        return collect_forecast(forecast, observed, truth, metrics, info)


def write(
    out: Path,
    forecast: "Forecast",
    observed: "PhaseSequence",
    case: Case,
    metrics: "tuple[MetricRow, ...]",
    report: "ReportData",
    request: ForecastRequest,
    terminal: Terminal,
) -> None:
    """The files of a forecast, and its report."""
    from rtmotion.report import save_report_data, write_forecast_report
    from rtmotion_data.writers.forecast import write_forecast

    former = _listed_outputs(out)
    with terminal.progress(f"writing {out}"):
        write_forecast(
            out,
            forecast,
            observed,
            case.found,
            metrics=metrics,
            device=request.device,
            seed=request.seed,
            versions=versions(),
        )
        remove_stale(out, former, _listed_outputs(out))
        save_report_data(out, report)
        write_forecast_report(out / "report.html", report)


def _listed_outputs(folder: Path) -> list[str]:
    """The files that forecast.json of a folder lists; none where there is none."""
    try:
        outputs = json.loads((folder / "forecast.json").read_text(encoding="utf-8"))["outputs"]
        return [str(o[key]) for o in outputs for key in ("volume", "displacement", "uncertainty") if o.get(key)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _read_trace(path: Path | None) -> "Recording | None":
    if path is None:
        return None
    from rtmotion_data.traces import read_recording

    return read_recording(path)
