"""The networks that `rtmotion train` makes, and how: imports nothing heavy."""

from dataclasses import dataclass, field
from typing import Any

from rtmotion_cli.training_patients import Geometry

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
        options: Settings of the recipe that differ from its defaults.
        geometries: Sizes and spacings (mm) along x, y, z that the patients take in turn; none takes those of
            `patients`.
        mixed_starts: Whether half of the patients start at end-inhale and half anywhere in the cycle.
        validation: Number of patients to validate on.
        prepare: The module that makes of a patient what is kept of it on the disk, where that is slow, see
            `rtmotion_cli.training_patients.PatientSource`; None keeps nothing there.
        layout: `module:function` that lays trained weights out as another command takes them, called with the recipe,
            the weights file and the output folder; None for what is one file.
        tuning: Settings of a fine-tuning on cases that differ from the defaults of
            `rtmotion.training.TrainingConfig`; None where the network cannot be tuned.
    """

    summary: str
    target: str
    training: dict[str, Any]
    patients: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    geometries: tuple[Geometry, ...] = ()
    mixed_starts: bool = False
    validation: int = 6
    prepare: str | None = None
    layout: str | None = None
    tuning: dict[str, Any] | None = None


GENERATIVE = "rtmotion_baselines.generative"


BUDGET = {"pool": 160, "rate": 6e-4, "weight_decay": 0.01, "precision": "bf16-mixed"}
"""Of the generative baselines; their steps take a quarter of an hour on one core."""


def _images(name: str, summary: str, network: str, steps: int, **options: Any) -> NetworkRecipe:
    """A generative baseline that predicts images."""
    return NetworkRecipe(
        summary,
        f"{GENERATIVE}.image_recipe:ImageRecipe",
        {**BUDGET, "steps": steps, "steps_each": steps // 160, "validate_every": steps // 4},
        {},
        {"name": name, "network": f"{GENERATIVE}.{network}", **options},
        SPACINGS,
        mixed_starts=True,
        validation=4,
        prepare=f"{GENERATIVE}.image_patients",
    )


def _lvm(summary: str, target: str, layout: str, **training: Any) -> NetworkRecipe:
    """A part of lvm-mini, on the patients of the generative baselines."""
    return NetworkRecipe(
        summary,
        f"rtmotion.lvm.{target}",
        {"pool": 160, "weight_decay": 0.01, "precision": "bf16-mixed", **training},
        {},
        geometries=SPACINGS,
        mixed_starts=True,
        validation=4,
        prepare=f"{GENERATIVE}.image_patients",
        layout=f"rtmotion.lvm.layout:{layout}",
    )


def _fields(name: str, summary: str, network: str, steps: int) -> NetworkRecipe:
    """A generative baseline over registered motion, on the patients of the video model."""
    return NetworkRecipe(
        summary,
        f"{GENERATIVE}.fields:FieldRecipe",
        {**BUDGET, "steps": steps, "steps_each": steps // 80, "validate_every": steps // 4},
        {},
        {"name": name, "network": f"{GENERATIVE}.{network}"},
        SPACINGS,
        mixed_starts=True,
        validation=4,
        prepare="rtmotion.video.prepared",
    )


NETWORKS = {
    "video": NetworkRecipe(
        "the video model, on which the default method stands",
        "rtmotion.video.recipe:VideoRecipe",
        {
            "steps": 3600,
            "steps_each": 45,
            "pool": 80,
            "rate": 6e-4,
            "weight_decay": 0.01,
            "precision": "bf16-mixed",
        },
        {},
        geometries=SPACINGS,
        mixed_starts=True,
        validation=4,
        prepare="rtmotion.video.prepared",
        tuning={"steps": 200, "rate": 1e-4, "warmup": 20, "average": 0.98, "validate_every": 50},
    ),
    "voxelmorph": NetworkRecipe(
        "the registration network of the baselines voxelmorph and voxelmorph-optimised",
        "rtmotion_baselines.registration.voxelmorph_training:VoxelMorphRecipe",
        {"steps": 5000, "steps_each": 16, "pool": 16},
        {"size": (88, 72, 72), "spacing": (4.0, 4.0, 4.0), "random_start": True},
    ),
    "convlstm": _fields("convlstm", "fields carried on by a recurrent network", "convlstm:ConvLstm", 2100),
    "adversarial": _fields("adversarial", "fields drawn against a discriminator", "adversarial:Adversarial", 1200),
    "simvp": _images("simvp", "generic video network, images without fields", "simvp:SimVp", 8400, targets=9),
    "diffusion": _images("diffusion", "conditional diffusion of images", "diffusion:Diffusion", 4100),
    "flow-matching": _images("flow-matching", "temporal flow matching of images", "diffusion:FlowMatching", 4500),
    "lvm-tokenizer": _lvm(
        "pictures to tokens and back, of the shipped large vision model",
        "tokenizer_recipe:TokenizerRecipe",
        "tokenizer_folder",
        steps=10000,
        steps_each=60,
        rate=1e-3,
        validate_every=2000,
    ),
    "lvm-transformer": _lvm(
        "the transformer that speaks the shipped tokenizer's tokens",
        "sentence_recipe:SentenceRecipe",
        "model_folder",
        steps=2200,
        steps_each=14,
        rate=3e-4,
        warmup=50,
        average=0.99,
        validate_every=200,
    ),
}
"""The networks that can be trained, by name."""
