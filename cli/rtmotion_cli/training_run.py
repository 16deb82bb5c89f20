"""`rtmotion train`: joins a network's recipe with the stream of synthetic patients that it is trained on."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from rtmotion.errors import RtmotionError, UnknownNameError
from rtmotion_cli.cases import read_case
from rtmotion_cli.networks import NETWORKS, NetworkRecipe
from rtmotion_cli.output_folder import check_output
from rtmotion_cli.terminal import Terminal
from rtmotion_cli.training_patients import CaseSource, PatientSource

Stream = Callable[[int, int], Iterator[Any]]
"""Patients from a number on, every n-th."""

TRAINING_SEEDS = 1_000_000
"""Patients to train on have seeds from here on; those of comparisons and benchmarks lie below."""

VALIDATION_SEEDS = 500_000
"""Patients to validate on have seeds from here on."""


@dataclass(frozen=True)
class TrainingRequest:
    """What the user asked for.

    Attributes:
        network: Name of the network.
        out: Output folder; a training that was stopped there goes on.
        steps: Steps of the optimiser; None takes the recipe's.
        device: Torch device.
        seed: Of weights, examples and patients.
        workers: Processes that make patients ahead of time.
        cases: Real 4D CTs to go on with from the shipped weights; none trains on synthetic patients.
        patients: Folder of what is kept of the patients, which trainings may share; None takes one in `out`.
    """

    network: str
    out: Path
    steps: int | None = None
    device: str = "cpu"
    seed: int = 0
    workers: int = 0
    cases: tuple[Path, ...] = ()
    patients: Path | None = None


def run_training(request: TrainingRequest, terminal: Terminal) -> dict[str, Any]:
    """Trains a network on synthetic patients.

    Returns:
        The network, the weights file, its hash and size, the settings and the seconds of this run.

    Raises:
        RtmotionError: If there is no such network, or the output folder is of no use.
    """
    if request.network not in NETWORKS:
        raise UnknownNameError("network", request.network, list(NETWORKS))
    check_output(request.out)

    from rtmotion.training import TrainingConfig, train
    from rtmotion.weights import sha256

    network = NETWORKS[request.network]
    if request.cases and network.tuning is None:
        raise RtmotionError(f"--cases: {request.network} is not tuned on cases; leave it out")
    module, _, attribute = network.target.partition(":")
    steps = {} if request.steps is None else {"steps": request.steps}
    tuning = (network.tuning or {}) if request.cases else network.training
    config = TrainingConfig(**{**tuning, **steps, "seed": request.seed})
    started = time.perf_counter()
    recipe = getattr(import_module(module), attribute)(
        **network.options, **({"start": "shipped"} if request.cases else {})
    )
    if request.cases:
        stream, validation = real_cases(request, terminal)
    else:
        stream, validation = synthetic_patients(network, request, terminal)
    with terminal.progress(f"training {request.network}") as step:
        weights = train(recipe, stream, validation, config, request.out, device=request.device, progress=step)
    if network.layout is not None:
        module, _, attribute = network.layout.partition(":")
        getattr(import_module(module), attribute)(recipe, weights, request.out)
    return {
        "network": request.network,
        "weights": str(weights),
        "sha256": sha256(weights),
        "bytes": weights.stat().st_size,
        "training": dataclasses.asdict(config),
        "seconds": time.perf_counter() - started,
    }


def synthetic_patients(
    network: NetworkRecipe, request: TrainingRequest, terminal: Terminal
) -> tuple[Stream, list[Any]]:
    """The stream to train on, and the patients to validate on."""
    from rtmotion_data.phantom import PhantomConfig

    training = PatientSource(
        PhantomConfig(**network.patients),
        TRAINING_SEEDS * (1 + request.seed),
        network.geometries,
        network.mixed_starts,
        network.prepare,
        request.patients or request.out / "patients",
        request.device,
        request.workers,
    )
    held_out = dataclasses.replace(training, seeds=VALIDATION_SEEDS, workers=0)
    validation = []
    with terminal.progress("making the patients to validate on") as step:
        for number in range(network.validation):
            validation.append(held_out[number])
            step("patients", len(validation), network.validation)
    return training.stream, validation


def real_cases(request: TrainingRequest, terminal: Terminal) -> tuple[Stream, list[Any]]:
    """The cases to train on, and the last of three or more to validate on; of fewer, none is held out.

    Raises:
        RtmotionError: If a case cannot be read or has fewer than four phases.
    """
    from rtmotion.video.prepared import prepare_case

    prepared = []
    for path in request.cases:
        sequence = read_case([path], terminal).sequence
        if len(sequence) < 4:
            raise RtmotionError(f"{path}: fine-tuning needs at least 4 phases of a cycle, got {len(sequence)}")
        with terminal.progress(f"registering {path.name}"):
            prepared.append(prepare_case(sequence.to(request.device)))
    if len(prepared) < 3:
        terminal.warn([f"{len(prepared)} case(s): none is held out, so nothing tells whether the weights got better"])
        return CaseSource(tuple(prepared)).stream, []
    return CaseSource(tuple(prepared[:-1])).stream, prepared[-1:]
