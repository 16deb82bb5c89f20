"""Flow of a velocity and sampling along it, for the inner loop of a registration.

Everything here is in voxels of the control grid, along its index axes (x, y, z), and repeatable on every device: no
gradient is scattered.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from rtmotion.field import index_coordinates
from rtmotion.grid import Grid


class ControlLattice:
    """A control grid, with what the flow of its velocities needs, kept."""

    def __init__(self, grid: Grid, device: torch.device) -> None:
        last = torch.tensor([max(n - 1, 1) for n in grid.size], dtype=torch.float32, device=device)
        self.scale = 2.0 / last
        self.start = index_coordinates(grid, device).movedim(0, -1) * self.scale - 1.0

    def pull(self, field: Tensor, shift: Tensor) -> Tensor:
        """A field (c, z, y, x) at every node moved by `shift` (3, z, y, x), in voxels."""
        at = self.start + shift.movedim(0, -1) * self.scale
        pulled: Tensor = F.grid_sample(field[None], at[None], padding_mode="border", align_corners=True)[0]
        return pulled

    def flow(self, velocity: Tensor, squarings: int) -> Tensor:
        """The displacement of a velocity's flow over unit time, by scaling and squaring; shape (3, z, y, x)."""
        step = velocity / float(2**squarings)
        for _ in range(squarings):
            step = step + self.pull(step, step)
        return step


class Flow(torch.autograd.Function):
    """`ControlLattice.flow` with a gradient that is pulled back along the flow.

    The exact gradient at x collects the gradients of all trajectories through x, `∫ g(φ₋ₛ(x)) ds` up to the local
    change of volume. It is taken here from the middle of the path (s = 1/2): one forward integration and one sample
    instead of a scatter for each squaring, which is faster, and the same on every run on a GPU.
    """

    @staticmethod
    def forward(ctx: Any, velocity: Tensor, lattice: ControlLattice, squarings: int) -> Tensor:
        """The displacement, shape (3, z, y, x)."""
        ctx.save_for_backward(velocity)
        ctx.lattice, ctx.squarings = lattice, squarings
        return lattice.flow(velocity, squarings)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The gradient by the velocity, pulled back from half way."""
        (velocity,) = ctx.saved_tensors
        back = ctx.lattice.flow(-0.5 * velocity, max(ctx.squarings - 1, 0))
        return ctx.lattice.pull(gradients[0], back), None, None


class Subset:
    """Every n-th voxel of a working grid from an offset: where one step of the registration looks."""

    def __init__(
        self, grid: Grid, source: Grid, control: Grid, offset: tuple[int, int, int], stride: int, device: torch.device
    ) -> None:
        """Prepares the sampling.

        Args:
            grid: The working grid of the fixed volume.
            source: The working grid of the moving volume.
            control: The control grid, over the extent of `grid`.
            offset: First voxel along z, y, x.
            stride: Step between voxels.
            device: Where to compute.
        """
        self.slices = tuple(slice(o, None, stride) for o in offset)
        self.matrices = [
            interpolation_matrix(n, m, o, stride).to(device)
            for n, m, o in zip(control.shape, grid.shape, offset, strict=True)
        ]
        index = index_coordinates(grid, device)[:, *self.slices].movedim(0, -1)
        if source is not grid:
            index = source.world_to_index(grid.index_to_world(index.reshape(-1, 3))).reshape(index.shape)
        scale = 2.0 / torch.tensor([max(n - 1, 1) for n in source.size], dtype=torch.float32, device=device)
        self.start = index * scale - 1.0
        turn = torch.as_tensor(source.world_to_index_matrix @ control.index_to_world_matrix, dtype=torch.float32)
        self.turn = (turn.to(device) * scale[:, None]).T.contiguous()

    def upsample(self, field: Tensor) -> Tensor:
        """A field on the control grid, shape (3, z, y, x), at the voxels of the subset, by linear interpolation."""
        at_z, at_y, at_x = self.matrices
        field = torch.einsum("czyx,Zz->cZyx", field, at_z)
        field = torch.einsum("czyx,Yy->czYx", field, at_y)
        return field @ at_x.T

    def sample(self, image: Tensor, displacement: Tensor) -> tuple[Tensor, Tensor]:
        """The moving image (1, c, z, y, x) seen at the subset, and which of its voxels lie inside (1, 1, z, y, x)."""
        shift = self.upsample(displacement).movedim(0, -1)
        at = self.start + shift @ self.turn
        warped = F.grid_sample(image, at[None], padding_mode="border", align_corners=True)
        return warped, (at.detach().abs() <= 1.0001).all(dim=-1)[None, None]


def interpolation_matrix(coarse: int, fine: int, offset: int = 0, stride: int = 1) -> Tensor:
    """Linear interpolation along one axis, between two grids over the same extent.

    Args:
        coarse: Voxels of the grid that has the values.
        fine: Voxels of the grid that wants them.
        offset: First voxel wanted.
        stride: Step between the voxels wanted.

    Returns:
        Float32, shape (voxels wanted, coarse); rows sum to 1, border values go on outside.
    """
    place = (torch.arange(offset, fine, stride, dtype=torch.float64) + 0.5) * coarse / fine - 0.5
    place = place.clamp(0, coarse - 1)
    below = place.floor().long()
    rows = torch.arange(len(place))
    matrix = torch.zeros(len(place), coarse, dtype=torch.float64)
    matrix[rows, below] = 1 - (place - below)
    matrix[rows, (below + 1).clamp(max=coarse - 1)] += place - below
    return matrix.float()
