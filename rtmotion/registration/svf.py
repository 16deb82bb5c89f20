"""The native registration engine: a stationary velocity field fitted to one pair of volumes, coarse to fine."""

import time
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from rtmotion.errors import GeometryError
from rtmotion.field import VelocityField, exp, folds, index_coordinates, resample
from rtmotion.grid import Grid
from rtmotion.registration.engine import Registration
from rtmotion.registration.similarity import local_ncc
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume

HU_WINDOW = (-1000.0, 100.0)
"""Below: air outside and artefacts; above: bone and contrast, which would outweigh the lung."""


@dataclass(frozen=True)
class SvfRegistration:
    """Registration by an instance-optimised stationary velocity field.

    Minimises `lncc_weight·(1 − local NCC) + ssd_weight·SSD + bending·|∇²v|² + diffusion·|∇v|²` over the velocity
    with Adam, on a pyramid of working grids. The velocity lives on a control grid of twice the working spacing.

    Attributes:
        spacings: Working spacings in mm, coarse to fine; never finer than the volumes.
        iterations: Steps of Adam at each of them.
        rates: Step length of Adam at each of them, as a fraction of the working spacing.
        lncc_weight: Weight of the local normalised cross-correlation.
        ssd_weight: Weight of the squared difference in units of 100 HU.
        radius: Half width of the correlation window, voxels of the working grid.
        noise: HU; local contrast well below it does not count for the correlation.
        diffusion: Weight of the squared velocity gradient (mm/mm).
        bending: Weight of the squared Laplacian of the velocity (1/mm), times mm².
        control_ratio: Spacing of the control grid over that of the working grid.
    """

    spacings: tuple[float, ...] = (8.0, 4.0, 2.0)
    iterations: tuple[int, ...] = (50, 40, 25)
    rates: tuple[float, ...] = (0.1, 0.1, 0.1)
    lncc_weight: float = 1.0
    ssd_weight: float = 0.5
    radius: int = 2
    noise: float = 30.0
    diffusion: float = 0.05
    bending: float = 0.0
    control_ratio: float = 2.0
    name: str = field(default="svf", init=False)

    def register(
        self,
        fixed: Volume,
        moving: Volume,
        mask: MaskVolume | None = None,
        initial: VelocityField | None = None,
    ) -> Registration:
        """Registers `moving` to `fixed`.

        Args:
            fixed: The volume on whose grid the field will lie.
            moving: The volume that the field points into; on any grid.
            mask: Where on the fixed grid the similarity counts; None: everywhere.
            initial: A velocity to start from, such as that of a neighbouring phase; None starts from rest.

        Returns:
            The registration, with its velocity on `control_grid(fixed.grid)`.
        """
        start = time.perf_counter()
        if mask is not None and tuple(mask.shape) != fixed.grid.shape:
            raise GeometryError(f"the mask {tuple(mask.shape)} does not lie on the fixed grid {fixed.grid.shape}")
        velocity = initial or VelocityField(
            torch.zeros(3, 1, 1, 1, device=fixed.data.device), fixed.grid.resized((1, 1, 1))
        )
        loss = float("nan")
        levels = list(zip(self.spacings, self.iterations, self.rates, strict=True))
        for i, (spacing, iterations, rate) in enumerate(levels):
            # volumes too coarse for the next level make two of them alike
            if i + 1 < len(levels) and self._grids(fixed.grid, spacing) == self._grids(fixed.grid, levels[i + 1][0]):
                continue
            velocity, loss = self._fit_level(fixed, moving, mask, velocity, spacing, iterations, rate)
        displacement = velocity.displacement(fixed.grid)
        details = {
            "loss": loss,
            "folding_percent": 100 * float(folds(displacement.data, fixed.grid).float().mean()),
        }
        return Registration(displacement, velocity, time.perf_counter() - start, details)

    def control_grid(self, grid: Grid) -> Grid:
        """The grid of the velocity for volumes on `grid`."""
        return self._grids(grid, self.spacings[-1])[1]

    def _grids(self, grid: Grid, spacing: float) -> tuple[Grid, Grid]:
        """The working and the control grid of a level for volumes on `grid`."""
        return grid.with_spacing(spacing, minimum=8), grid.with_spacing(spacing * self.control_ratio, minimum=4)

    def _fit_level(
        self,
        fixed: Volume,
        moving: Volume,
        mask: MaskVolume | None,
        velocity: VelocityField,
        spacing: float,
        iterations: int,
        rate: float,
    ) -> tuple[VelocityField, float]:
        """The velocity after one level of the pyramid, and its loss."""
        device = fixed.data.device
        grid, control = self._grids(fixed.grid, spacing)
        same = moving.grid.is_close(fixed.grid)
        source = grid if same else moving.grid.with_spacing(spacing, minimum=8)
        image_f = resample(_windowed(fixed), fixed.grid, grid)[None, None]
        image_m = resample(_windowed(moving), moving.grid, source)[None, None]
        weight = torch.ones(1, 1, *grid.shape, device=device)
        if mask is not None:
            weight = resample(mask.float(), fixed.grid, grid)[None, None]
        parameter = resample(velocity.data, velocity.grid, control).clone().requires_grad_(True)
        optimiser = torch.optim.Adam([parameter], lr=rate * spacing)
        sampler = _Sampler(grid, source, device)
        value = torch.zeros(())
        for _ in range(iterations):
            optimiser.zero_grad()
            shift = F.interpolate(exp(parameter, control)[None], size=grid.shape, mode="trilinear", align_corners=False)
            warped, inside = sampler(image_m, shift)
            value = self._dissimilarity(image_f, warped, weight * inside)
            value = value + self._roughness(parameter, control)
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        return VelocityField(parameter.detach(), control), float(value.detach())

    def _dissimilarity(self, fixed: Tensor, warped: Tensor, weight: Tensor) -> Tensor:
        """The mean dissimilarity over the weighted voxels; all shapes (1, 1, z, y, x)."""
        total = torch.zeros_like(fixed)
        if self.lncc_weight:
            total = total + self.lncc_weight * (1 - local_ncc(fixed, warped, self.radius, self.noise / 100))
        if self.ssd_weight:
            total = total + self.ssd_weight * (fixed - warped) ** 2
        return (total * weight).sum() / weight.sum().clamp_min(1)

    def _roughness(self, velocity: Tensor, grid: Grid) -> Tensor:
        """The mean penalty of a velocity, mm, shape (3, z, y, x)."""
        total = torch.zeros((), device=velocity.device)
        for axis, spacing in zip((-1, -2, -3), grid.spacing, strict=True):
            if velocity.shape[axis] > 1 and self.diffusion:
                total = total + self.diffusion * (velocity.diff(dim=axis) / spacing).square().sum(0).mean()
            if velocity.shape[axis] > 2 and self.bending:
                total = total + self.bending * (velocity.diff(n=2, dim=axis) / spacing**2).square().sum(0).mean()
        return total


