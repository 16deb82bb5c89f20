"""Generative baselines that predict motion: networks over the registered velocities of the observed phases.

They are shown what the video model is shown, on the same grid of 8 mm and from the same prepared patients, but not the
motion model's forecast: where they say nothing, the last observed phase stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rtmotion.cycle.appearance import AppearanceConfig
from rtmotion.cycle.forecaster import FieldForecaster, Refined
from rtmotion.cycle.mixture import Combination
from rtmotion.cycle.observed import ObservedMotion, Progress
from rtmotion.cycle.temporal import Situation, TemporalModel, ahead, temporal_model
from rtmotion.errors import RtmotionError
from rtmotion.evaluation.calibration import radius_factor
from rtmotion.field import exp, resample
from rtmotion.registration import SvfRegistration
from rtmotion.sequence import PhaseSequence
from rtmotion.types import VectorStack
from rtmotion.video.examples import Example, example_of
from rtmotion.video.prepared import PreparedPatient
from rtmotion.video.recipe import VALIDATED, VideoRecipe
from rtmotion.video.refinement import scene_of
from rtmotion.video.tokens import Scene, box
from rtmotion.video.working import on_working_grid
from rtmotion_baselines.generative.shipped import network_with
from rtmotion_baselines.generative.spread import HALF_OF_LEVEL, LEVEL, sample_sd, widening

DRAWN = 8
"""Samples that a spread is calibrated with."""

IMPORTANT = 0.5
"""Weight of the voxels that it is calibrated on: lung and edges."""

HALF_MM = 0.5
"""Motion of this length counts half as much as deep breathing in the loss."""


@dataclass(frozen=True)
class FieldRecipe:
    """The same for every network over fields; the network's `forward` is its loss.

    Attributes:
        name: The network's name: that of its weights file.
        network: `module:class`; its instances map a scene, true displacements, weights and a seed to the parts of their
            loss, and `sample(scene, generator)` velocities. One that draws has a buffer `spread_factor`.
        examples: How examples are drawn: as for the video model, the phantom's motion as it is.
    """

    name: str
    network: str
    examples: VideoRecipe = field(default_factory=lambda: VideoRecipe(varied=0.0, settled=False))

    def build(self) -> nn.Module:
        """The untrained network."""
        module, _, attribute = self.network.partition(":")
        network: nn.Module = getattr(import_module(module), attribute)()
        return network

    def keep(self, patient: PreparedPatient) -> PreparedPatient:
        """The patient as it was prepared."""
        return patient

    def example(self, kept: PreparedPatient, random: torch.Generator) -> tuple[Example, int]:
        """An example, and the seed of what the loss draws."""
        drawn = self.examples.example(kept, random)
        return drawn, int(torch.randint(0, 2**31 - 1, (), generator=random))

    def loss(self, network: nn.Module, example: tuple[Example, int]) -> Mapping[str, Tensor]:
        """The network's own loss and its parts."""
        shown = example[0].to(next(network.parameters()).device)
        parts: Mapping[str, Tensor] = network(shown.scene, shown.truth, shown.weight, example[1])
        return parts

    def validate(self, network: nn.Module, patient: PreparedPatient) -> Mapping[str, float]:
        """Weighted distance from the true field, mm, of one sample; `base`: of the last observed field."""
        scores: dict[str, float] = {}
        count = len(patient.images)
        for k in (k for k in VALIDATED if k < count):
            example = example_of(patient, list(range(k)), list(range(k, count)))
            example = example.to(next(network.parameters()).device)
            with torch.inference_mode():
                found = network.sample(example.scene, torch.Generator().manual_seed(k))  # type: ignore[operator]
                for name, velocities in (("error", found), ("base", last_velocities(example.scene))):
                    scores[f"{name}_{k}"] = float(mean_distance(velocities, example.truth, example.weight))
        return scores

    def finish(self, network: nn.Module, patients: Sequence[PreparedPatient]) -> None:
        """Sets the factor on the spread of a network that draws, against the true fields where they count."""
        factor = getattr(network, "spread_factor", None)
        if factor is None or not patients:
            return
        ball = HALF_OF_LEVEL / radius_factor(100 * LEVEL)  # lengths of vectors, not numbers
        errors: list[Tensor] = []
        spreads: list[Tensor] = []
        for patient in patients:
            count = len(patient.images)
            for k in (k for k in VALIDATED if k < count):
                example = example_of(patient, list(range(k)), list(range(k, count))).to(factor.device)
                random = torch.Generator().manual_seed(k)
                with torch.inference_mode():
                    draws = torch.stack([network.sample(example.scene, random) for _ in range(DRAWN)])  # type: ignore[operator]
                    off = (flowed(draws.mean(dim=0)) - example.truth).norm(dim=1)
                    counted = example.weight > IMPORTANT
                    errors.append(ball * off[counted])
                    spreads.append(torch.stack(spread_of(draws))[counted])
        factor.fill_(widening(errors, spreads, [0.0] * len(errors)))


