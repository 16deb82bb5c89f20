"""How the weights of networks that predict images are made: one recipe, the same patients and examples for all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rtmotion_baselines.generative.clip import CENTRE_HU, HALF_RANGE_HU, Clip, from_cells, to_cells
from rtmotion_baselines.generative.image_patients import ImagePatient
from rtmotion_baselines.generative.spread import sample_sd, scan_noise, widening

VALIDATED = (3, 5, 7)
"""Numbers of observed phases that are validated."""

VALIDATED_CELLS = 28
"""Patients are validated on their middle, so many cells wide."""

DRAWN = 4
"""Samples that a spread is calibrated with."""

OUTSIDE = 0.05
"""What a cell outside the body counts, one inside counting 1."""


class Example(NamedTuple):
    """Observed phases of a patient and phases to come, on a part of the grid.

    A named tuple, as what goes through Lightning Fabric must be.

    Attributes:
        clip: What a forecaster would know.
        future: The targets without noise, as cells, shape (m, 8, z, y, x).
        weight: How much a cell counts, shape (m, z, y, x).
        seed: Of what the loss draws.
    """

    clip: Clip
    future: Tensor
    weight: Tensor
    seed: int = 0

    def to(self, device: torch.device) -> "Example":
        """The same example on another device."""
        return Example(self.clip.to(device), self.future.to(device), self.weight.to(device), self.seed)

    @property
    def change(self) -> Tensor:
        """How the targets differ from the last observed phase, shape (m, 8, z, y, x)."""
        return self.future - self.clip.last


@dataclass(frozen=True)
class ImageRecipe:
    """The same for every network that predicts images; its `forward` is its loss.

    Attributes:
        name: The network's name: that of its weights file.
        network: `module:class`; its instances map an `Example` to the parts of their loss, and sample the change of
            each target from the last observed phase: `sample(clip, generator)`. One that draws has a buffer
            `spread_factor`.
        crop: Smallest and largest extent of an example along each axis, cells; multiples of four are taken.
        targets: Phases to come that an example has at most.
        skipped: Chance that some phases between the first and the last observed are missing.
        backward: Chance that time runs backwards.
        mirrored: Chance that left and right change places.
    """

    name: str
    network: str
    crop: tuple[int, int] = (20, 28)
    targets: int = 1
    skipped: float = 0.15
    backward: float = 0.5
    mirrored: float = 0.5

    def build(self) -> nn.Module:
        """The untrained network."""
        module, _, attribute = self.network.partition(":")
        network: nn.Module = getattr(import_module(module), attribute)()
        return network

    def keep(self, patient: ImagePatient) -> ImagePatient:
        """The patient as it was prepared."""
        return patient

    def example(self, kept: ImagePatient, random: torch.Generator) -> Example:
        """Random phases of a patient, on a random part of the grid."""

        def draw(low: int, high: int) -> int:
            return int(torch.randint(low, high + 1, (), generator=random))

        def chance(p: float) -> bool:
            return float(torch.rand((), generator=random)) < p

        shape = kept.body.shape[1:]
        size = [min(n, draw(*self.crop) // 4 * 4) for n in shape]
        body = kept.body[0].nonzero()
        centre = body[draw(0, len(body) - 1)].tolist()
        corner = [min(max(c - s // 2, 0), n - s) for c, s, n in zip(centre, size, shape, strict=True)]
        part = tuple(slice(c, c + s) for c, s in zip(corner, size, strict=True))
        count = len(kept.scanned)
        k = draw(2, count - 1)
        inner = list(range(1, k - 1))
        if len(inner) > 1 and chance(self.skipped):
            inner = sorted(torch.randperm(len(inner), generator=random)[: draw(1, len(inner) - 1)].add(1).tolist())
        start = draw(k, count - 1) if self.targets == 1 else k
        return example_of(
            kept,
            [0, *inner, k - 1],
            list(range(start, min(start + self.targets, count))),
            part,
            backward=chance(self.backward),
            mirrored=chance(self.mirrored),
            seed=draw(0, 2**31 - 1),
        )

    def loss(self, network: nn.Module, example: Example) -> Mapping[str, Tensor]:
        """The network's own loss and its parts."""
        parts: Mapping[str, Tensor] = network(example.to(next(network.parameters()).device))
        return parts

    def validate(self, network: nn.Module, patient: ImagePatient) -> Mapping[str, float]:
        """Mean absolute error in the body, HU, against the phase without noise; `base`: of the last observed phase."""
        scores: dict[str, float] = {}
        count = len(patient.scanned)
        device = next(network.parameters()).device
        part = middle_of(patient)
        for k in (k for k in VALIDATED if k < count):
            example = example_of(patient, list(range(k)), ahead_of(k, count), part).to(device)
            with torch.inference_mode():
                found = network.sample(example.clip, torch.Generator().manual_seed(k))  # type: ignore[operator]
                cells = example.clip.last + found.float()
            weight = (example.weight > 0.5).float()[:, None]
            for name, values in (("error", cells), ("base", example.clip.last[None])):
                off = (values - example.future).abs().mean(dim=1, keepdim=True)
                scores[f"{name}_{k}"] = HALF_RANGE_HU * float((off * weight).sum() / weight.sum())
        return scores

    def finish(self, network: nn.Module, patients: Sequence[ImagePatient]) -> None:
        """Sets the factor on the spread of a network that draws: against the validation's scans, noise included."""
        factor = getattr(network, "spread_factor", None)
        if factor is None or not patients:
            return
        errors: list[Tensor] = []
        spreads: list[Tensor] = []
        noises: list[float] = []
        for patient in patients:
            count, part = len(patient.scanned), middle_of(patient)
            for k in (k for k in VALIDATED if k < count):
                example = example_of(patient, list(range(k)), ahead_of(k, count), part, noisy=True).to(factor.device)
                random = torch.Generator().manual_seed(k)
                with torch.inference_mode():
                    draws = [network.sample(example.clip, random).float() for _ in range(DRAWN)]  # type: ignore[operator]
                samples = torch.stack(draws)
                body = (example.weight > 0.5)[:, None].expand_as(example.future)
                off = example.clip.last + samples.mean(dim=0) - example.future
                errors.append(HALF_RANGE_HU * off[body].abs())
                spreads.append(HALF_RANGE_HU * sample_sd(samples)[body])
                noises.append(scan_noise(from_cells(example.clip.last) + CENTRE_HU))
        factor.fill_(widening(errors, spreads, noises))


