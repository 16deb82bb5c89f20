"""`rtmotion phantom`: a synthetic breathing patient with exact displacement fields."""

from pathlib import Path
from typing import Annotated

import typer

from rtmotion_cli.options import Device, Json, Quiet, Seed, Verbose, resolve_device
from rtmotion_cli.phantom_run import PhantomRequest, run_phantom
from rtmotion_cli.terminal import Terminal, write_json, write_line


def phantom(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write.", show_default=False)],
    phases: Annotated[int, typer.Option("--phases", min=2, max=50, help="Phases of the cycle.")] = 10,
    size: Annotated[tuple[int, int, int], typer.Option("--size", metavar="X Y Z", help="Voxels along x, y and z.")] = (
        128,
        96,
        96,
    ),
    spacing: Annotated[str, typer.Option("--spacing", metavar="MM[,MM,MM]", help="Voxel spacing, mm.")] = "3",
    image_format: Annotated[
        str, typer.Option("--format", metavar="nifti|dicom", help="How to write the phases.")
    ] = "nifti",
    json: Json = False,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Writes a synthetic breathing patient with exact displacement fields, landmarks and masks to OUT."""
    request = PhantomRequest(out, phases, size, spacing, image_format, resolve_device(device), seed)
    summary = run_phantom(request, Terminal(quiet, verbose))
    if json:
        write_json(summary)
    else:
        write_line(f"phantom: {summary['folder']}")
