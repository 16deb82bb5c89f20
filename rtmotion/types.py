"""Tensor shapes, named once.

Volumes are indexed [z, y, x] (slices first, as SimpleITK's arrays); vectors hold their components (x, y, z) on the
axis before the volume's. A leading `*batch` stands for any number of batch axes, none included.
"""

from jaxtyping import Bool, Float, Shaped
from torch import Tensor

ScalarVolume = Float[Tensor, "z y x"]
"""One value a voxel (HU, mm, a probability)."""

AnyVolume = Shaped[Tensor, "z y x"]
"""A volume of any number type, as it comes from the disk (int16 HU, uint8 labels)."""

MaskVolume = Bool[Tensor, "z y x"]

VectorVolume = Float[Tensor, "3 z y x"]
"""A vector (x, y, z) a voxel; unit and frame stand where the name is used."""

VectorStack = Float[Tensor, "n 3 z y x"]
"""One vector volume a phase."""

ScalarBatch = Float[Tensor, "*batch z y x"]
VectorBatch = Float[Tensor, "*batch 3 z y x"]

Points = Float[Tensor, "n 3"]
"""Points or vectors (x, y, z), in world coordinates (LPS, mm) unless said otherwise."""
