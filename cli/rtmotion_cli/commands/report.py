"""`rtmotion report`: rebuilds report.html from what a run wrote."""

from pathlib import Path
from typing import Annotated

import typer

from rtmotion_cli.options import Json, Quiet, UnusedDevice, UnusedSeed, Verbose
from rtmotion_cli.report_run import rebuild_report
from rtmotion_cli.terminal import Terminal, write_json, write_line


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What forecast or compare wrote.", show_default=False)],
    json: Json = False,
    device: UnusedDevice = "auto",
    seed: UnusedSeed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Builds report.html in DIR again from the files that a run wrote there."""
    page = rebuild_report(folder, Terminal(quiet, verbose))
    if json:
        write_json({"report": str(page)})
    else:
        write_line(f"report: {page}")
