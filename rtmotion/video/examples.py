"""What the video network is trained on: parts of prepared patients, some phases observed and some to come."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from rtmotion.cycle.mixture import centred, first_mode
from rtmotion.cycle.observed import inner_products, near_lung
from rtmotion.cycle.temporal import Situation
from rtmotion.types import ScalarBatch, ScalarVolume, VectorStack, VectorVolume
from rtmotion.video.prepared import PreparedPatient
from rtmotion.video.proposal import proposal
from rtmotion.video.tokens import WORKING_SPACING_MM, Scene, box

LUNG_BELOW = -400.0
"""HU in the body below which a voxel counts as lung."""

ELSEWHERE = 0.1
EDGE_HU_PER_MM = 20.0
"""What a voxel of even tissue counts, one of the lung counting 1, and the slope that counts as much."""

PATCH = 10
"""Gains, lags and contrast of varied examples change from voxel to voxel over so many voxels of the working grid."""


@dataclass(frozen=True, eq=False)
class Example:
    """Observed phases of a patient and some to come, on a part of the working grid.

    Attributes:
        scene: What the forecaster would know.
        truth: True displacements of its targets, mm, LPS, shape (m, 3, z, y, x).
        weight: How much an error counts, shape (m, z, y, x).
        settled: Number of an observed phase whose registration is to be corrected too.
        settled_truth: Its true displacement, mm, LPS, shape (3, z, y, x).
        settled_weight: How much an error counts there, shape (z, y, x).
    """

    scene: Scene
    truth: VectorStack
    weight: ScalarBatch
    settled: int
    settled_truth: VectorVolume
    settled_weight: ScalarVolume

    def to(self, device: torch.device) -> "Example":
        """The same example on another device."""
        s = self.scene
        scene = s._replace(
            images=s.images.to(device), velocities=s.velocities.to(device), proposals=s.proposals.to(device)
        )
        tensors = (self.truth, self.weight, self.settled_truth, self.settled_weight)
        truth, weight, settled_truth, settled_weight = (v.to(device) for v in tensors)
        return Example(scene, truth, weight, self.settled, settled_truth, settled_weight)


def example_of(
    patient: PreparedPatient,
    seen: Sequence[int],
    ahead: Sequence[int],
    settled: int = -1,
    *,
    backward: bool = False,
    traced: bool = False,
) -> Example:
    """Some phases of a patient observed, others to come.

    Args:
        patient: A prepared patient, whole or a part of it; its first phase is the reference and observed.
        seen: Indices of the observed phases, increasing, the first of them 0.
        ahead: Indices of the targets, increasing, beyond the observed.
        settled: Which of the observed phases is corrected too.
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
    settled %= len(here)
    kept = here[settled]
    settled_weight = importance(patient.images[kept].float(), patient.body[kept])
    return Example(scene, patient.truth[there].float(), weight, settled, patient.truth[kept].float(), settled_weight)


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


def with_variations(patient: PreparedPatient, random: torch.Generator) -> PreparedPatient:
    """A patient with smooth gains (±30 %) and lags (up to .7 of a step) of the motion, noise and contrast of the image.

    Registered and true motion change alike, to first order of the displacement; the image keeps its phase.
    """

    def smooth(low: float, high: float) -> Tensor:
        few = [n // PATCH + 2 for n in patient.images.shape[1:]]
        values = low + (high - low) * torch.rand(1, 1, *few, generator=random)
        return F.interpolate(values, patient.images.shape[1:], mode="trilinear", align_corners=True)[0, 0]

    strength = float(torch.rand((), generator=random))
    gain, lag = smooth(-0.36 * strength, 0.26 * strength).exp(), smooth(-0.7 * strength, 0.7 * strength)

    def moved(fields: Tensor) -> Tensor:
        fields = fields.float()
        mixed = (1 - lag.abs()) * fields + lag.clamp_min(0) * fields.roll(-1, 0) - lag.clamp_max(0) * fields.roll(1, 0)
        return (gain * (mixed - mixed[:1])).to(patient.velocities)

    contrast, noise = smooth(0.9, 1.1), 40 * float(torch.rand((), generator=random))
    images = (patient.images.float() + 1000) * contrast - 1000
    images = images + noise * torch.randn(images.shape, generator=random)
    return replace(
        patient, images=images.to(patient.images), velocities=moved(patient.velocities), truth=moved(patient.truth)
    )
