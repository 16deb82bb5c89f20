"""How a volume is turned so that the patient stands upright on the screen."""

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rtmotion.field import sample_at_index
from rtmotion.grid import Grid

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Orientation:
    """Which index axis runs nearest to left, posterior and superior, and which way.

    Upright arrays are indexed [s, p, l]: from inferior to superior, from anterior to posterior, from the patient's
    right to the patient's left.

    Attributes:
        axes: The index axis (0, 1, 2 for x, y, z) nearest to left, posterior and superior.
        signs: 1 where that axis runs to left, posterior or superior, -1 where it runs the other way.
        spacing: Along left, posterior, superior, mm.
        size: Number of voxels along left, posterior, superior.
        matrix: 3×3, float64: LPS vectors to components along the three axes; its rows are unit vectors.
        tilt_degrees: The largest angle between one of them and the world axis that it stands for.
    """

    axes: tuple[int, int, int]
    signs: tuple[int, int, int]
    spacing: tuple[float, float, float]
    size: tuple[int, int, int]
    matrix: Array
    tilt_degrees: float

    def upright(self, values: Array) -> Array:
        """A view of an array (..., z, y, x) of the grid as (..., s, p, l)."""
        lead = values.ndim - 3
        order = [*range(lead), *(lead + 2 - a for a in self.axes[::-1])]
        flips = (slice(None),) * lead + tuple(slice(None, None, sign) for sign in self.signs[::-1])
        return values.transpose(order)[flips]

    def to_grid(self, upright_index: Array) -> Array:
        """Indices (l, p, s), shape (n, 3), as indices (x, y, z) of the grid, float64."""
        index = np.empty(upright_index.shape, dtype=np.float64)
        for world, (axis, sign) in enumerate(zip(self.axes, self.signs, strict=True)):
            at = upright_index[:, world]
            index[:, axis] = at if sign > 0 else self.size[world] - 1 - at
        return index

    def vectors(self, displacement: Tensor) -> Array:
        """A vector volume (3, z, y, x), LPS mm, as components along left, posterior, superior, (3, s, p, l)."""
        components = displacement.detach().cpu().float().numpy()
        if np.count_nonzero(self.matrix - np.eye(3)):
            components = np.einsum("ij,jzyx->izyx", self.matrix.astype(np.float32), components)
        return self.upright(components)


def orientation_of(grid: Grid) -> Orientation:
    """The assignment of index axes to left, posterior and superior with the smallest angles."""
    cosines = grid.direction_matrix
    axes = max(permutations(range(3)), key=lambda p: sum(abs(cosines[w, a]) for w, a in enumerate(p)))
    signs = tuple(1 if cosines[w, a] >= 0 else -1 for w, a in enumerate(axes))
    matrix = np.stack([sign * cosines[:, a] for a, sign in zip(axes, signs, strict=True)])
    tilt = float(np.degrees(np.arccos(np.clip(np.diagonal(matrix).min(), -1.0, 1.0))))
    return Orientation(
        axes,  # type: ignore[arg-type]
        signs,  # type: ignore[arg-type]
        tuple(grid.spacing[a] for a in axes),  # type: ignore[arg-type]
        tuple(grid.size[a] for a in axes),  # type: ignore[arg-type]
        matrix,
        tilt,
    )


def sample_field(displacement: Tensor, grid: Grid, world: Tensor) -> Tensor:
    """The displacement (LPS, mm) at world points, shape (n, 3), float32."""
    index = grid.world_to_index(world.float())
    return sample_at_index(displacement.detach().cpu().float(), index.T[:, None, None, :])[:, 0, 0, :].T
