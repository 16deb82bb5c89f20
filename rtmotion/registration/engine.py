"""The protocol of a registration engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from rtmotion.field import DisplacementField, VelocityField
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume


@dataclass(frozen=True, eq=False)
class Registration:
    """How a moving volume fits a fixed one.

    Attributes:
        displacement: Fixed to moving, mm, LPS, on the fixed grid: `warped(x) = moving(x + u(x))`.
        velocity: The stationary velocity whose flow is the displacement, mm, LPS, on a grid of its own (coarser than
            the fixed one as a rule): `velocity.displacement(fixed.grid)` is `displacement`; None where the engine has
            none.
        seconds: Wall time.
        details: What the engine says of the run (final loss, folding), JSON-compatible.
    """

    displacement: DisplacementField
    velocity: VelocityField | None = None
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class RegistrationEngine(Protocol):
    """Anything that registers two volumes."""

    @property
    def name(self) -> str:
        """What the registry calls it."""
        ...

    def register(self, fixed: Volume, moving: Volume, mask: MaskVolume | None = None) -> Registration:
        """Registers `moving` to `fixed`.

        Args:
            fixed: The volume on whose grid the field will lie.
            moving: The volume that the field points into; on any grid.
            mask: Where on the fixed grid the similarity counts; None takes what the engine finds best.
        """
        ...
