"""`rtmotion calibrate`: the uncertainty made right on your own cases."""

from pathlib import Path
from typing import Annotated

import typer

from rtmotion_cli.calibration_run import CalibrationRequest, run_calibration
from rtmotion_cli.options import Device, Json, Quiet, Seed, Verbose, parse_observe, resolve_device
from rtmotion_cli.terminal import Terminal, write_json, write_line, write_table


def calibrate(
    path: Annotated[
        list[Path], typer.Argument(metavar="CASE...", help="4D CTs with all their phases.", show_default=False)
    ],
    observe: Annotated[
        str, typer.Option("--observe", metavar="K[,K2,...]", help="For how many observed phases.")
    ] = "3,5,7",
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write.")] = Path("calibration.json"),
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Weights of the video model, from rtmotion train video."),
    ] = None,
    json: Json = False,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Learns from your own 4D CT how far the video model's uncertainty is to be stretched.

    Every case is forecast from its first phases and held against the registration of its whole cycle; the file is for
    forecast --calibration. With fewer than ten cases the largest factor is taken.
    """
    request = CalibrationRequest(tuple(path), tuple(parse_observe(observe)), out, resolve_device(device), seed, weights)
    summary = run_calibration(request, Terminal(quiet, verbose))
    if json:
        write_json(summary)
        return
    rows = [(r["case"], str(r["observe"]), f"{r['factor']:.2f}") for r in summary["cases"]]
    write_table(("case", "observed", "factor of the uncertainty"), rows, ("observed", "factor"))
    write_line(f"calibration: {summary['calibration']}")
