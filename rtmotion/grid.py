"""The geometry of a volume: where its voxels lie in the patient."""

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rtmotion.errors import GeometryError
from rtmotion.types import Points

IDENTITY_DIRECTION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

ORTHONORMAL_TOLERANCE = 1e-3
"""DICOM writes direction cosines with few decimals; more than this from orthonormal is no rotation."""


@dataclass(frozen=True)
class Grid:
    """A regular grid of voxels in the patient, in ITK's and DICOM's terms.

    World coordinates are LPS (x to the patient's left, y to posterior, z to superior) in mm. The world position of
    index `i = (ix, iy, iz)` is `origin + direction @ (spacing * i)`; tensors on the grid are indexed `[iz, iy, ix]`.

    Attributes:
        size: Number of voxels along x, y, z of the index (not of the world); each at least 1.
        spacing: Distance of neighbouring voxel centres along the index axes, mm, positive.
        origin: World position of the centre of voxel (0, 0, 0), LPS mm.
        direction: The 3×3 matrix of axis directions, row by row as ITK gives it; column `a` is the unit vector of
            index axis `a` in the world.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY_DIRECTION

    def __post_init__(self) -> None:
        if len(self.size) != 3 or any(n < 1 for n in self.size):
            raise GeometryError(f"a grid needs three sizes of at least 1, got {self.size}")
        if len(self.spacing) != 3 or not all(np.isfinite(s) and s > 0 for s in self.spacing):
            raise GeometryError(f"a grid needs three positive spacings in mm, got {self.spacing}")
        if len(self.origin) != 3 or not np.isfinite(self.origin).all():
            raise GeometryError(f"a grid needs three finite coordinates of its origin, got {self.origin}")
        if len(self.direction) != 9 or not np.isfinite(self.direction).all():
            raise GeometryError(f"a direction is nine finite numbers, row by row; got {self.direction}")
        matrix = np.asarray(self.direction, dtype=float).reshape(3, 3)
        if not np.allclose(matrix.T @ matrix, np.eye(3), atol=ORTHONORMAL_TOLERANCE):
            raise GeometryError(
                f"the axis directions are not perpendicular unit vectors (sheared or tilted volume): {self.direction}"
            )

    @cached_property
    def direction_matrix(self) -> npt.NDArray[np.float64]:
        """The axis directions as the columns of a 3×3 matrix, float64."""
        return np.asarray(self.direction, dtype=np.float64).reshape(3, 3)

    @cached_property
    def index_to_world_matrix(self) -> npt.NDArray[np.float64]:
        """3×3, float64: index differences (x, y, z) to world differences, LPS mm."""
        return np.asarray(self.direction_matrix * np.asarray(self.spacing))

    @cached_property
    def world_to_index_matrix(self) -> npt.NDArray[np.float64]:
        """3×3, float64: world differences, LPS mm, to index differences (x, y, z)."""
        return np.asarray(np.linalg.inv(self.index_to_world_matrix))

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of a tensor on this grid: (z, y, x)."""
        return (self.size[2], self.size[1], self.size[0])

    @property
    def voxels(self) -> int:
        """The number of voxels."""
        return self.size[0] * self.size[1] * self.size[2]

    @property
    def voxel_volume(self) -> float:
        """The volume of a voxel, mm³."""
        return float(np.prod(self.spacing))

    @cached_property
    def is_axis_aligned(self) -> bool:
        """Whether the direction is the identity, so that index axes are x to left, y to posterior, z to superior."""
        return self.direction == IDENTITY_DIRECTION

    def index_to_world(self, index: Points) -> Points:
        """World positions (LPS, mm) of indices.

        Args:
            index: Continuous indices (x, y, z), shape (n, 3).

        >>> Grid((4, 4, 4), (2.0, 2.0, 3.0), (10.0, 0.0, 0.0)).index_to_world(torch.tensor([[1.0, 0.0, 2.0]]))
        tensor([[12.,  0.,  6.]])
        """
        matrix = torch.as_tensor(self.index_to_world_matrix, dtype=index.dtype, device=index.device)
        return index @ matrix.T + torch.as_tensor(self.origin, dtype=index.dtype, device=index.device)

    def world_to_index(self, world: Points) -> Points:
        """Continuous indices (x, y, z) of world positions (LPS, mm), shape (n, 3)."""
        matrix = torch.as_tensor(self.world_to_index_matrix, dtype=world.dtype, device=world.device)
        return (world - torch.as_tensor(self.origin, dtype=world.dtype, device=world.device)) @ matrix.T

    def contains(self, world: Points) -> Tensor:
        """Which world positions (LPS, mm) lie inside the outermost voxels' borders; bool, shape (n,)."""
        index = self.world_to_index(world)
        upper = torch.as_tensor(self.size, dtype=index.dtype, device=index.device) - 0.5
        return ((index >= -0.5) & (index <= upper)).all(dim=-1)

    def is_close(self, other: "Grid", tolerance: float = 1e-3) -> bool:
        """Whether two grids have the same size and place their voxels within `tolerance` mm of each other."""
        if self.size != other.size:
            return False
        corner = torch.tensor([[0.0, 0.0, 0.0], *torch.diag(torch.tensor(self.size) - 1.0).tolist()]).double()
        return bool(torch.allclose(self.index_to_world(corner), other.index_to_world(corner), rtol=0, atol=tolerance))

    def resized(self, size: tuple[int, int, int]) -> "Grid":
        """The grid of another size over the same extent: the outer borders of the outermost voxels coincide."""
        spacing = tuple(s * n / m for s, n, m in zip(self.spacing, self.size, size, strict=True))
        # the first centre moves by half the difference of the voxel sizes, along each index axis
        shift = self.direction_matrix @ (0.5 * (np.asarray(spacing) - np.asarray(self.spacing)))
        origin = tuple((np.asarray(self.origin) + shift).tolist())
        return Grid(size, spacing, origin, self.direction)  # type: ignore[arg-type]

    def along_patient_axes(self, spacing: float, multiple: int = 1) -> "Grid":
        """The isotropic grid along the patient's axes (direction identity) that covers this one.

        Args:
            spacing: mm.
            multiple: The size along each axis is a multiple of this.
        """
        ends = [(-0.5, n - 0.5) for n in self.size]
        corners = np.array(list(itertools.product(*ends))) @ self.index_to_world_matrix.T + np.asarray(self.origin)
        low, high = corners.min(axis=0), corners.max(axis=0)
        # a volume that is a whole number of steps long, up to rounding, is not given one more
        steps = np.maximum(1, np.ceil((high - low) / (spacing * multiple) - 1e-6)).astype(int)
        x, y, z = (steps * multiple).tolist()
        origin = 0.5 * (low + high) - 0.5 * spacing * (np.array([x, y, z]) - 1)
        return Grid((x, y, z), (spacing, spacing, spacing), tuple(origin.tolist()))

    def with_spacing(self, spacing: float | tuple[float, float, float], minimum: int = 1) -> "Grid":
        """The grid over the same extent whose spacing comes nearest to `spacing` mm, never finer than this one.

        Args:
            spacing: Wanted spacing in mm, one number or one an index axis.
            minimum: No axis gets fewer voxels than this (or than it has).
        """
        wanted = (spacing, spacing, spacing) if isinstance(spacing, (int, float)) else spacing
        size = tuple(
            max(min(n, minimum), min(n, round(n * s / w)))
            for n, s, w in zip(self.size, self.spacing, wanted, strict=True)
        )
        return self.resized(size)  # type: ignore[arg-type]
