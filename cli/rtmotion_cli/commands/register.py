"""`rtmotion register`: displacement fields from a reference phase to all others."""

from pathlib import Path
from typing import Annotated

import typer

from rtmotion_cli.landmark_run import SHOWN, TABLE, shown_rows
from rtmotion_cli.options import Device, InputPath, Json, Phases, Quiet, Seed, Study, Verbose, resolve_device
from rtmotion_cli.registration_run import NATIVE, RegistrationRequest, run_registration
from rtmotion_cli.terminal import Terminal, write_json, write_line, write_table


def register(
    path: InputPath,
    method: Annotated[
        str, typer.Option("--method", help="Name of a registration engine; rtmotion methods lists them.")
    ] = NATIVE,
    reference: Annotated[
        str | None,
        typer.Option("--reference", metavar="LABEL", help="The phase the fields point to.  [default: first]"),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            metavar="lung|body|FILE",
            help="Where the images are compared: the lungs and 10 mm around, the body, or where a file is not 0.  "
            "[default: what the engine finds best]",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="FILE", help="Weights, for an engine whose weights you bring (unigradicon)."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to write.  [default: CASE_fields]")
    ] = None,
    landmarks: Annotated[
        Path | None,
        typer.Option(
            "--landmarks", metavar="PATH", help="Landmarks of DIR-Lab, POPI or landmarks.csv.  [default: own]"
        ),
    ] = None,
    study: Study = None,
    phases: Phases = None,
    json: Json = False,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Registers every phase to a reference: dvf_NN.mha (mm, LPS, phase NN to reference) and register.json."""
    request = RegistrationRequest(
        tuple(path), method, reference, out, study, phases, resolve_device(device), seed, landmarks, mask, weights
    )
    summary = run_registration(request, Terminal(quiet, verbose))
    if json:
        write_json(summary)
        return
    columns = ("phase", "mean_displacement", "mae_before", "mae", "folding")
    rows = [(row["phase"], *(f"{row[c]:.3g}" for c in columns[1:])) for row in summary["fields"]]
    write_table(("phase", "moved (mm)", "MAE before (HU)", "MAE (HU)", "folding (%)"), rows, columns)
    if summary["landmarks"]:
        write_line("landmark errors (mm): fixed phase carried to the moving one; LR, AP, SI are mean absolute errors")
        write_table(SHOWN, shown_rows(summary["landmarks"]), SHOWN[2:])
        write_line(f"every landmark: {Path(summary['folder']) / TABLE}")
    write_line(f"fields: {summary['folder']}")