class _Sampler:
    """Samples moving images of one grid at displaced points of another, with what never changes kept."""

    def __init__(self, grid: Grid, source: Grid, device: torch.device) -> None:
        size = torch.tensor([max(n - 1, 1) for n in source.size], dtype=torch.float32, device=device)
        matrix = torch.as_tensor(source.world_to_index_matrix, dtype=torch.float32, device=device)
        start = index_coordinates(grid, device)
        if source is not grid:
            world = grid.index_to_world(start.reshape(3, -1).T)
            start = source.world_to_index(world).T.reshape(3, *grid.shape)
        self.matrix = (matrix * (2.0 / size)[:, None]).T.contiguous()  # mm, LPS -> grid_sample's [-1, 1]
        self.start = (start.movedim(0, -1) * (2.0 / size) - 1.0)[None].contiguous()

    def __call__(self, image: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        """The warped image and which voxels came from inside, for a shift in mm LPS, shape (1, 3, z, y, x)."""
        at = torch.addmm(self.start.reshape(-1, 3), shift[0].reshape(3, -1).T, self.matrix).reshape(self.start.shape)
        warped = F.grid_sample(image, at, padding_mode="border", align_corners=True)
        inside = (at.detach().abs() <= 1.0 + 1e-4).all(dim=-1)[None].float()
        return warped, inside


def _windowed(volume: Volume) -> Tensor:
    """The voxels in the lung's window, in units of 100 HU, shape (z, y, x)."""
    return volume.hu.clamp(*HU_WINDOW) / 100
