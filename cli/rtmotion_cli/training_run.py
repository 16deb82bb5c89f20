"""`rtmotion train`: joins a network's recipe with the stream of synthetic patients that it is trained on."""

import dataclasses
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from rtmotion.errors import UnknownNameError
from rtmotion_cli.output_folder import check_output
from rtmotion_cli.terminal import Terminal
from rtmotion_cli.training_patients import Geometry, PatientSource

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
    """

    summary: str
    target: str
    training: dict[str, Any]
    patients: dict[str, Any]
    geometries: tuple[Geometry, ...] = ()
    validation: int = 6
    prepare: str | None = None


NETWORKS = {
    "video": NetworkRecipe(
        "the video model, on which the default method stands",
        "rtmotion.video.recipe:VideoRecipe",
        {
            "steps": 5000,
            "steps_each": 36,
            "pool": 150,
            "rate": 6e-4,
            "weight_decay": 0.01,
            "precision": "bf16-mixed",
        },
        {"random_start": True},
        SPACINGS,
        validation=8,
        prepare="rtmotion.video.prepared:prepare",
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
    """

    network: str
    out: Path
    steps: int | None = None
    device: str = "cpu"
    seed: int = 0
    workers: int = 0


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
    started = time.perf_counter()
    validation = []
    with terminal.progress("making the patients to validate on") as step:
        for number in range(network.validation):
            validation.append(held_out[number])
            step("patients", len(validation), network.validation)
    with terminal.progress(f"training {request.network}") as step:
        weights = train(recipe, training.stream, validation, config, request.out, device=request.device, progress=step)
    return {
        "network": request.network,
        "weights": str(weights),
        "sha256": sha256(weights),
        "bytes": weights.stat().st_size,
        "training": dataclasses.asdict(config),
        "seconds": time.perf_counter() - started,
    }
