"""`rtmotion train`: the recipes of the shipped weights."""

from pathlib import Path
from typing import Annotated

import typer

from rtmotion_cli.networks import NETWORKS
from rtmotion_cli.options import Device, Json, Quiet, Seed, Verbose, resolve_device
from rtmotion_cli.terminal import Terminal, write_json, write_line
from rtmotion_cli.training_run import TrainingRequest, run_training


def train(
    network: Annotated[str, typer.Argument(metavar="[NETWORK]", help=f"Which one: {', '.join(NETWORKS)}.")] = "video",
    out: Annotated[
        Path, typer.Option("--out", help="The folder to write; a training that was stopped there goes on.")
    ] = Path("training"),
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps; by default the recipe's.")] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that make patients ahead of time.")] = 0,
    cases: Annotated[
        list[Path] | None,
        typer.Option("--cases", metavar="PATH", help="Your own 4D CT, to tune the shipped weights on."),
    ] = None,
    patients: Annotated[
        Path | None,
        typer.Option("--patients", help="Where prepared patients are kept, for trainings to share; by default in OUT."),
    ] = None,
    json: Json = False,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Trains a network on synthetic patients, as the shipped weights were: no patient data is needed.

    With --cases the shipped weights of the video model go on learning from your own 4D CT, on your machine.
    Writes the weights (safetensors), log.csv and checkpoint.pt. Several processes: torchrun -m rtmotion_cli train ...
    """
    request = TrainingRequest(network, out, steps, resolve_device(device), seed, workers, tuple(cases or ()), patients)
    summary = run_training(request, Terminal(quiet, verbose))
    if json:
        write_json(summary)
    else:
        write_line(f"weights: {summary['weights']}")
