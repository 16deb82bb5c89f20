"""`rtmotion forecast`: the phases after the first K."""

from pathlib import Path
from typing import Annotated

import typer

from rtmotion.errors import RtmotionError
from rtmotion_cli.forecasting_run import ForecastRequest, ForecastResult, run_forecast
from rtmotion_cli.options import (
    Device,
    InputPath,
    Json,
    Phases,
    Quiet,
    Seed,
    Study,
    Verbose,
    parse_observe,
    resolve_device,
)
from rtmotion_cli.terminal import Terminal, write_json, write_line, write_table

SHOWN_METRICS = ("mae", "psnr", "ssim", "tre_mean")


def forecast(
    path: InputPath,
    observe: Annotated[str, typer.Option("--observe", metavar="K", help="How many phases are given: the first K.")],
    method: Annotated[str, typer.Option("--method", help="A name from: rtmotion methods.")] = "video",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write.  [default: CASE_forecast]")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option("--trace", metavar="FILE", help="A breathing trace that covers all phases.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=2, metavar="N", help="Samples behind the uncertainty.")
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, metavar="N", help="Steps of a method that draws images step by step."),
    ] = None,
    adapt: Annotated[
        bool,
        typer.Option("--adapt/--no-adapt", help="Find out from the observed phases how far to trust the network."),
    ] = True,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Weights of a network, from rtmotion train."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option("--calibration", metavar="FILE", help="Stretches the uncertainty: from rtmotion calibrate."),
    ] = None,
    lvm_weights: Annotated[
        Path | None,
        typer.Option("--lvm-weights", metavar="FOLDER", help="Tokenizer and transformer of a large vision model."),
    ] = None,
    plane: Annotated[
        str | None,
        typer.Option("--plane", metavar="PLANE", help="Slices of a large vision model: axial|coronal|sagittal|fused."),
    ] = None,
    study: Study = None,
    phases: Phases = None,
    json: Json = False,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Forecasts the phases after the first K: volumes, displacement fields, uncertainty and a report."""
    counts = parse_observe(observe)
    if len(counts) != 1:
        raise RtmotionError(f"forecast takes one --observe, got {observe!r}; for several use rtmotion compare")
    request = ForecastRequest(
        tuple(path),
        counts[0],
        method,
        out,
        trace,
        samples,
        study,
        phases,
        resolve_device(device),
        seed,
        adapt,
        weights,
        calibration,
        steps,
        lvm_weights,
        plane,
    )
    result = run_forecast(request, Terminal(quiet, verbose))
    show_json(result) if json else show(result)


def show(result: ForecastResult) -> None:
    """The score as a table, and where the report is."""
    phases = [p.label for p in result.forecast.targets]
    rows = []
    for region, metric, unit in dict.fromkeys((m.region, m.metric, m.unit) for m in result.metrics):
        if metric in SHOWN_METRICS:
            by_phase = {m.phase: m.value for m in result.metrics if (m.region, m.metric) == (region, metric)}
            values = [f"{by_phase[p]:.4g}" if p in by_phase else "" for p in phases]
            rows.append((region, f"{metric} ({unit})" if unit else metric, *values))
    if rows:
        write_table(("region", "metric", *phases), rows, phases)
    write_line(f"report: {result.folder / 'report.html'}")


def show_json(result: ForecastResult) -> None:
    """What forecast.json holds, and the folder."""
    import json

    written = json.loads((result.folder / "forecast.json").read_text(encoding="utf-8"))
    write_json({"folder": str(result.folder), **written})