def ahead_of(k: int, count: int) -> list[int]:
    """The targets that are validated after `k` of `count` phases: the next, one in the middle, the last."""
    return sorted({k, (k + count) // 2, count - 1})


def middle_of(patient: ImagePatient) -> tuple[slice, ...]:
    """The part that is validated, cells along z, y, x."""
    shape = patient.body.shape[1:]
    size = [min(n, VALIDATED_CELLS) // 4 * 4 for n in shape]
    return tuple(slice((n - s) // 2, (n - s) // 2 + s) for n, s in zip(shape, size, strict=True))


def example_of(
    patient: ImagePatient,
    seen: Sequence[int],
    ahead: Sequence[int],
    part: Sequence[slice],
    *,
    backward: bool = False,
    mirrored: bool = False,
    noisy: bool = False,
    seed: int = 0,
) -> Example:
    """Some phases of a patient observed, others to come, on a part of the cells.

    Args:
        patient: A prepared patient.
        seen: Indices of the observed phases, increasing.
        ahead: Indices of the targets, increasing, beyond the observed.
        part: Cells along z, y, x.
        backward: Whether time runs backwards from the first phase.
        mirrored: Whether left and right are exchanged.
        noisy: Whether the targets are as scanned, rather than clean.
        seed: Of what the loss draws.
    """
    z, y, x = part
    fine = tuple(slice(2 * s.start, 2 * s.stop) for s in part)
    count = len(patient.scanned)
    order = [0, *range(count - 1, 0, -1)] if backward else list(range(count))
    here, there = [order[i] for i in seen], [order[i] for i in ahead]
    images = patient.scanned[here][:, fine[0], fine[1], fine[2]].float()
    future = (patient.scanned if noisy else patient.clean)[there][:, fine[0], fine[1], fine[2]].float()
    weight = patient.body[there][..., z, y, x].float().clamp_min(OUTSIDE)
    if mirrored:
        images, future, weight = images.flip(-1), future.flip(-1), weight.flip(-1)
    fractions = patient.fractions
    times = fractions[list(seen)] - fractions[seen[-1]]
    clip = Clip(to_cells(images), times.float(), (fractions[list(ahead)] - fractions[seen[-1]]).float())
    return Example(clip, to_cells(future), weight, seed)
