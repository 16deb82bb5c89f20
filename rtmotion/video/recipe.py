"""How the weights of the video network are made: synthetic patients whose motion is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rtmotion.field import exp
from rtmotion.grid import Grid
from rtmotion.video.examples import Example, example_of, on_part, with_variations
from rtmotion.video.network import VideoConfig, VideoNetwork
from rtmotion.video.prepared import PreparedPatient
from rtmotion.video.refinement import network_with
from rtmotion.video.tokens import WORKING_SPACING_MM, corrected

VALIDATED = (3, 5, 7)
"""Numbers of observed phases that are validated."""


@dataclass(frozen=True)
class VideoRecipe:
    """Loss: distance from the true displacement, weighted; likelihood of its predicted scale; roughness.

    The distance counts three times: of a phase to come, of an observed one whose registration is corrected, and of the
    motion between the two, on which the image hangs.

    Attributes:
        config: Of the network.
        targets: Phases to come that an example has at most.
        crop: Smallest and largest extent of an example along each axis, voxels of the working grid.
        small_crop: The same for examples of a small field of view.
        small: Chance of these.
        skipped: Chance that some phases between the first and the last observed are missing.
        backward: Chance that time runs backwards.
        mirrored: Chance that left and right change places.
        traced: Chance that the waveform is given.
        varied: Chance that motion is stronger, weaker, earlier and later from place to place than the phantom's, and
            the image noisier and of other contrast.
        settled: Whether any of the observed phases is corrected too, or always the last.
        scale_weight: Weight of the likelihood.
        roughness_weight: Weight of the squared gradient of the residual velocity, (mm/mm)².
        start: Weights to start from, as for fine-tuning; `shipped`, a file, or None for none.
    """

    config: VideoConfig = field(default_factory=VideoConfig)
    targets: int = 3
    crop: tuple[int, int] = (22, 44)
    small_crop: tuple[int, int] = (14, 22)
    small: float = 0.35
    skipped: float = 0.15
    backward: float = 0.5
    mirrored: float = 0.5
    traced: float = 0.15
    varied: float = 0.6
    settled: bool = True
    scale_weight: float = 0.1
    roughness_weight: float = 1.0
    start: Path | str | None = None
    name: str = "video"

    def build(self) -> nn.Module:
        """The network before training."""
        network = VideoNetwork(self.config)
        if self.start is not None:
            known = network_with(None if self.start == "shipped" else Path(self.start))
            network.load_state_dict(known.state_dict())
        return network

    def keep(self, patient: PreparedPatient) -> PreparedPatient:
        """The patient as it was prepared."""
        return patient

    def example(self, kept: PreparedPatient, random: torch.Generator) -> Example:
        """Random phases of a patient, on a random part of the grid."""

        def draw(low: int, high: int) -> int:
            return int(torch.randint(low, high + 1, (), generator=random))

        def chance(p: float) -> bool:
            return float(torch.rand((), generator=random)) < p

        shape = kept.images.shape[1:]
        small = chance(self.small)
        size = [min(n, draw(*(self.small_crop if small else self.crop))) for n in shape]
        body = kept.body[0].nonzero()
        centre = body[draw(0, len(body) - 1)].tolist()
        corner = [min(max(c - s // 2, 0), n - s) for c, n, s in zip(centre, shape, size, strict=True)]
        z, y, x = (slice(c, c + s) for c, s in zip(corner, size, strict=True))
        patient = on_part(kept, z, y, x, mirrored=chance(self.mirrored))

        if self.varied and chance(self.varied):
            patient = with_variations(patient, random)

        count = len(kept.images)
        k = draw(2, count - 1)
        inner = list(range(1, k - 1))
        if len(inner) > 1 and chance(self.skipped):
            inner = sorted(torch.randperm(len(inner), generator=random)[: draw(1, len(inner) - 1)].add(1).tolist())
        ahead = torch.randperm(count - k, generator=random)[: self.targets].add(k)
        backward, traced = chance(self.backward), chance(self.traced)
        seen = [0, *inner, k - 1]
        settled = draw(1, len(seen) - 1) if self.settled else -1
        return example_of(patient, seen, sorted(ahead.tolist()), settled, backward=backward, traced=traced)

    def loss(self, network: nn.Module, example: Example) -> Mapping[str, Tensor]:
        """`loss` and its parts: `error` (mm), `base` (the motion model's, mm), `nll`, `roughness`.

        `settled` and `between` are the errors of an observed phase, and of the motion from the targets to it (mm).
        """
        example = example.to(next(network.parameters()).device)
        scene = example.scene
        grid, count = scene.grid, len(scene.proposals)
        *corrections, again = network(scene, [example.settled])
        there = example.settled_truth
        settled, registered = again.applied(scene.velocities[example.settled], scene.velocities), scene.velocities
        seen = example.settled_weight / example.settled_weight.sum().clamp_min(1e-3)
        settled_error = (seen * distance(settled, there, grid)).sum()
        with torch.no_grad():
            settled_base = (seen * distance(registered[example.settled], there, grid)).sum()
            known = exp(registered[example.settled], grid)
        names = ("error", "base", "between", "between_base", "nll", "roughness")
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        for j, velocity in enumerate(corrected(scene, corrections)):
            weight = example.weight[j] / example.weight[j].sum().clamp_min(1e-3)
            off = distance(velocity, example.truth[j], grid)
            with torch.no_grad():
                parts["base"].append((weight * distance(scene.proposals[j], example.truth[j], grid)).sum())
                moved = exp(scene.proposals[j], grid) - known
                parts["between_base"].append((weight * length(moved - (example.truth[j] - there))).sum())
            parts["error"].append((weight * off).sum())
            moved = exp(velocity, grid) - exp(settled, grid)
            parts["between"].append((weight * length(moved - (example.truth[j] - there))).sum())
            log_scale = corrections[j].log_scale.clamp(-3, 4)
            parts["nll"].append((weight * (off.detach() / log_scale.exp() + 3 * log_scale)).sum())
            slopes = [corrections[j].residual.diff(dim=a).square().mean() for a in (1, 2, 3)]
            parts["roughness"].append(torch.stack(slopes).sum() / WORKING_SPACING_MM**2)
        means = {name: torch.stack(values).sum() / count for name, values in parts.items()}
        # a patient who breathes deeply does not count more than many who do not
        relative = means["error"] / (means["base"] + 0.5) + settled_error / (settled_base + 0.5)
        relative = relative + means["between"] / (means.pop("between_base") + 0.5)
        total = relative + self.scale_weight * means["nll"] + self.roughness_weight * means["roughness"]
        return {"loss": total, **means, "settled": settled_error}

    def validate(self, network: nn.Module, patient: PreparedPatient) -> Mapping[str, float]:
        """Weighted distance from the truth, mm, at three numbers of observed phases; `base`: the motion model's.

        `between`: of the motion since the last observed phase, which is corrected too.
        """
        scores: dict[str, float] = {}
        count = len(patient.images)
        for k in (k for k in VALIDATED if k < count):
            whole = example_of(patient, list(range(k)), list(range(k, count)), k - 1)
            example = whole.to(next(network.parameters()).device)
            scene, there = example.scene, example.settled_truth
            with torch.inference_mode():
                *corrections, again = network(scene, [k - 1])
                found, last = corrected(scene, corrections), scene.velocities[-1]
                settled = again.applied(last, scene.velocities)
            for name, fields, source in (("", found, settled), ("base", list(scene.proposals), last)):
                off, between = [], []
                for velocity, u, w in zip(fields, example.truth, example.weight, strict=True):
                    moved, since = exp(velocity, scene.grid) - u, there - exp(source, scene.grid)
                    off.append(float((w * length(moved)).sum() / w.sum()))
                    between.append(float((w * length(moved + since)).sum() / w.sum()))
                scores[f"{name or 'error'}_{k}"] = float(np.mean(off))
                scores[f"between_{name or 'error'}_{k}"] = float(np.mean(between))
        return scores


def distance(velocity: Tensor, truth: Tensor, grid: Grid) -> Tensor:
    """How far a velocity's displacement lies from the true one, mm, shape (z, y, x)."""
    return length(exp(velocity, grid) - truth)


def length(displacement: Tensor) -> Tensor:
    """Of the vectors of a field (3, z, y, x), mm; smooth at 0."""
    return displacement.square().sum(dim=0).add(1e-2).sqrt()
