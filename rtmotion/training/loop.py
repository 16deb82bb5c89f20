"""The training loop: Lightning Fabric, an average of the weights, checkpoints that a killed run goes on from."""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import rtmotion
from rtmotion.errors import ReadError, RtmotionError, WriteError
from rtmotion.training.log import TrainingLog
from rtmotion.training.pool import Pool
from rtmotion.training.recipe import Finishing, Recipe
from rtmotion.weights import save_weights

CHECKPOINT = "checkpoint.pt"
Progress = Callable[[str, int, int], None]
"""Called with a stage's name, steps done and steps in all."""


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how fast.

    Attributes:
        steps: Steps of the optimiser (of each process, where there are several).
        seed: Of the initial weights, the examples and the patients.
        rate: Learning rate of AdamW after the warm-up; it falls to a hundredth along a cosine.
        warmup: Steps of the warm-up.
        weight_decay: Of AdamW.
        clip: Largest norm of the gradient.
        average: Share of the past in the running average of the weights, which is what is validated and saved.
        pool: Patients that examples are drawn from.
        steps_each: Steps between one new patient and the next.
        report_every: Steps between rows of the log.
        validate_every: Steps between validations; a checkpoint is written at each.
        precision: Fabric's: `32-true`, or `bf16-mixed` on CUDA.
    """

    steps: int = 4000
    seed: int = 0
    rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 1e-4
    clip: float = 1.0
    average: float = 0.998
    pool: int = 12
    steps_each: int = 10
    report_every: int = 20
    validate_every: int = 500
    precision: str = "32-true"

    def __post_init__(self) -> None:
        for name in ("steps", "pool", "steps_each", "report_every", "validate_every"):
            if getattr(self, name) < 1:
                raise RtmotionError(f"{name} of a training must be at least 1, got {getattr(self, name)}")

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def train(
    recipe: Recipe[Any, Any, Any],
    patients: Callable[[int, int], Iterator[Any]],
    validation: Sequence[Any],
    config: TrainingConfig,
    out: Path,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Path:
    """Trains a network, or goes on with a training that was stopped.

    Under `torchrun` every process trains on patients of its own and the gradients are averaged (DDP).

    Args:
        recipe: The network, what it is shown and what it is told.
        patients: The endless stream of patients from a number on, every n-th; the same number gives the same patient.
        validation: Patients that are not trained on.
        config: How long and how fast.
        out: Folder for `checkpoint.pt`, `log.csv` and `<name>.safetensors`; it is made.
        device: `cpu`, `cuda` or `cuda:N`.
        progress: Told of each step.

    Returns:
        The weights file.

    Raises:
        ReadError: If the folder holds the checkpoint of another training.
        WriteError: If the system refuses to write.
        RtmotionError: If the loss is no number any more.
    """
    fabric = _fabric(device, config.precision)
    fabric.launch()
    _make(out)
    torch.manual_seed(config.seed)
    network = recipe.build()
    averaging = partial(_average, most=config.average)
    average = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=averaging).to(fabric.device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=config.weight_decay)
    trained, optimiser = fabric.setup(network, optimiser)
    random = torch.Generator().manual_seed(config.seed * 1000 + fabric.global_rank)
    state = {"network": trained, "average": average, "optimiser": optimiser}
    counts = _resume(fabric, out / CHECKPOINT, state, random, recipe.name, config)

    ranks, rank = fabric.world_size, fabric.global_rank
    pool = Pool(recipe, lambda n: patients(n * ranks + rank, ranks), config.pool, config.steps_each, counts.step)
    log = TrainingLog(out / "log.csv", counts.step) if rank == 0 else None
    started = time.perf_counter() - counts.seconds
    for step in range(counts.step, config.steps):
        for group in optimiser.param_groups:
            group["lr"] = config.rate_at(step)
        losses = recipe.loss(trained, pool.draw(random))
        if not torch.isfinite(losses["loss"]):
            raise RtmotionError(
                f"the loss is no number any more at step {step}; lower the rate and start in a new folder"
            )
        optimiser.zero_grad()
        fabric.backward(losses["loss"])
        fabric.clip_gradients(trained, optimiser, max_norm=config.clip)
        optimiser.step()
        average.update_parameters(network)
        done = step + 1
        seconds = time.perf_counter() - started
        if log is not None:
            log.add({name: float(value.detach()) for name, value in losses.items()})
            if done % config.report_every == 0 or done == config.steps:
                log.write(done, seconds, pool.made, config.rate_at(step))
        if done % config.validate_every == 0 or done == config.steps:
            if log is not None:
                with fabric.autocast():
                    log.write_validation(done, _validate(recipe, average.module, validation))
            here = {"step": done, "seconds": time.perf_counter() - started}
            _save(fabric, out / CHECKPOINT, state, random, recipe.name, config, here)
        if progress is not None:
            progress(f"loss {float(losses['loss'].detach()):.3f}", done, config.steps)
    path = out / f"{recipe.name}.safetensors"
    if rank == 0:
        if isinstance(recipe, Finishing):
            with fabric.autocast():
                recipe.finish(average.module.eval(), validation)
        metadata = {"network": recipe.name, "steps": str(config.steps), "seed": str(config.seed)}
        save_weights(average.module.state_dict(), path, metadata | {"rtmotion": rtmotion.__version__})
    return path


@dataclass(frozen=True)
class Counts:
    """How far a training has come."""

    step: int = 0
    seconds: float = 0.0


def _fabric(device: str, precision: str) -> Any:
    from lightning_fabric import Fabric

    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    kind, _, index = device.partition(":")
    devices: Any = "auto" if several else [int(index)] if index else 1
    if several and kind == "cpu":
        devices = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    strategy = "ddp" if several else "auto"
    return Fabric(accelerator=kind, devices=devices, strategy=strategy, precision=precision)  # type: ignore[arg-type]


def _average(
    averaged: Sequence[torch.Tensor], current: Sequence[torch.Tensor], done: torch.Tensor, most: float
) -> None:
    """Moves the running average of the weights: of few steps at first, so that the initial weights are soon gone."""
    share = min(most, (1 + float(done)) / (10 + float(done)))
    for old, new in zip(averaged, current, strict=True):
        old.lerp_(new, 1 - share)


def _validate(recipe: Recipe[Any, Any, Any], network: nn.Module, patients: Sequence[Any]) -> dict[str, float]:
    """The scores of the averaged network, mean over the patients."""
    network.eval()
    scores = [recipe.validate(network, patient) for patient in patients]
    network.train()
    return {name: sum(s[name] for s in scores) / len(scores) for name in (scores[0] if scores else {})}


def _save(
    fabric: Any, path: Path, state: Any, random: torch.Generator, name: str, config: TrainingConfig, counts: Any
) -> None:
    """Writes the checkpoint beside its place, then renames it."""
    beside = path.with_name(f".{path.name}.new")
    about = {"counts": counts, "random": random.get_state(), "about": _about(name, config)}
    try:
        fabric.save(beside, {**state, **about})
        if fabric.global_rank == 0:
            beside.replace(path)
        fabric.barrier()
    except OSError as error:
        raise WriteError(f"{path}: the checkpoint cannot be written ({error.strerror or error})") from error


def _resume(fabric: Any, path: Path, state: Any, random: torch.Generator, name: str, config: TrainingConfig) -> Counts:
    """Loads the checkpoint where there is one."""
    if not path.is_file():
        return Counts()
    try:
        rest = fabric.load(path, state, weights_only=True)
        other = rest["about"] != _about(name, config)
        counts, drawn = Counts(**rest["counts"]), rest["random"]
    except Exception as error:
        raise ReadError(
            f"{path}: no checkpoint of this training ({error}); remove it or choose another --out"
        ) from error
    if other:
        raise ReadError(f"{path}: the checkpoint of a training with other settings; choose another --out")
    random.set_state(drawn)
    return counts


def _about(name: str, config: TrainingConfig) -> dict[str, Any]:
    """What must be the same for a training to go on."""
    return {"name": name, **asdict(config)}


def _make(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{out}: the folder cannot be made ({error.strerror or error})") from error
