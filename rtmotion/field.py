"""Displacement and velocity fields, and the pure functions on them.

A displacement `u` is in mm, LPS, components (x, y, z), given on the *fixed* grid, and maps fixed world points to
moving world points: `warped(x) = moving(x + u(x))`. A stationary velocity `v` has the same unit, frame and grid;
`exp(v)` is the displacement of its flow over unit time, `exp(-v)` that of the inverse map.

All functions take leading batch axes, run on the tensors' device, and are differentiable. Outside its grid a field
goes on with its border value.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rtmotion.errors import GeometryError
from rtmotion.grid import Grid
from rtmotion.types import MaskVolume, Points, ScalarBatch, ScalarVolume, VectorBatch, VectorVolume

STEP_VOXELS = 0.4
"""Scaling and squaring starts from a step of at most this many voxels: beyond half a voxel the first steps may fold."""


def index_coordinates(grid: Grid, device: torch.device | str = "cpu") -> VectorVolume:
    """The index (x, y, z) of every voxel, float32, shape (3, z, y, x)."""
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in grid.shape]
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, z])


def world_coordinates(grid: Grid, device: torch.device | str = "cpu") -> VectorVolume:
    """The world position (LPS, mm) of every voxel, float32, shape (3, z, y, x)."""
    index = index_coordinates(grid, device)
    origin = torch.as_tensor(grid.origin, dtype=torch.float32, device=device)
    return _apply(grid.index_to_world_matrix, index) + origin[:, None, None, None]


def _apply(matrix: np.ndarray, vectors: Tensor) -> Tensor:
    """A 3×3 matrix applied to the components (axis -4) of a vector volume."""
    if np.count_nonzero(matrix - np.diag(np.diagonal(matrix))) == 0:
        scale = torch.as_tensor(np.diagonal(matrix).copy(), dtype=vectors.dtype, device=vectors.device)
        return vectors * scale[:, None, None, None]
    return torch.einsum(
        "ij,...jzyx->...izyx", torch.as_tensor(matrix, dtype=vectors.dtype, device=vectors.device), vectors
    )


def to_index_units(vectors: VectorBatch, grid: Grid) -> VectorBatch:
    """Vectors in mm, LPS, to vectors in voxels along the index axes (x, y, z) of `grid`."""
    return _apply(grid.world_to_index_matrix, vectors)


def to_world_units(vectors: VectorBatch, grid: Grid) -> VectorBatch:
    """Vectors in voxels along the index axes (x, y, z) of `grid` to vectors in mm, LPS."""
    return _apply(grid.index_to_world_matrix, vectors)


def sample_at_index(image: Tensor, index: Tensor, mode: str = "linear", fill: float | None = None) -> Tensor:
    """Values of an image at continuous indices.

    Args:
        image: Shape (*batch, c, z, y, x).
        index: Indices (x, y, z), shape (*batch, 3, Z, Y, X); the batch axes may be missing on either side.
        mode: `linear` or `nearest`.
        fill: Value outside the image; None goes on with the border value.

    Returns:
        Shape (*batch, c, Z, Y, X), of the image's type.
    """
    batch = np.broadcast_shapes(image.shape[:-4], index.shape[:-4])
    image_5d = image.expand(*batch, *image.shape[-4:]).reshape(-1, *image.shape[-4:])
    last = torch.tensor([max(n - 1, 1) for n in image.shape[:-4:-1]], dtype=index.dtype, device=index.device)
    # [-1, 1] between the centres of the outermost voxels; an axis of one voxel has its only centre at -1
    normalised = (index.movedim(-4, -1) * (2.0 / last) - 1.0).expand(*batch, *index.shape[-3:], 3)
    normalised = normalised.reshape(-1, *index.shape[-3:], 3)
    source = image_5d if fill is None else image_5d - fill
    sampled = F.grid_sample(
        source.to(index.dtype),
        normalised,
        mode={"linear": "bilinear", "nearest": "nearest"}[mode],
        padding_mode="border" if fill is None else "zeros",
        align_corners=True,
    )
    sampled = sampled if fill is None else sampled + fill
    return sampled.reshape(*batch, image.shape[-4], *index.shape[-3:])


def warp(
    moving: Tensor,
    displacement: VectorBatch,
    grid: Grid,
    *,
    moving_grid: Grid | None = None,
    mode: str = "linear",
    fill: float | None = None,
) -> Tensor:
    """The moving image seen on the fixed grid: `warped(x) = moving(x + u(x))`.

    Args:
        moving: Scalars, shape (*batch, z, y, x), or channels, shape (*batch, c, z, y, x): told apart by having one
            axis less than, or as many as, the displacement.
        displacement: mm, LPS, on `grid`, fixed to moving; shape (*batch, 3, Z, Y, X).
        grid: The fixed grid.
        moving_grid: The grid of `moving`; None where it is the fixed grid.
        mode: `linear` or `nearest` (labels).
        fill: Value outside the moving grid; None goes on with the border value.

    Returns:
        Float tensor on the fixed grid, with the axes of `moving`.
    """
    source = moving_grid or grid
    if tuple(moving.shape[-3:]) != source.shape or tuple(displacement.shape[-3:]) != grid.shape:
        raise GeometryError(
            f"the moving image {tuple(moving.shape)} and the displacement {tuple(displacement.shape)} do not lie on "
            f"their grids {source.shape} and {grid.shape} (z, y, x)"
        )
    index = _start_index(grid, source, displacement.device).to(displacement.dtype)
    index = index + to_index_units(displacement, source)
    scalar = moving.ndim == displacement.ndim - 1
    sampled = sample_at_index(moving.unsqueeze(-4) if scalar else moving, index, mode, fill)
    return sampled.squeeze(-4) if scalar else sampled


def _start_index(grid: Grid, source: Grid, device: torch.device) -> VectorVolume:
    """The continuous index in `source` of every voxel of `grid`."""
    index = index_coordinates(grid, device)
    if source is grid:
        return index
    matrix = source.world_to_index_matrix @ grid.index_to_world_matrix
    offset = source.world_to_index_matrix @ (np.asarray(grid.origin) - np.asarray(source.origin))
    return _apply(matrix, index) + torch.as_tensor(offset, dtype=index.dtype, device=device)[:, None, None, None]


def resample(image: Tensor, grid: Grid, target: Grid, *, mode: str = "linear", fill: float | None = None) -> Tensor:
    """An image (or each component of a field) on another grid, smoothed first along the axes that get coarser.

    Args:
        image: Shape (*batch, z, y, x); leading axes are treated alike, so a vector volume (3, z, y, x) is fine.
        grid: The grid of `image`.
        target: The grid wanted; any origin, spacing and direction.
        mode: `linear` or `nearest`; `nearest` (labels) is not smoothed.
        fill: Value outside `grid`; None goes on with the border value.
    """
    lead = image.shape[:-3]
    flat = image.reshape(-1, *image.shape[-3:])
    flat = flat if flat.is_floating_point() else flat.float()
    if mode == "linear":
        # per index axis of the source, how much coarser the target is along it
        ratio = np.linalg.norm(grid.world_to_index_matrix @ target.index_to_world_matrix, axis=1)
        flat = gaussian_smooth(flat, [0.42 * math.sqrt(max(r * r - 1.0, 0.0)) for r in ratio])
    index = _start_index(target, grid, image.device).to(flat.dtype)
    return sample_at_index(flat, index, mode, fill).reshape(*lead, *target.shape)


def gaussian_smooth(image: Tensor, sigma: list[float]) -> Tensor:
    """An image smoothed along its last three axes by a Gaussian; border values go on outside.

    Args:
        image: Shape (*batch, z, y, x), float.
        sigma: Standard deviations along the index axes x, y, z, in voxels; 0 leaves an axis alone.
    """
    lead = image.shape[:-3]
    out = image.reshape(-1, 1, *image.shape[-3:])
    for axis, s in zip((4, 3, 2), sigma, strict=True):
        if s <= 0.05 or out.shape[axis] == 1:
            continue
        radius = min(max(1, math.ceil(3.0 * s)), out.shape[axis] - 1)
        offset = torch.arange(-radius, radius + 1, device=out.device, dtype=out.dtype)
        kernel = torch.exp(-0.5 * (offset / s) ** 2)
        shape = [1, 1, 1, 1, 1]
        shape[axis] = -1
        padding = [0] * 6
        padding[2 * (4 - axis)] = padding[2 * (4 - axis) + 1] = radius
        out = F.conv3d(F.pad(out, padding, mode="replicate"), (kernel / kernel.sum()).reshape(shape))
    return out.reshape(*lead, *image.shape[-3:])


def exp(velocity: VectorBatch, grid: Grid, steps: int | None = None) -> VectorBatch:
    """The displacement of the flow of a stationary velocity over unit time, by scaling and squaring.

    Args:
        velocity: mm per unit time, LPS, shape (*batch, 3, z, y, x).
        grid: The grid of the velocity.
        steps: Number of squarings; None takes as many as bring the first step under `STEP_VOXELS` voxels.

    Returns:
        Displacement in mm, LPS, on the same grid. Method: Arsigny et al., MICCAI 2006, doi 10.1007/11866565_113.
    """
    voxel = to_index_units(velocity, grid)
    if steps is None:
        longest = float(voxel.detach().abs().max()) if voxel.numel() else 0.0
        steps = max(0, math.ceil(math.log2(max(longest, 1e-9) / STEP_VOXELS)))
    step = voxel / 2**steps
    identity = index_coordinates(grid, velocity.device).to(velocity.dtype)
    for _ in range(steps):
        step = step + sample_at_index(step, identity + step)
    return to_world_units(step, grid)


def compose(first: VectorBatch, second: VectorBatch, grid: Grid) -> VectorBatch:
    """The displacement of going along `first` and then along `second`: `x -> x + u1(x) + u2(x + u1(x))`.

    Both in mm, LPS, on the same `grid`. If `first` maps phase A to B and `second` B to C, the result maps A to C.
    """
    return first + warp(second, first, grid)


def invert(displacement: VectorBatch, grid: Grid, iterations: int = 20) -> VectorBatch:
    """The displacement of the inverse map, by fixed-point iteration `w <- -u(x + w(x))`.

    Converges where `u` is Lipschitz with a constant under 1 (no folding and compression under a factor of two);
    for the flow of a velocity take `exp(-v)`, which needs no iteration. Both fields in mm, LPS, on `grid`.
    """
    inverse = torch.zeros_like(displacement)
    for _ in range(iterations):
        inverse = -warp(displacement, inverse, grid)
    return inverse


def log(displacement: VectorBatch, grid: Grid, iterations: int = 8) -> VectorBatch:
    """The stationary velocity whose exponential is a displacement: `v <- v + exp(-v) after u`, from `v = u / 2`.

    For maps that are flows of a smooth velocity; for others it is the best that the iteration finds. Both in mm, LPS,
    on `grid`. Method: Bossa, Hernandez, Olmos, MICCAI 2007, doi 10.1007/978-3-540-75757-3_81.
    """
    velocity = displacement / 2
    for _ in range(iterations):
        velocity = velocity + compose(displacement, exp(-velocity, grid), grid)
    return velocity


def jacobian_determinant(displacement: VectorBatch, grid: Grid) -> ScalarBatch:
    """The local change of volume of `x -> x + u(x)`, by central differences (one-sided at the border).

    Returns:
        Shape (*batch, z, y, x); 1 where volume is kept, above 1 where the moving image is larger than the fixed one,
        0 or less where the map folds. Central differences can miss folds: see `rtmotion.evaluation` for counting.
    """
    voxel = to_index_units(displacement, grid)
    rows = []
    for axis in (-1, -2, -3):
        if voxel.shape[axis] > 1:
            rows.append(torch.gradient(voxel, dim=axis)[0])
        else:
            rows.append(torch.zeros_like(voxel))
    # d[a][c] = derivative of component c along index axis a
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-4) for row in rows)
    xx, yy, zz = 1 + xx, 1 + yy, 1 + zz
    return xx * (yy * zz - yz * zy) - xy * (yx * zz - yz * zx) + xz * (yx * zy - yy * zx)


@dataclass(frozen=True, eq=False)
class DisplacementField:
    """A displacement on a grid, fixed to moving.

    Attributes:
        data: mm, LPS, components (x, y, z), float32, shape (3, z, y, x): `warped(x) = moving(x + u(x))`.
        grid: The fixed grid, on which the field and the warped image live.
    """

    data: VectorVolume
    grid: Grid

    def __post_init__(self) -> None:
        if tuple(self.data.shape) != (3, *self.grid.shape):
            raise GeometryError(f"a field on {self.grid.shape} has shape (3, z, y, x), not {tuple(self.data.shape)}")

    @property
    def magnitude(self) -> ScalarVolume:
        """The length of the displacement, mm."""
        return self.data.square().sum(dim=0).sqrt()

    def warp(self, moving: Tensor, moving_grid: Grid | None = None, *, mode: str = "linear") -> Tensor:
        """The moving image on the fixed grid; see `rtmotion.field.warp`."""
        return warp(moving, self.data, self.grid, moving_grid=moving_grid, mode=mode)

    def then(self, second: "DisplacementField") -> "DisplacementField":
        """This map followed by `second`, which must live on the same grid; see `compose`."""
        if not self.grid.is_close(second.grid):
            raise GeometryError("fields to compose must live on one grid: resample one of them first")
        return DisplacementField(compose(self.data, second.data, self.grid), self.grid)

    def inverted(self, iterations: int = 20) -> "DisplacementField":
        """The inverse map on the same grid; see `invert`."""
        return DisplacementField(invert(self.data, self.grid, iterations), self.grid)

    def jacobian_determinant(self) -> ScalarVolume:
        """The local change of volume; see `jacobian_determinant`."""
        return jacobian_determinant(self.data, self.grid)

    def transform_points(self, points: Points) -> Points:
        """Moving world points of fixed world points (LPS, mm), shape (n, 3); border values go on outside."""
        index = self.grid.world_to_index(points.to(self.data.dtype))
        at = sample_at_index(self.data, index.T[:, None, None, :])
        return points + at[:, 0, 0, :].T.to(points.dtype)

    def to(self, device: torch.device | str) -> "DisplacementField":
        """The same field on another device."""
        return DisplacementField(self.data.to(device), self.grid)


def folds(displacement: VectorVolume, grid: Grid) -> MaskVolume:
    """Where the map `x -> x + u(x)` folds or collapses, by the ten-finite-difference criterion.

    Central differences miss folds of one voxel; a map is a digital diffeomorphism where all eight combinations of
    forward and backward differences, and the two tetrahedra that these leave out of a cell, keep their orientation.
    Liu, Chen, Wei, Carass, Prince, arXiv 2212.06060.

    Args:
        displacement: mm, LPS, shape (3, z, y, x).
        grid: The grid of the displacement.

    Returns:
        Bool, shape (z, y, x); `folds(u, grid).float().mean()` is the fraction of voxels that fold.
    """
    place = to_index_units(displacement, grid) + index_coordinates(grid, displacement.device)
    for component, axis in enumerate((-1, -2, -3)):
        if place.shape[axis] == 1:  # a slice by itself: a copy one voxel further on makes cells of it
            step = torch.zeros(3, 1, 1, 1, dtype=place.dtype, device=place.device)
            step[component] = 1.0
            place = torch.cat([place, place + step], dim=axis)
    # all cells at once, seen from each of their eight corners; bit a of a corner's number is its offset along index
    # axis a (x, y, z), and so are the edges along axis a
    cells = [tuple(slice(k >> a & 1, place.shape[-1 - a] - 1 + (k >> a & 1)) for a in (2, 1, 0)) for k in range(8)]
    at = [place[:, *cell] for cell in cells]
    edges = [place.diff(dim=-1 - a) for a in range(3)]
    folded = torch.zeros(place.shape[1:], dtype=torch.bool, device=place.device)
    for k in range(8):
        dx, dy, dz = (edges[a][:, *(slice(None) if b == a else cells[k][2 - b] for b in (2, 1, 0))] for a in range(3))
        folded[cells[k]] |= _triple_product(dx, dy, dz) <= 0
    for k, sign in ((0, 1), (7, -1)):
        yz, xz, xy = ((at[k ^ 7 ^ 1 << a] - at[k]) * sign for a in range(3))
        folded[cells[0]] |= _triple_product(yz, xz, xy) <= 0
    return folded[tuple(slice(0, s) for s in grid.shape)]


def _triple_product(a: VectorVolume, b: VectorVolume, c: VectorVolume) -> ScalarVolume:
    """`a · (b × c)`; written out, it takes a quarter of the time of `torch.linalg.cross` along the first axis."""
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = a, b, c
    product: ScalarVolume = ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx)
    return product


@dataclass(frozen=True, eq=False)
class VelocityField:
    """A stationary velocity on a grid of its own, coarser as a rule than the images'.

    Velocities on one grid may be added and scaled (the log domain); displacements of different maps may not.

    Attributes:
        data: mm per unit time, LPS, components (x, y, z), float32, shape (3, z, y, x).
        grid: Where the velocity is given.
    """

    data: VectorVolume
    grid: Grid

    def __post_init__(self) -> None:
        if tuple(self.data.shape) != (3, *self.grid.shape):
            raise GeometryError(f"a field on {self.grid.shape} has shape (3, z, y, x), not {tuple(self.data.shape)}")

    def displacement(self, grid: Grid) -> DisplacementField:
        """The displacement of its flow over unit time (`exp`), integrated on its own grid and given on `grid`."""
        return DisplacementField(resample(exp(self.data, self.grid), self.grid, grid), grid)

    def inverse(self) -> "VelocityField":
        """The velocity of the inverse map."""
        return VelocityField(-self.data, self.grid)
