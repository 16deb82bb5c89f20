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
from rtmotion_cli.output_folder import check_output
from rtmotion_cli.terminal import Terminal
from rtmotion_cli.training_patients import CaseSource, Geometry, PatientSource

Stream = Callable[[int, int], Iterator[Any]]
"""Patients from a number on, every n-th."""

TRAINING_SEEDS = 1_000_000
"""Patients to train on have seeds from here on; those of comparisons and benchmarks lie below."""

VALIDATION_SEEDS = 500_000
"""Patients to validate on have seeds from here on."""


SPACINGS: tuple[Geometry, ...] = (
    ((88, 72, 72), (4.0, 4.0, 4.0)),
    ((88, 72, 58), (4.0, 4.0, 5.0)),
    ((70, 58, 48), (5.0, 5.0, 6.0)),
    ((70, 58, 58), (5.0, 5.0, 5.0)),
    ((78, 64, 48), (4.5, 4.5, 6.0)),
)
"""The same field of view, about 350 × 290 × 290 mm, at spacings that register quickly."""


@dataclass(frozen=True)
class NetworkRecipe:
    """How the shipped weights of a network were made.

    Attributes:
        summary: One line.
        target: `module:class` of its recipe; see `rtmotion.training.Recipe`.
        training: Settings that differ from the defaults of `rtmotion.training.TrainingConfig`.
        patients: Settings that differ from the defaults of `rtmotion_data.phantom.PhantomConfig`.
        geometries: Sizes and spacings (mm) along x, y, z that the patients take in turn; none takes those of
            `patients`.
        validation: Number of patients to validate on.
        prepare: `module:function` that makes of a patient what is kept of it on the disk, where that is slow; None
            keeps nothing there.
        tuning: Settings of a fine-tuning on cases that differ from the defaults of
            `rtmotion.training.TrainingConfig`; None where the network cannot be tuned.
    """

    summary: str
    target: str
    training: dict[str, Any]
    patients: dict[str, Any]
    geometries: tuple[Geometry, ...] = ()
    validation: int = 6
    prepare: str | None = None
    tuning: dict[str, Any] | None = None


NETWORKS = {
    "video": NetworkRecipe(
        "the video model, on which the default method stands",
        "rtmotion.video.recipe:VideoRecipe",
        {
            "steps": 2500,
            "steps_each": 18,
            "pool": 150,
            "rate": 6e-4,
            "weight_decay": 0.01,
            "precision": "bf16-mixed",
        },
        {"random_start": True},
        SPACINGS,
        validation=8,
        prepare="rtmotion.video.prepared:prepare",
        tuning={"steps": 200, "rate": 1e-4, "warmup": 20, "average": 0.98, "validate_every": 50},
    ),
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
        workers: Processes that make patients ahead of time.
        cases: Real 4D CTs to go on with from the shipped weights; none trains on synthetic patients.
    """

    network: str
    out: Path
    steps: int | None = None
    device: str = "cpu"
    seed: int = 0
    workers: int = 0
    cases: tuple[Path, ...] = ()


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
    recipe = getattr(import_module(module), attribute)(**({"start": "shipped"} if request.cases else {}))
    if request.cases:
        stream, validation = real_cases(request, terminal)
    else:
        stream, validation = synthetic_patients(network, request, terminal)
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


def synthetic_patients(
    network: NetworkRecipe, request: TrainingRequest, terminal: Terminal
) -> tuple[Stream, list[Any]]:
    """The stream to train on, and the patients to validate on."""
    from rtmotion_data.phantom import PhantomConfig

    training = PatientSource(
        PhantomConfig(**network.patients),
        TRAINING_SEEDS * (1 + request.seed),
        network.geometries,
        network.prepare,
        request.out / "patients",
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
