"""`rtmotion train`: joins a network's recipe with the stream of synthetic patients that it is trained on."""

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtmotion.errors import UnknownNameError
from rtmotion_cli.output_folder import check_output
from rtmotion_cli.terminal import Terminal

if TYPE_CHECKING:
    from rtmotion_data.phantom import PhantomConfig, PhantomTensors

TRAINING_SEEDS = 1_000_000
"""Patients to train on have seeds from here on; those of comparisons and benchmarks lie below."""

VALIDATION_SEEDS = 500_000
"""Patients to validate on have seeds from here on."""


@dataclass(frozen=True)
class NetworkRecipe:
    """How the shipped weights of a network were made.

    Attributes:
        summary: One line.
        target: `module:class` of its recipe; see `rtmotion.training.Recipe`.
        training: Settings that differ from the defaults of `rtmotion.training.TrainingConfig`.
        patients: Settings that differ from the defaults of `rtmotion_data.phantom.PhantomConfig`.
        validation: Number of patients to validate on.
    """

    summary: str
    target: str
    training: dict[str, Any]
    patients: dict[str, Any]
    validation: int = 6


NETWORKS = {
    "voxelmorph": NetworkRecipe(
        "the registration network of the baselines voxelmorph and voxelmorph-optimised",
        "rtmotion_baselines.registration.voxelmorph_training:VoxelMorphRecipe",
        {"steps": 5000, "steps_each": 16, "pool": 16},
        {"size": (88, 72, 72), "spacing": (4.0, 4.0, 4.0), "random_start": True},
    ),
}
"""The networks that can be trained, by name."""


@dataclass(frozen=True)
class TrainingRequest:
    """What the user asked for.

    Attributes:
        network: Name of the network.
        out: Output folder; a training that was stopped there goes on.
        steps: Steps of the optimiser; None takes the recipe's.
        device: Torch device.
        seed: Of weights, examples and patients.
    """

    network: str
    out: Path
    steps: int | None = None
    device: str = "cpu"
    seed: int = 0


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
    from rtmotion_data.phantom import PhantomConfig

    network = NETWORKS[request.network]
    module, _, attribute = network.target.partition(":")
    recipe = getattr(import_module(module), attribute)()
    steps = {} if request.steps is None else {"steps": request.steps}
    config = TrainingConfig(**{**network.training, **steps, "seed": request.seed})
    patients = PhantomConfig(**network.patients)
    started = time.perf_counter()
    first = TRAINING_SEEDS * (1 + request.seed)
    stream = partial(training_patients, patients, request.device, first)
    validation = []
    with terminal.progress("making the patients to validate on") as step:
        for patient in islice(training_patients(patients, request.device, VALIDATION_SEEDS, 0), network.validation):
            validation.append(patient)
            step("patients", len(validation), network.validation)
    with terminal.progress(f"training {request.network}") as step:
        weights = train(recipe, stream, validation, config, request.out, device=request.device, progress=step)
    return {
        "network": request.network,
        "weights": str(weights),
        "sha256": sha256(weights),
        "bytes": weights.stat().st_size,
        "training": dataclasses.asdict(config),
        "seconds": time.perf_counter() - started,
    }


def training_patients(config: "PhantomConfig", device: str, seeds: int, first: int) -> "Iterator[PhantomTensors]":
    """Synthetic patients from number `first` on, of seeds counted from `seeds`; every other one is sorted perfectly."""
    from rtmotion_data.phantom import phantom_stream

    for number in count(first):
        drawn = dataclasses.replace(config, sorting_artefacts=number % 2 == 0)
        yield from phantom_stream([seeds + number], drawn, device)
