"""What lvm-mini is trained on: generated patients' slices over the phases, moving shapes, and analogies.

All pictures are grey, 0 to 1, shape (frames, resolution, resolution). Nothing is a patient's.
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from rtmotion.lvm.frames import HIGH_HU, LOW_HU, to_unit

FRAMES = 10
"""Of a video of shapes: a cycle, as a patient's phases are."""

LUNG_HU = (-950.0, -500.0)
"""What the analogy of labels calls lung."""

TASKS = ("label", "denoise", "refine")


class Shown(Protocol):
    """Slices of volumes (n, z, y, x), HU, as pictures (n, resolution, resolution); some slices farther on."""

    def __call__(self, volumes: Tensor, farther: int = 0) -> Tensor:
        """See the class."""
        ...


class Filmed(Protocol):
    """A generated patient, all phases; HU of shape (n, z, y, x)."""

    @property
    def scanned(self) -> Tensor:
        """With noise and artefacts."""
        ...

    @property
    def clean(self) -> Tensor:
        """Without."""
        ...


def draw(random: torch.Generator, low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=random))


def uniform(random: torch.Generator, low: float, high: float) -> float:
    """A number between low and high."""
    return low + (high - low) * float(torch.rand((), generator=random))


def cut(patient: Filmed, random: torch.Generator, resolution: int) -> Shown:
    """A random slice of a patient and a square part of it; the same part for whatever is shown."""
    shape = patient.scanned.shape[1:]
    axis = draw(random, 0, 2)
    rows, columns = (n for i, n in enumerate(shape) if i != axis)
    side = round(uniform(random, 0.55, 1.05) * max(rows, columns))
    place = [draw(random, min(0, n - side), max(0, n - side)) for n in (rows, columns)]
    number = draw(random, shape[axis] // 6, shape[axis] - 1 - shape[axis] // 6)
    mirrored = uniform(random, 0, 1) < 0.5

    def shown(volumes: Tensor, farther: int = 0) -> Tensor:
        slices = to_unit(volumes.select(axis + 1, min(number + farther, shape[axis] - 1)).float())
        low = [min(p, 0) for p in place]
        padded = F.pad(slices, (-low[1], side, -low[0], side))
        part = padded[:, place[0] - low[0] :, place[1] - low[1] :][:, :side, :side]
        found = F.interpolate(part[:, None], (resolution, resolution), mode="bilinear", antialias=side > resolution)
        return (found.flip(-1) if mirrored else found)[:, 0].clamp(0, 1)

    return shown


def filming(patient: Filmed, random: torch.Generator, resolution: int) -> Callable[[Tensor], Tensor]:
    """A slice over the phases; from any of them on, forwards or backwards in half of the videos each.

    Returns:
        The same slice and order for whatever volumes (n, z, y, x) it is given: the scanned ones, the clean ones.
    """
    shown = cut(patient, random, resolution)
    count = len(patient.scanned)
    backwards = uniform(random, 0, 1) < 0.5
    start = 0 if uniform(random, 0, 1) < 0.5 else draw(random, 0, count - 1)

    def film(volumes: Tensor) -> Tensor:
        frames = shown(volumes)
        return (frames.flip(0) if backwards else frames).roll(start, 0)

    return film


def shapes_video(random: torch.Generator, resolution: int, frames: int = FRAMES) -> Tensor:
    """Ellipses and boxes with textures, that go to and fro, grow and shrink, over a textured ground."""
    line = torch.linspace(-1, 1, resolution)
    y, x = torch.meshgrid(line, line, indexing="ij")

    def texture(strength: float) -> Tensor:
        waves = torch.zeros(resolution, resolution)
        for _ in range(3):
            turn, length = uniform(random, 0, math.pi), uniform(random, 4, 40)
            waves += torch.sin(length * (math.cos(turn) * x + math.sin(turn) * y) + uniform(random, 0, 6.3))
        return strength * waves / 3

    ground = uniform(random, 0, 1) + texture(uniform(random, 0, 0.1))
    time = torch.arange(frames) / FRAMES
    start = uniform(random, 0, 1)
    breath = torch.cos(2 * math.pi * (time + start)) + uniform(random, -0.3, 0.3) * torch.cos(
        4 * math.pi * (time + start)
    )
    video = ground.expand(frames, -1, -1).clone()
    for _ in range(draw(random, 2, 7)):
        grey, patterned = uniform(random, 0, 1), texture(uniform(random, 0, 0.12))
        at, reach = [uniform(random, -0.8, 0.8) for _ in range(2)], [uniform(random, -0.2, 0.2) for _ in range(2)]
        size, growth = [uniform(random, 0.06, 0.6) for _ in range(2)], uniform(random, -0.15, 0.15)
        turn, power = uniform(random, 0, math.pi), 2.0 if uniform(random, 0, 1) < 0.7 else 8.0
        for frame, depth in enumerate(breath.tolist()):
            u, v = x - at[0] - reach[0] * depth, y - at[1] - reach[1] * depth
            across, along = (math.cos(turn) * u + math.sin(turn) * v, math.cos(turn) * v - math.sin(turn) * u)
            far = (across / size[0]).abs() ** power + (along / size[1]).abs() ** power
            inside = torch.sigmoid((1 + growth * depth - far) * 40)
            video[frame] += inside * (grey + patterned - video[frame])
    return (video + uniform(random, 0, 0.02) * torch.randn(video.shape, generator=random)).clamp(0, 1)


def grain(shape: tuple[int, int], width: float, random: torch.Generator) -> Tensor:
    """Noise of standard deviation 1 that is so many pixels wide, shape (h, w)."""
    few = torch.randn(1, 1, *(math.ceil(n / width) + 1 for n in shape), generator=random)
    wide = F.interpolate(few, scale_factor=width, mode="bilinear")[0, 0, : shape[0], : shape[1]]
    return wide / wide.std()


def roughened(seen: Tensor, meant: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """More detail and more noise than generated pictures have.

    Args:
        seen: What is shown, (h, w), 0 to 1.
        meant: What is to be made of it.
        random: Draws strengths and widths.

    Returns:
        Both with detail of 2 to 5 pixels, up to 100 HU; what is shown with noise of 1 to 2 pixels besides, up to 60 HU.
    """
    shape = (seen.shape[0], seen.shape[1])
    unit = HIGH_HU - LOW_HU
    detail = uniform(random, 0, 100 / unit) * grain(shape, uniform(random, 2, 5), random)
    noise = uniform(random, 0, 60 / unit) * grain(shape, uniform(random, 1, 2), random)
    return (seen + detail + noise).clamp(0, 1), (meant + detail).clamp(0, 1)


def lung_label(hu: Tensor) -> Tensor:
    """White where there is lung, black elsewhere, HU; opened, so that the skin does not count; (n, z, y, x)."""
    lung = ((hu > LUNG_HU[0]) & (hu < LUNG_HU[1])).float()[:, None]
    opened = F.max_pool3d(-F.max_pool3d(-lung, 3, 1, 1), 3, 1, 1)[:, 0]
    return torch.where(opened > 0, HIGH_HU, LOW_HU)


def analogy(patient: Filmed, random: torch.Generator, resolution: int) -> Tensor:
    """Four pairs of question and answer of one task, from slices and phases of one patient: shape (8, r, r)."""
    task = TASKS[draw(random, 0, len(TASKS) - 1)]
    coarse = draw(random, 3, 6)
    noise = uniform(random, 0.03, 0.08)
    shown = cut(patient, random, resolution)
    frames = []
    for farther in range(4):
        phase = draw(random, 0, len(patient.clean) - 1)
        answer = shown(patient.clean[phase : phase + 1], 2 * farther)
        if task == "label":
            question, answer = answer, shown(lung_label(patient.clean[phase : phase + 1]), 2 * farther)
        elif task == "denoise":
            question = (answer + noise * torch.randn(answer.shape, generator=random)).clamp(0, 1)
        else:
            few = F.interpolate(answer[:, None], scale_factor=1 / coarse, mode="area")
            question = F.interpolate(few, answer.shape[-2:], mode="bilinear")[:, 0]
        frames += [question, answer]
    return torch.cat(frames)