def last_velocities(scene: Scene) -> VectorStack:
    """The last observed velocity for every target, mm, LPS, shape (m, 3, z, y, x)."""
    return scene.velocities[-1].expand(len(scene.target_angles), -1, -1, -1, -1)


def flowed(velocity: VectorStack) -> VectorStack:
    """The displacements of velocities on the working grid, in full precision whatever the network is trained in."""
    with torch.autocast(velocity.device.type, enabled=False):
        return exp(velocity.float(), box(velocity.shape))


def mean_distance(velocity: VectorStack, truth: VectorStack, weight: Tensor) -> Tensor:
    """Weighted mean length of the difference of displacements, mm, mean over the targets.

    Args:
        velocity: mm, LPS, shape (m, 3, z, y, x).
        truth: True displacements, same shape.
        weight: Shape (m, z, y, x).
    """
    off = (flowed(velocity) - truth).square().sum(dim=1).add(1e-2).sqrt()
    return ((off * weight).sum(dim=(1, 2, 3)) / weight.sum(dim=(1, 2, 3)).clamp_min(1e-3)).mean()


def relative(error: Tensor, scene: Scene, truth: VectorStack, weight: Tensor) -> Tensor:
    """An error as a part of that of the last observed field: who breathes deeply does not count more."""
    with torch.no_grad():
        still = mean_distance(last_velocities(scene), truth, weight)
    return error / (still + HALF_MM)


@dataclass(frozen=True)
class FieldNetwork:
    """Goes on from the observed phases' motion by a network; see `rtmotion.cycle.forecaster.Refinement`.

    Attributes:
        name: Name of the method.
        network: `module:class`.
        samples: How many are drawn; the forecast is their mean velocity, the uncertainty their spread.
        seed: Of the samples.
        weights: A file of weights; None takes the shipped ones.
    """

    name: str
    network: str
    samples: int = 1
    seed: int = 0
    weights: Path | None = None

    def refine(
        self,
        observed: PhaseSequence,
        motion: ObservedMotion,
        situation: Situation,
        combination: Combination,
        temporal: TemporalModel,
    ) -> Refined:
        """The mean of the samples and their spread."""
        seen = on_working_grid(observed, motion)
        order = np.argsort(ahead(situation.targets, situation.observed[-1]), kind="stable").tolist()
        back = np.argsort(order).tolist()
        network = network_with(self.name, self.network, self.weights, str(seen.images.device))
        scene = scene_of(seen, situation, combination, order)
        drawn = []
        with torch.inference_mode():
            for seed in np.random.SeedSequence(self.seed).generate_state(self.samples):
                drawn.append(network.sample(scene, torch.Generator().manual_seed(int(seed))))  # type: ignore[operator]
        velocities = torch.stack(drawn)[:, back]
        mean = [resample(v, seen.grid, motion.grid) for v in velocities.mean(dim=0)]
        details = {"samples": self.samples, "trained on": "generated patients alone"}
        if self.samples == 1:
            return Refined(mean, (), details)
        factor = float(getattr(network, "spread_factor", 1.0))
        spreads = (resample(factor * s, seen.grid, observed.grid).clamp_min(0).cpu() for s in spread_of(velocities))
        return Refined(mean, tuple(spreads), {**details, "factor on the spread": factor})


def spread_of(velocities: Tensor) -> list[Tensor]:
    """How displacements of samples differ, mm, a target: the root of the summed variances of the three components.

    Args:
        velocities: mm, LPS, shape (samples, m, 3, z, y, x).
    """
    return [sample_sd(flowed(v)).square().sum(dim=0).sqrt() for v in velocities.unbind(dim=1)]


def create(
    name: str,
    network: str,
    samples: int = 1,
    weights: Path | None = None,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
) -> FieldForecaster:
    """A generative baseline over registered motion.

    Args:
        name: Name of the method.
        network: `module:class`.
        samples: How many are drawn.
        weights: A file of weights, from `rtmotion train NAME`; None takes the shipped ones.
        device: Torch device.
        seed: Of the samples.
        progress: Called with a stage's name, steps done and steps in all.

    Raises:
        ReadError: If the weights are another network's.
        RtmotionError: With fewer than one sample.
    """
    if samples < 1:
        raise RtmotionError(f"samples of {name} must be at least 1, got {samples}")
    network_with(name, network, weights, device)  # a file that cannot be read is told at once
    return FieldForecaster(
        name,
        SvfRegistration(),
        temporal_model("persistence"),
        AppearanceConfig(),
        device=device,
        seed=seed,
        refinement=FieldNetwork(name, network, samples, seed, weights),
        progress=progress,
    )
