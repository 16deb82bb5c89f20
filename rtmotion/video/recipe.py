"""How the weights of the video network are made: synthetic patients whose motion is known."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rtmotion.cycle.mixture import centred, first_mode
from rtmotion.cycle.observed import inner_products, near_lung
from rtmotion.cycle.temporal import Situation
from rtmotion.field import exp
from rtmotion.grid import Grid
from rtmotion.types import ScalarBatch, VectorStack
from rtmotion.video.network import VideoConfig, VideoNetwork
from rtmotion.video.prepared import PreparedPatient
from rtmotion.video.proposal import proposal
from rtmotion.video.refinement import network_with
from rtmotion.video.tokens import WORKING_SPACING_MM, Scene, box, corrected

LUNG_BELOW = -400.0
"""HU in the body below which a voxel counts as lung."""

ELSEWHERE = 0.1
EDGE_HU_PER_MM = 20.0
"""What a voxel of even tissue counts, one of the lung counting 1, and the slope that counts as much."""

VALIDATED = (3, 5, 7)
"""Numbers of observed phases that are validated."""


@dataclass(frozen=True, eq=False)
class Example:
    """Observed phases of a patient and some to come, on a part of the working grid.

    Attributes:
        scene: What the forecaster would know.
        truth: True displacements of its targets, mm, LPS, shape (m, 3, z, y, x).
        weight: How much an error counts, shape (m, z, y, x).
    """

    scene: Scene
    truth: VectorStack
    weight: ScalarBatch

    def to(self, device: torch.device) -> "Example":
        """The same example on another device."""
        s = self.scene
        scene = s._replace(
            images=s.images.to(device), velocities=s.velocities.to(device), proposals=s.proposals.to(device)
        )
        return Example(scene, self.truth.to(device), self.weight.to(device))


@dataclass(frozen=True)
class VideoRecipe:
    """Loss: distance from the true displacement, weighted; likelihood of its predicted scale; roughness.

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
    scale_weight: float = 0.05
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

        count = len(kept.images)
        k = draw(2, count - 1)
        inner = list(range(1, k - 1))
        if len(inner) > 1 and chance(self.skipped):
            inner = sorted(torch.randperm(len(inner), generator=random)[: draw(1, len(inner) - 1)].add(1).tolist())
        ahead = torch.randperm(count - k, generator=random)[: self.targets].add(k)
        backward, traced = chance(self.backward), chance(self.traced)
        return example_of(patient, [0, *inner, k - 1], sorted(ahead.tolist()), backward=backward, traced=traced)

    def loss(self, network: nn.Module, example: Example) -> Mapping[str, Tensor]:
        """`loss` and its parts: `error` (mm), `base` (the motion model's, mm), `nll`, `roughness`."""
        example = example.to(next(network.parameters()).device)
        scene = example.scene
        grid, count = scene.grid, len(scene.proposals)
        corrections = network(scene)
        parts: dict[str, list[Tensor]] = {"error": [], "base": [], "nll": [], "roughness": []}
        for j, velocity in enumerate(corrected(scene, corrections)):
            weight = example.weight[j] / example.weight[j].sum().clamp_min(1e-3)
            off = distance(velocity, example.truth[j], grid)
            with torch.no_grad():
                parts["base"].append((weight * distance(scene.proposals[j], example.truth[j], grid)).sum())
            parts["error"].append((weight * off).sum())
            log_scale = corrections[j].log_scale.clamp(-3, 4)
            parts["nll"].append((weight * (off.detach() / log_scale.exp() + 3 * log_scale)).sum())
            slopes = [corrections[j].residual.diff(dim=a).square().mean() for a in (1, 2, 3)]
            parts["roughness"].append(torch.stack(slopes).sum() / WORKING_SPACING_MM**2)
        means = {name: torch.stack(values).sum() / count for name, values in parts.items()}
        # a patient who breathes deeply does not count more than many who do not
        relative = means["error"] / (means["base"] + 0.5)
        total = relative + self.scale_weight * means["nll"] + self.roughness_weight * means["roughness"]
        return {"loss": total, **means}

    def validate(self, network: nn.Module, patient: PreparedPatient) -> Mapping[str, float]:
        """Weighted distance from the truth, mm, at three numbers of observed phases; `base`: the motion model's."""
        scores: dict[str, float] = {}
        count = len(patient.images)
        for k in (k for k in VALIDATED if k < count):
            whole = example_of(patient, list(range(k)), list(range(k, count)))
            example = whole.to(next(network.parameters()).device)
            scene = example.scene
            with torch.inference_mode():
                found = corrected(scene, network(scene))
                for name, fields in (("error", found), ("base", scene.proposals)):
                    values = [
                        float((w * distance(v, u, scene.grid)).sum() / w.sum())
                        for v, u, w in zip(fields, example.truth, example.weight, strict=True)
                    ]
                    scores[f"{name}_{k}"] = float(np.mean(values))
        return scores


