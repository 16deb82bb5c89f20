"""The protocol of a registration engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from rtmotion.field import DisplacementField, VelocityField
from rtmotion.sequence import PhaseSequence, Volume
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


@runtime_checkable
class GroupwiseEngine(RegistrationEngine, Protocol):
    """An engine that registers a whole sequence at once, rather than each phase for itself."""

    def register_group(
        self,
        sequence: PhaseSequence,
        reference: int = 0,
        masks: Sequence[MaskVolume] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[Registration, ...]:
        """Registers every phase of a sequence to one of them.

        Args:
            sequence: At least two phases.
            reference: Index of the phase that all fields point to.
            masks: Where the similarity counts, one mask a phase; None takes what the engine finds best.
            progress: Called with (phases done, phases).

        Returns:
            One registration a phase: phase j is the fixed volume and the reference the moving one; the reference has
            the zero field.
        """
        ...
