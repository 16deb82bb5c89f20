"""The protocol of a registration engine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from rtmotion.field import DisplacementField
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume, VectorVolume


@dataclass(frozen=True, eq=False)
class Registration:
    """How a moving volume fits a fixed one.

    Attributes:
        displacement: Fixed to moving, mm, LPS, on the fixed grid: `warped(x) = moving(x + u(x))`.
        velocity: The stationary velocity whose exponential is the displacement, mm, LPS, shape (3, z, y, x), on the
            fixed grid; None where the engine has none.
        seconds: Wall time.
        details: What the engine says of the run (final loss, folding), JSON-compatible.
    """

    displacement: DisplacementField
    velocity: VectorVolume | None = None
    seconds: float = 0.0
    details: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class RegistrationEngine(Protocol):
    """Anything that registers two volumes."""

    name: str

    def register(self, fixed: Volume, moving: Volume, mask: MaskVolume | None = None) -> Registration:
        """Registers `moving` to `fixed`.

        Args:
            fixed: The volume on whose grid the field will lie.
            moving: The volume that the field points into; on any grid.
            mask: Where on the fixed grid the similarity counts; None takes what the engine finds best.
        """
        ...
