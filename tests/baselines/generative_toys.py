"""Small clips and scenes whose answer is known."""

import numpy as np
import torch
from torch import Tensor, nn

from rtmotion.video.tokens import Scene
from rtmotion_baselines.generative.clip import CELL_CHANNELS, Clip
from rtmotion_baselines.generative.image_recipe import Example


def random_clip(phases: int = 3, targets: int = 2, shape: tuple[int, int, int] = (8, 12, 8), seed: int = 0) -> Clip:
    """Noise in tenths of a cycle."""
    random = torch.Generator().manual_seed(seed)
    cells = torch.rand(phases, CELL_CHANNELS, *shape, generator=random) * 2 - 1
    times = torch.arange(1 - phases, 1) / 10
    return Clip(cells, times, torch.arange(1, targets + 1) / 10)


def random_example(targets: int = 2, seed: int = 0) -> Example:
    """A clip whose future is noise too."""
    clip = random_clip(targets=targets, seed=seed)
    future = random_clip(phases=targets, seed=seed + 1).cells
    return Example(clip, future, torch.ones(targets, *clip.cells.shape[-3:]), seed=5)


def random_scene(phases: int = 3, targets: int = 2, amplitude: bool = False, seed: int = 0) -> Scene:
    """Smooth noise that moves."""
    random = torch.Generator().manual_seed(seed)
    shape = (10, 12, 9)
    images = torch.rand(phases, *shape, generator=random) * 1000 - 900
    velocities = torch.randn(phases, 3, *shape, generator=random)
    velocities[0] = 0
    angles, ahead = np.arange(phases) / 10, np.arange(phases, phases + targets) / 10
    wave = np.cos(2 * np.pi * np.arange(phases + targets) / 10) if amplitude else None
    proposals = torch.zeros(targets, 3, *shape)
    return Scene(images, velocities, angles, 0, proposals, ahead, np.zeros(targets), wave)


class Knowing(nn.Module):
    """In the place of a U-Net: says what leads from any mixture to a known answer."""

    def __init__(self, answer: Tensor, say: str) -> None:
        super().__init__()
        self.answer, self.say = answer, say

    def forward(self, x: Tensor, timesteps: Tensor, class_labels: Tensor) -> Tensor:
        from rtmotion_baselines.generative.diffusion import TRAIN_STEPS, Diffusion

        image, step = x[:, :CELL_CHANNELS], float(timesteps)
        if self.say == "direction":  # image = answer (1 - t) + start t
            t = step / TRAIN_STEPS
            start = (image - (1 - t) * self.answer) / t
            return self.answer - start
        alpha = Diffusion.schedule(Diffusion.__new__(Diffusion)).alphas_cumprod[int(step)]
        noise = (image - alpha.sqrt() * self.answer) / (1 - alpha).sqrt()
        velocity: Tensor = alpha.sqrt() * noise - (1 - alpha).sqrt() * self.answer
        return velocity
