"""Layers that more than one generative network is made of."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtmotion.video.network import ChannelNorm, doubled

__all__ = ["FACTS", "Block", "ChannelNorm", "doubled", "joined", "noise_like", "time_facts", "weighted_mean", "zeroed"]

FACTS = 4


def time_facts(time: float) -> Tensor:
    """The place in the cycle of a phase `time` cycles after the last observed one: two harmonics, shape (4,)."""
    turn = 2 * math.pi * time
    return torch.tensor([math.sin(turn), math.cos(turn), math.sin(2 * turn), math.cos(2 * turn)])


class Block(nn.Module):
    """A residual block that is told facts of its phase; nothing is normalised over voxels."""

    def __init__(self, channels: int, facts: int = FACTS) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = nn.Conv3d(channels, channels, 3, padding=1)
        self.told = nn.Linear(facts, channels)
        self.second = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, facts: Tensor) -> Tensor:
        """Features (n, c, z, y, x) and facts (n, f)."""
        inner = self.first(self.norm(x)) + self.told(facts)[:, :, None, None, None]
        changed: Tensor = x + self.second(F.silu(inner))
        return changed


def zeroed(layer: nn.Conv3d) -> nn.Conv3d:
    """The layer with zero weights: an untrained network predicts that nothing changes."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Mean of values (m, z, y, x) by weights of that shape."""
    return (values * weight).sum() / weight.sum().clamp_min(1e-3)


def joined(features: Sequence[Tensor]) -> Tensor:
    """Features of several sources, one behind the other along the channels."""
    return torch.cat(list(features), dim=1)


def noise_like(values: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal noise of that shape from a generator of the CPU, so that every device draws the same."""
    return torch.randn(values.shape, generator=generator).to(values)