def distance(velocity: Tensor, truth: Tensor, grid: Grid) -> Tensor:
    """How far a velocity's displacement lies from the true one, mm, shape (z, y, x)."""
    return (exp(velocity, grid) - truth).square().sum(dim=0).add(1e-2).sqrt()


def example_of(
    patient: PreparedPatient,
    seen: Sequence[int],
    ahead: Sequence[int],
    *,
    backward: bool = False,
    traced: bool = False,
) -> Example:
    """Some phases of a patient observed, others to come.

    Args:
        patient: A prepared patient, whole or a part of it; its first phase is the reference and observed.
        seen: Indices of the observed phases, increasing, the first of them 0.
        ahead: Indices of the targets, increasing, beyond the observed.
        backward: Whether time runs backwards from the first phase.
        traced: Whether the waveform is given: the first mode of the whole cycle.
    """
    count = len(patient.images)
    order = [0, *range(count - 1, 0, -1)] if backward else list(range(count))
    here, there = [order[i] for i in seen], [order[i] for i in ahead]
    fractions = patient.fractions.numpy()
    images, velocities = patient.images[here].float(), patient.velocities[here].float()
    region = near_lung(images.mean(dim=0), box(images.shape))
    gram, inhale = inner_products(velocities, region)
    amplitude = None
    if traced:
        whole, _ = inner_products(patient.velocities.float(), region)
        amplitude = first_mode(centred(whole))[0][here + there]
    times, targets = fractions[list(seen)], fractions[list(ahead)]
    weights, doubts = proposal(Situation(gram, times, targets, inhale, amplitude))
    proposals = torch.einsum("mk,kczyx->mczyx", torch.as_tensor(weights, dtype=torch.float32), velocities)
    scene = Scene(images, velocities, times, 0, proposals, targets, doubts, amplitude)
    weight = torch.stack([importance(patient.images[j].float(), patient.body[j]) for j in there])
    return Example(scene, patient.truth[there].float(), weight)


def importance(hu: Tensor, body: Tensor) -> Tensor:
    """How much an error of the field counts at each voxel: in the lung, and where it shifts an edge.

    Elsewhere it neither shows in the image nor can a registration know better: weighted alike, even tissue took most of
    what the network learned, and its forecasts got better fields and worse images.

    Args:
        hu: On the working grid, shape (z, y, x).
        body: Where errors count at all, bool, shape (z, y, x).
    """
    slopes = torch.stack(torch.gradient(hu, spacing=WORKING_SPACING_MM)).square().sum(dim=0).sqrt()
    return body.float() * (ELSEWHERE + (hu < LUNG_BELOW) + slopes / EDGE_HU_PER_MM)


def on_part(patient: PreparedPatient, z: slice, y: slice, x: slice, *, mirrored: bool = False) -> PreparedPatient:
    """A patient on a part of the grid, left and right exchanged where that is asked for."""

    def scalars(values: Tensor) -> Tensor:
        part = values[..., z, y, x]
        return part.flip(-1) if mirrored else part

    def vectors(values: Tensor) -> Tensor:
        part = scalars(values)
        return part * part.new_tensor([-1.0, 1.0, 1.0])[:, None, None, None] if mirrored else part

    return replace(
        patient,
        images=scalars(patient.images),
        velocities=vectors(patient.velocities),
        truth=vectors(patient.truth),
        body=scalars(patient.body),
    )
