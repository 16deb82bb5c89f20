"""A recipe small enough to train in a test: the slope of a line from noisy points."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn

SLOPE, OFFSET = 2.0, -1.0


@dataclass(frozen=True)
class LineRecipe:
    """Patients are numbers; an example is a few points of the line around one."""

    name: str = "line"
    nonsense_from: float = float("inf")

    def build(self) -> nn.Module:
        return nn.Linear(1, 1)

    def keep(self, patient: float) -> float:
        return patient

    def example(self, kept: float, random: torch.Generator) -> Tensor:
        return kept + torch.randn(8, 1, generator=random)

    def loss(self, network: nn.Module, example: Tensor) -> dict[str, Tensor]:
        loss = (network(example) - (SLOPE * example + OFFSET)).square().mean()
        return {"loss": loss if float(example.mean()) < self.nonsense_from else loss * torch.nan}

    def validate(self, network: nn.Module, patient: float) -> dict[str, float]:
        with torch.no_grad():
            return {"error": abs(float(network(torch.tensor([[patient]]))) - (SLOPE * patient + OFFSET))}


def numbers(first: int, step: int = 1) -> Iterator[float]:
    """The stream: patient n is the number n modulo 3."""
    return (float(n % 3) for n in count(first, step))
