"""The forecaster of the generative baselines that predict images: one for all networks."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rtmotion.errors import RtmotionError
from rtmotion.evaluation.regions import body_mask
from rtmotion.field import resample
from rtmotion.forecasting import Forecast
from rtmotion.grid import Grid
from rtmotion.sequence import BreathingTrace, Phase, PhaseSequence, Volume
from rtmotion.types import ScalarVolume
from rtmotion_baselines.generative.clip import CELL_MM, clip_of, from_cells, image_grid
from rtmotion_baselines.generative.diffusion import TRAIN_STEPS
from rtmotion_baselines.generative.shipped import network_with
from rtmotion_baselines.generative.spread import sample_sd, scan_noise

TILE = 64
"""Cells along each axis that a network looks at at once: half a metre."""

AIR_HU = -1024.0

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ImageForecaster:
    """Asks a network how the last observed phase changes, as often as samples are wanted.

    The forecast is the mean of the samples. Changes are found at 4 mm, interpolated linearly to the volume's grid and
    added to the last observed phase: what the network leaves alone stays as sharp as it was scanned.

    Attributes:
        name: Name of the method.
        network: `module:class`, see `rtmotion_baselines.generative.image_recipe.ImageRecipe`.
        samples: How many samples are drawn; 1 for a network that draws nothing.
        steps: Of the sampler, where there is one; None takes the network's.
        seed: Of the samples.
        device: Torch device.
        tile: Cells along each axis that the network looks at at once.
        weights: A file of weights; None takes the shipped ones.
        progress: Called with a stage's name, steps done and steps in all.
    """

    name: str
    network: str
    samples: int = 1
    steps: int | None = None
    seed: int = 0
    device: str = "cpu"
    tile: int = TILE
    weights: Path | None = None
    progress: Progress | None = field(default=None, compare=False)

    def forecast(
        self, observed: PhaseSequence, targets: Sequence[Phase], trace: BreathingTrace | None = None
    ) -> Forecast:
        """See `rtmotion.forecasting.Forecaster`; a trace changes nothing."""
        started = time.perf_counter()
        values, image = self.draw(observed, targets)
        predicted = time.perf_counter()
        last, grid = observed.volumes[-1].to("cpu"), observed.grid
        changes = (resample(from_cells(v), image, grid) for v in values.mean(dim=0))
        volumes = tuple(Volume((last.hu + change).clamp_min(AIR_HU), grid) for change in changes)
        between, factor, noise = None, 1.0, 0.0
        if self.samples > 1:
            between = [_between(v, image, grid) for v in values.unbind(dim=1)]
            body, noise = body_mask(last), scan_noise(last.hu)
            network = network_with(self.name, self.network, self.weights, self.device)
            factor = float(getattr(network, "spread_factor", 1.0))
        return Forecast(
            method=self.name,
            targets=tuple(targets),
            volumes=volumes,
            hu_spread=None if between is None else tuple((factor * s).square().add(noise**2).sqrt() for s in between),
            diversity=None if between is None else tuple(float(s[body].mean()) for s in between),
            seconds={"network": predicted - started, "appearance": time.perf_counter() - predicted},
            details={
                "samples": self.samples,
                **({} if self.steps is None else {"steps": self.steps}),
                **({} if between is None else {"factor on the spread": factor, "noise of the scan (HU)": noise}),
                "working spacing (mm)": CELL_MM,
                "trained on": "generated patients alone",
            },
        )

    def draw(self, observed: PhaseSequence, targets: Sequence[Phase]) -> tuple[Tensor, Grid]:
        """The samples; the same seed gives the same on every device, up to rounding.

        Returns:
            Changes from the last observed phase as cells, shape (samples, m, 8, z, y, x), and the grid of their 4 mm.
        """
        network = network_with(self.name, self.network, self.weights, self.device)
        image = image_grid(observed.grid)
        seen = [resample(v.to(self.device).hu, v.grid, image) for v in observed.volumes]
        clip, order = clip_of(seen, observed, targets)
        back = np.argsort(order).tolist()
        half = has_bfloat16(clip.cells.device)
        options: dict[str, Any] = {} if self.steps is None else {"steps": self.steps}
        found = []
        for number, seed in enumerate(np.random.SeedSequence(self.seed).generate_state(self.samples)):
            if self.progress is not None:
                self.progress("drawing samples", number, self.samples)
            random = torch.Generator().manual_seed(int(seed))
            with torch.inference_mode(), torch.autocast(clip.cells.device.type, torch.bfloat16, enabled=half):
                one = network.sample(clip, random, tile=self.tile, **options)  # type: ignore[operator]
            found.append(one[back].cpu())
        if self.progress is not None:
            self.progress("drawing samples", self.samples, self.samples)
        return torch.stack(found), image


def has_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16, in which the networks were trained, is fast there."""
    if device.type == "cpu":
        supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # not in every version of torch
        return supported is not None and bool(supported())
    return device.type == "cuda" and torch.cuda.is_bf16_supported()


def _between(samples: Tensor, image: Grid, grid: Grid) -> ScalarVolume:
    """How samples (n, 8, z, y, x) of a target differ: standard deviation, HU, on the volume's grid."""
    return resample(sample_sd(from_cells(samples)).square(), image, grid).clamp_min(0).sqrt()


def create(
    name: str,
    network: str,
    samples: int = 1,
    steps: int | None = None,
    tile: int = TILE,
    weights: Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
) -> ImageForecaster:
    """A generative baseline that predicts images; see `ImageForecaster`.

    Raises:
        ReadError: If the weights are another network's.
        RtmotionError: If steps are asked of a network that has no sampler, or too many.
    """
    if samples < 1:
        raise RtmotionError(f"samples of {name} must be at least 1, got {samples}")
    built = network_with(name, network, weights, device)  # a file that cannot be read is told at once
    if steps is not None and "steps" not in signature(built.sample).parameters:  # type: ignore[arg-type]
        raise RtmotionError(f"{name} is not drawn step by step and takes no number of steps")
    if steps is not None and not 1 <= steps <= TRAIN_STEPS:
        raise RtmotionError(f"steps of {name} must be from 1 to {TRAIN_STEPS}, got {steps}")
    return ImageForecaster(name, network, samples, steps, seed, device, tile, weights, progress)
