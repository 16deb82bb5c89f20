"""The nouns of 4D CT: phase, volume, phase sequence, breathing trace."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from rtmotion.errors import GeometryError, PhaseError
from rtmotion.grid import Grid
from rtmotion.types import AnyVolume, Points, ScalarVolume


@dataclass(frozen=True, order=True)
class Phase:
    """A state of the breathing cycle.

    Attributes:
        fraction: Where in the vendor's cycle it lies, 0 <= fraction < 1; 0 is end-inhale by convention, but the real
            cycle may start anywhere.
        label: `T` and the percentage, two digits: T00, T10, ... T90.
    """

    fraction: float
    label: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fraction) and 0 <= self.fraction < 1):
            raise PhaseError(f"a phase is a fraction of the cycle, 0 <= f < 1, got {self.fraction}")
        if not self.label:
            object.__setattr__(self, "label", f"T{self.percent:02d}")

    @property
    def percent(self) -> int:
        """The fraction as a whole percentage, 0 to 99."""
        return min(round(100 * self.fraction), 99)

    @staticmethod
    def of_percent(percent: float) -> "Phase":
        """The phase of a percentage; 100 % is 0 % again.

        >>> Phase.of_percent(30)
        Phase(fraction=0.3, label='T30')
        """
        return Phase((percent % 100) / 100)


def cyclic_distance(a: float, b: float) -> float:
    """How far two fractions of the cycle lie apart, 0 to 0.5."""
    d = abs(a - b) % 1.0
    return min(d, 1.0 - d)


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT volume in Hounsfield units on a grid.

    Attributes:
        data: HU, shape (z, y, x), int16 as read or float32 as computed.
        grid: Where the voxels lie.
    """

    data: AnyVolume
    grid: Grid

    def __post_init__(self) -> None:
        if tuple(self.data.shape) != self.grid.shape:
            raise GeometryError(f"the voxels {tuple(self.data.shape)} do not fill the grid {self.grid.shape} (z, y, x)")

    @property
    def hu(self) -> ScalarVolume:
        """The voxels as float32 HU."""
        return self.data.float()

    def to(self, device: torch.device | str) -> "Volume":
        """The same volume on another device."""
        return Volume(self.data.to(device), self.grid)


@dataclass(frozen=True, eq=False)
class PhaseSequence:
    """The volumes of one breathing cycle on one grid, in the order of their phases.

    Attributes:
        phases: Strictly increasing in their fraction; at least one.
        volumes: One a phase, all on one grid (within 1e-3 mm).
        landmarks: Points of the same anatomy by phase label, world coordinates LPS mm, shape (n, 3), row i of one
            phase belonging to row i of every other; empty where there are none.
        masks: Structure name to one boolean mask a phase (shape (z, y, x)) by phase label; may be empty.
    """

    phases: tuple[Phase, ...]
    volumes: tuple[Volume, ...]
    landmarks: Mapping[str, Points] = field(default_factory=dict)
    masks: Mapping[str, Mapping[str, AnyVolume]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.phases or len(self.phases) != len(self.volumes):
            raise PhaseError(f"{len(self.phases)} phases and {len(self.volumes)} volumes make no sequence")
        for before, after in zip(self.phases, self.phases[1:], strict=False):
            if after.fraction <= before.fraction:
                raise PhaseError(f"phases must increase: {after.label} does not come after {before.label}")
        for phase, volume in zip(self.phases, self.volumes, strict=True):
            if not volume.grid.is_close(self.grid):
                raise GeometryError(f"phase {phase.label} lies on another grid than {self.phases[0].label}")

    def __len__(self) -> int:
        return len(self.phases)

    @property
    def grid(self) -> Grid:
        """The grid of all volumes."""
        return self.volumes[0].grid

    @property
    def labels(self) -> tuple[str, ...]:
        """The phase labels in order."""
        return tuple(p.label for p in self.phases)

    @property
    def fractions(self) -> npt.NDArray[np.float64]:
        """The phase fractions in order, shape (n,)."""
        return np.array([p.fraction for p in self.phases])

    def volume(self, label: str) -> Volume:
        """The volume of the phase of that label."""
        if label not in self.labels:
            raise PhaseError(f"no phase {label}; there are {', '.join(self.labels)}")
        return self.volumes[self.labels.index(label)]

    def select(self, indices: Sequence[int]) -> "PhaseSequence":
        """The sequence of some phases, with their landmarks and masks."""
        phases = tuple(self.phases[i] for i in indices)
        labels = {p.label for p in phases}
        return PhaseSequence(
            phases,
            tuple(self.volumes[i] for i in indices),
            {k: v for k, v in self.landmarks.items() if k in labels},
            {name: {k: v for k, v in by.items() if k in labels} for name, by in self.masks.items()},
        )

    def observe(self, k: int) -> tuple["PhaseSequence", "PhaseSequence"]:
        """The first k phases, observed, and the others, which are to be forecast.

        Raises:
            PhaseError: If k leaves nothing to observe from (k < 2) or nothing to forecast.
        """
        if not 2 <= k < len(self):
            raise PhaseError(
                f"--observe must be between 2 and {len(self) - 1} for a sequence of {len(self)} phases, got {k}"
            )
        return self.select(range(k)), self.select(range(k, len(self)))

    def to(self, device: torch.device | str) -> "PhaseSequence":
        """The same sequence with its volumes on another device."""
        return PhaseSequence(self.phases, tuple(v.to(device) for v in self.volumes), self.landmarks, self.masks)


@dataclass(frozen=True, eq=False)
class BreathingTrace:
    """A respiratory surrogate over time.

    Attributes:
        time: Seconds, increasing, shape (n,).
        amplitude: The surrogate, larger towards inhale, shape (n,); its unit does not matter to a forecast.
        phase: Fraction of the vendor's cycle at each time, 0 <= phase < 1, shape (n,), or None where the recording
            has none.
    """

    time: npt.NDArray[np.float64]
    amplitude: npt.NDArray[np.float64]
    phase: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        n = len(self.time)
        if n < 2 or len(self.amplitude) != n or (self.phase is not None and len(self.phase) != n):
            raise PhaseError(f"a breathing trace needs at least two samples of time and amplitude, got {n}")
        if not (np.isfinite(self.time).all() and np.isfinite(self.amplitude).all()):
            raise PhaseError("a breathing trace must be finite: remove or interpolate its gaps")
        if not (np.diff(self.time) > 0).all():
            raise PhaseError("the times of a breathing trace must increase")

    @property
    def duration(self) -> float:
        """Seconds from the first to the last sample."""
        return float(self.time[-1] - self.time[0])
