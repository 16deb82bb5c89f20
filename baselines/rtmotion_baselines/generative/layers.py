"""What more than one generative network is made of, beside the video network's layers."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

FACTS = 4
"""What `time_facts` says of a phase."""


def time_facts(time: float) -> Tensor:
    """The place in the cycle of a phase `time` cycles after another: two harmonics, shape (4,)."""
    turn = 2 * math.pi * time
    return torch.tensor([math.sin(turn), math.cos(turn), math.sin(2 * turn), math.cos(2 * turn)])


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
