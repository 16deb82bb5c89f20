"""Conditional diffusion and flow matching: images drawn step by step, conditioned on all observed phases.

Both are one U-Net of MONAI (`DiffusionModelUNet`) that sees the observed phases on a clock of ten slots, the image so
far, the step, and which slot is asked for. Images are changes from the last observed phase. The two differ in where
they start, what they follow, and whether they are shown the phases or how these differ from the last one (which of the
two each learned more from):

- `Diffusion` starts from noise: velocity prediction (Salimans, Ho, arXiv 2202.00512), deterministic steps of DDIM (Song
  et al., arXiv 2010.02502), MONAI's `DDIMScheduler`.
- `FlowMatching` starts at the last observed phase and follows a straight line to the one to come (temporal flow
  matching, arXiv 2508.21580; rectified flow, arXiv 2209.03003), MONAI's `RFlowScheduler`. A little noise on the start
  is what its samples differ by.

All targets of a sample start from the same noise.
"""

import itertools
from typing import Any

import torch
from torch import Tensor, nn

from rtmotion_baselines.generative.clip import (
    CELL_CHANNELS,
    CHANGE_UNIT,
    CLOCK_CHANNELS,
    SLOTS,
    Clip,
    clock,
    slot_of,
    tiled,
)
from rtmotion_baselines.generative.image_recipe import Example
from rtmotion_baselines.generative.layers import noise_like, weighted_mean

TRAIN_STEPS = 1000
FIRST_STEP = TRAIN_STEPS - 1

AWAY = 0.5
"""Share of the flow's examples away from its start."""

START_NOISE = 0.25
"""Of the flow's start, in units of the change: 28 HU."""


def conditional_unet(channels: tuple[int, ...]) -> nn.Module:
    """MONAI's U-Net at 8, 16 and 32 mm; it sees the image so far and the clock, and predicts eight channels."""
    from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

    network: nn.Module = DiffusionModelUNet(
        spatial_dims=3,
        in_channels=CELL_CHANNELS + CLOCK_CHANNELS,
        out_channels=CELL_CHANNELS,
        channels=channels,
        attention_levels=(False,) * len(channels),
        num_res_blocks=1,
        norm_num_groups=8,
        num_head_channels=8,
        num_class_embeds=SLOTS,
        use_flash_attention=True,
    )
    return network


class ImageSampler(nn.Module):
    """What diffusion and flow matching share: the U-Net, asked for one target at a time."""

    def __init__(self, channels: tuple[int, ...] = (32, 48, 64)) -> None:
        super().__init__()
        self.unet = conditional_unet(channels)
        self.register_buffer("spread_factor", torch.ones(()))

    def asked(self, image: Tensor, seen: Tensor, step: float, slot: int, tile: int) -> Tensor:
        """The U-Net's answer for a change so far, shape (8, z, y, x), in its unit; the clock `seen` (90, z, y, x)."""
        steps = torch.tensor([float(step)], device=image.device)
        label = torch.tensor([slot], device=image.device)
        found = tiled(lambda x: self.unet(x, timesteps=steps, class_labels=label), torch.cat([image, seen]), tile)
        return found.float()


class Diffusion(ImageSampler):
    """See the module's docstring."""

    def schedule(self) -> Any:
        """MONAI's schedule of noise."""
        from monai.networks.schedulers import DDIMScheduler

        return DDIMScheduler(
            num_train_timesteps=TRAIN_STEPS, schedule="cosine", prediction_type="v_prediction", clip_sample=False
        )

    def forward(self, example: Example) -> dict[str, Tensor]:
        """`loss`: mean squared error of the predicted velocity of the diffusion."""
        random, schedule = torch.Generator().manual_seed(example.seed), self.schedule()
        clean = example.change[:1] / CHANGE_UNIT
        noise = noise_like(clean, random)
        step = torch.randint(0, TRAIN_STEPS, (1,), generator=random).to(clean.device)
        mixed = schedule.add_noise(clean, noise, step)
        wanted = schedule.get_velocity(clean, noise, step)
        slot = slot_of(float(example.clip.ahead[0]))
        found = self.asked(mixed[0], clock(example.clip, differences=False), float(step), slot, max(mixed.shape))
        loss = weighted_mean((found - wanted[0]).square().mean(dim=0), example.weight[0])
        return {"loss": loss, "velocity": loss}

    def sample(self, clip: Clip, generator: torch.Generator, tile: int = 64, steps: int = 4) -> Tensor:
        """Changes from the last observed phase, drawn; shape (m, 8, z, y, x).

        Args:
            clip: What was observed.
            generator: Where the noise comes from.
            tile: Cells along each axis that the network looks at at once.
            steps: Of the sampler.
        """
        schedule, seen = self.schedule(), clock(clip, differences=False)
        schedule.set_timesteps(steps)
        noise, found = noise_like(clip.last, generator), []
        for time in clip.ahead.tolist():
            image = noise
            # MONAI's own `timesteps` lie farther apart than its `step` assumes
            for step in FIRST_STEP - torch.arange(steps) * (TRAIN_STEPS // steps):
                answer = self.asked(image, seen, float(step), slot_of(time), tile)
                image = schedule.step(answer, step, image)[0]
            found.append(image * CHANGE_UNIT)
        return torch.stack(found)


class FlowMatching(ImageSampler):
    """See the module's docstring."""

    def schedule(self) -> Any:
        """MONAI's schedule: straight lines."""
        from monai.networks.schedulers import RFlowScheduler

        return RFlowScheduler(num_train_timesteps=TRAIN_STEPS, use_discrete_timesteps=False)

    def forward(self, example: Example) -> dict[str, Tensor]:
        """`loss`: mean squared error of the direction of the flow, in units of the change."""
        random, schedule = torch.Generator().manual_seed(example.seed), self.schedule()
        future = example.change[:1] / CHANGE_UNIT
        start = START_NOISE * noise_like(future, random)
        # half of the examples ask at the start: farther on, the image so far tells most of the answer
        time = torch.rand(2, generator=random)
        step = TRAIN_STEPS * (time[:1] if float(time[1]) < AWAY else torch.ones(1)).to(future.device)
        mixed = schedule.add_noise(future, start, step)
        slot = slot_of(float(example.clip.ahead[0]))
        found = self.asked(mixed[0], clock(example.clip, differences=True), float(step), slot, max(mixed.shape))
        loss = weighted_mean((found - (future - start)[0]).square().mean(dim=0), example.weight[0])
        return {"loss": loss, "direction": loss}

    def sample(self, clip: Clip, generator: torch.Generator, tile: int = 64, steps: int = 3) -> Tensor:
        """Changes from the last observed phase, drawn; see `Diffusion.sample`."""
        schedule, seen = self.schedule(), clock(clip, differences=True)
        schedule.set_timesteps(steps)
        start, found = START_NOISE * noise_like(clip.last, generator), []
        times = [float(t) for t in schedule.timesteps]
        for time in clip.ahead.tolist():
            image = start
            for step, following in itertools.pairwise([*times, 0.0]):
                answer = self.asked(image, seen, step, slot_of(time), tile)
                image = schedule.step(answer, step, image, following)[0]
            found.append(image * CHANGE_UNIT)
        return torch.stack(found)
