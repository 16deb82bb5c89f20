"""`rtmotion demo`: what `make demo` runs."""

from pathlib import Path
from typing import Annotated

import typer

from rtmotion_cli.demonstration import run_demonstration
from rtmotion_cli.options import Device, Json, Quiet, Seed, Verbose, resolve_device
from rtmotion_cli.terminal import Terminal, write_json, write_line


def demo(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = Path("out/demo"),
    json: Json = False,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Generates a patient, forecasts it, compares the forecast with quick baselines, and says where the reports are."""
    summary = run_demonstration(out, resolve_device(device), seed, Terminal(quiet, verbose))
    if json:
        write_json(summary)
    else:
        write_line(f"forecast: {summary['forecast']}")
        write_line(f"comparison: {summary['comparison']}")
