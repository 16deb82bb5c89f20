"""A recurrent network that predicts displacement: a 3D ConvLSTM reads the observed phases and goes on by itself.

The idea is RMSim's (Lee et al., Medical Physics 2023, arXiv 2301.11422): a sequence-to-sequence ConvLSTM whose output
is a field that warps a phase, so that no tissue is invented, modulated by a breathing trace where there is one. The
code is rtmotion's own: each step sees a phase (image and registered velocity to the first phase) and says how the
velocity changes to the next; what it predicts, warped, is what it sees next.
"""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtmotion.types import VectorStack
from rtmotion.video.network import Block, ChannelNorm, cut, doubled, padded
from rtmotion.video.tokens import TOKEN_CHANNELS, Scene, moved_image, token_fields
from rtmotion_baselines.generative.fields import mean_distance, relative
from rtmotion_baselines.generative.layers import FACTS, joined, time_facts, zeroed

STEP_MM = 4.0
"""Velocities that change by so much from phase to phase are the unit of the last layer."""

TOLD = 3
"""Channels of the waveform: its value, that of the next phase, and whether there is one."""

State = tuple[Tensor, Tensor]


class ConvLstmCell(nn.Module):
    """One step of a convolutional LSTM (Shi et al., NeurIPS 2015, arXiv 1506.04214) in 3D."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.Conv3d(2 * channels, 4 * channels, 3, padding=1)

    def forward(self, x: Tensor, state: State | None) -> State:
        """Input (1, channels, z, y, x) and the state before; hidden features and cell after, of the same shape."""
        if state is None:
            state = (torch.zeros_like(x), torch.zeros_like(x))
        keep, write, show, new = self.gates(torch.cat([x, state[0]], dim=1)).chunk(4, dim=1)
        cell = torch.sigmoid(keep + 1) * state[1] + torch.sigmoid(write) * torch.tanh(new)
        return torch.sigmoid(show) * torch.tanh(cell), cell


class ConvLstm(nn.Module):
    """See the module's docstring: ConvLSTMs at 16 and 32 mm, a decoder to a velocity at 8 mm."""

    def __init__(self, channels: tuple[int, int] = (32, 48)) -> None:
        super().__init__()
        fine, coarse = channels
        self.stem = nn.Conv3d(TOKEN_CHANNELS + TOLD, fine, 2, stride=2)
        self.look = Block(fine, FACTS)
        self.fine = ConvLstmCell(fine)
        self.down = nn.Conv3d(fine, coarse, 2, stride=2)
        self.coarse = ConvLstmCell(coarse)
        self.join = nn.Conv3d(fine + coarse, fine, 1)
        self.back = Block(fine, FACTS)
        self.norm = ChannelNorm(fine)
        self.top = nn.Conv3d(fine + TOKEN_CHANNELS, 16, 3, padding=1)
        self.out = zeroed(nn.Conv3d(16, 3, 3, padding=1))

    def forward(self, scene: Scene, truth: VectorStack, weight: Tensor, seed: int) -> dict[str, Tensor]:
        """`loss` and its parts: `error` (mm) and `roughness`; the seed is not needed."""
        velocity = self.sample(scene)
        error = mean_distance(velocity, truth, weight)
        change = (velocity - scene.velocities[-1]) / STEP_MM
        rough = torch.stack([change.diff(dim=a).square().mean() for a in (2, 3, 4)]).sum()
        return {"loss": relative(error, scene, truth, weight) + 0.2 * rough, "error": error, "roughness": rough}

    def sample(self, scene: Scene, generator: torch.Generator | None = None) -> VectorStack:
        """Velocities of the targets to the reference, one after the other, mm, LPS, (m, 3, z, y, x); never drawn."""
        still, k = scene.images[scene.reference], len(scene.images)
        amplitude = _relative(scene)
        times = [*scene.angles.tolist(), *scene.target_angles.tolist()]
        states: tuple[State | None, State | None] = (None, None)
        found: list[Tensor] = []
        for place, (time, following) in enumerate(itertools.pairwise(times)):
            velocity = scene.velocities[place] if place < k else found[-1].detach()
            image = scene.images[place] if place < k else moved_image(still, velocity, scene.grid)
            fields = token_fields(image, velocity)
            # what the trace says of this phase and of the one to predict from it
            told = [0.0] * TOLD if amplitude is None else [float(amplitude[place]), float(amplitude[place + 1]), 1.0]
            seen = padded(
                torch.cat([fields, fields.new_tensor(told)[:, None, None, None].expand(-1, *fields.shape[1:])])
            )
            now, then = (time_facts(t).to(seen)[None] for t in (time, following))
            fine = self.fine(self.look(self.stem(seen[None]), now), states[0])
            coarse = self.coarse(self.down(fine[0]), states[1])
            states = (fine, coarse)
            if place + 1 < k:
                continue
            hidden = self.norm(self.back(self.join(joined([fine[0], doubled(coarse[0])])), then))
            top = F.silu(self.top(joined([doubled(hidden), seen[None, :TOKEN_CHANNELS]])))
            step = cut(self.out(top)[0], fields.shape[-3:])
            found.append((scene.velocities[-1] if not found else found[-1].detach()) + STEP_MM * step.float())
        return torch.stack(found)


def _relative(scene: Scene) -> Tensor | None:
    """The waveform from its value at the last observed phase, in units of the observed range."""
    if scene.amplitude is None:
        return None
    values = torch.as_tensor(scene.amplitude, dtype=torch.float32)
    seen = values[: len(scene.images)]
    return (values - seen[-1]) / (seen.max() - seen.min()).clamp_min(1e-6)
