"""A true phase, with what every method is scored against: computed when it is first asked for, and then kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch

from rtmotion.evaluation.lungs import Dome, split_lungs, true_dome
from rtmotion.evaluation.overlap import Surface, centroid, surface
from rtmotion.evaluation.regions import body_mask, lung_mask
from rtmotion.evaluation.sharpness import slope
from rtmotion.sequence import PhaseSequence, Volume
from rtmotion.types import MaskVolume, Points, ScalarVolume

SEGMENTED = "lung-by-hu"
"""The region of lungs that the segmenter of `rtmotion.evaluation.regions` finds in prediction and truth alike."""


@dataclass(frozen=True, eq=False)
class TruePhase:
    """What the methods are scored against in one phase.

    Attributes:
        volume: The true volume.
        regions: `body` and `lung` of it, or what is given in their place.
        structures: The masks that came with the case, by name.
        landmarks: The points that came with it, LPS mm, shape (n, 3), or None.
        registered: What was found by registering predictions to it, by a hash of the prediction; see
            `rtmotion.evaluation.registered`.
    """

    volume: Volume
    regions: Mapping[str, MaskVolume]
    structures: Mapping[str, MaskVolume]
    landmarks: Points | None = None
    registered: dict[bytes, tuple[float, float]] = field(default_factory=dict, init=False, repr=False)
    _surfaces: dict[str, Surface | None] = field(default_factory=dict, init=False, repr=False)
    _centroids: dict[str, Points] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def anywhere(self) -> MaskVolume | None:
        """The union of the regions, None where there are none."""
        return torch.stack(list(self.regions.values())).any(dim=0) if self.regions else None

    @cached_property
    def slope(self) -> ScalarVolume:
        """The length of its gradient, HU/mm."""
        return slope(self.volume.data, self.volume.grid)

    @cached_property
    def domes(self) -> tuple[Dome, ...]:
        """The floor of each lung that shows the dome of the diaphragm."""
        found = (
            true_dome("lung" if side == "lung" else f"lung-{side}", self.volume, part)
            for side, part in split_lungs(self.regions["lung"], self.volume.grid).items()
        )
        return tuple(dome for dome in found if dome is not None)

    def surface(self, name: str) -> Surface | None:
        """The surface of a structure (or of `SEGMENTED`); None where it is empty."""
        if name not in self._surfaces:
            mask = self.regions["lung"] if name == SEGMENTED else self.structures[name]
            self._surfaces[name] = surface(mask, self.volume.grid)
        return self._surfaces[name]

    def centroid(self, name: str) -> Points:
        """The centroid of a structure that is not empty, LPS mm, shape (3,)."""
        if name not in self._centroids:
            self._centroids[name] = centroid(self.structures[name], self.volume.grid)
        return self._centroids[name]


def true_phase(truth: PhaseSequence, label: str, regions: Mapping[str, MaskVolume] | None = None) -> TruePhase:
    """The phase of that label of a sequence, with its regions (found where none are given), structures and landmarks.

    Raises:
        PhaseError: If there is no such phase.
    """
    volume = truth.volume(label)
    structures = {name: by[label].bool() for name, by in truth.masks.items() if label in by}
    points = truth.landmarks.get(label)
    return TruePhase(volume, region_masks(volume) if regions is None else regions, structures, points)


def region_masks(volume: Volume) -> dict[str, MaskVolume]:
    """The regions `body` and `lung` of a phase; see `rtmotion.evaluation.regions`."""
    body = body_mask(volume)
    return {"body": body, "lung": lung_mask(volume, body)}
