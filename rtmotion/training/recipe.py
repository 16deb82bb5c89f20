"""What the training loop asks of a network's recipe."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

Patient = TypeVar("Patient", contravariant=True)
Kept = TypeVar("Kept")
Example = TypeVar("Example")


class Recipe(Protocol[Patient, Kept, Example]):
    """How a network is built, what it is shown, and what it is told.

    A patient is made (slow), kept in a pool for a while, and shown in many random examples (fast).
    """

    @property
    def name(self) -> str:
        """The network's name: that of its weights file."""
        ...

    def build(self) -> nn.Module:
        """The untrained network; draws from torch's global generator, which the loop has seeded."""
        ...

    def keep(self, patient: Patient) -> Kept:
        """What the pool holds of a patient."""
        ...

    def example(self, kept: Kept, random: torch.Generator) -> Example:
        """A random example of a patient."""
        ...

    def loss(self, network: nn.Module, example: Example) -> Mapping[str, Tensor]:
        """Scalars: `loss`, which is minimised, and whatever else is to be logged."""
        ...

    def validate(self, network: nn.Module, patient: Patient) -> Mapping[str, float]:
        """Scores of the averaged network on a patient that is not trained on."""
        ...


@runtime_checkable
class Finishing(Protocol):
    """A recipe with a last touch on its network when the steps are done, such as a calibration."""

    def finish(self, network: nn.Module, patients: Sequence[Any]) -> None:
        """Sets buffers of the averaged network.

        Args:
            network: Its buffers are changed.
            patients: Those of the validation.
        """
        ...
