"""The native registration engine: a stationary velocity field fitted to one pair of volumes, coarse to fine."""

import itertools
import math
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from rtmotion.errors import GeometryError
from rtmotion.field import STEP_VOXELS, VelocityField, folds, resample, to_index_units, to_world_units
from rtmotion.grid import Grid
from rtmotion.registration.engine import Registration
from rtmotion.registration.flow import ControlLattice, Flow, Subset
from rtmotion.registration.region import near_body
from rtmotion.registration.similarity import channels
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume

SMOOTH_MM = 10.0
"""A control grid of this spacing is smooth enough for volumes however coarse."""

UNFOLDING = 12
"""At most so many times is a velocity smoothed where its flow folds on the fixed grid; twice is the rule."""


@dataclass(frozen=True)
class SvfRegistration:
    """Registration by an instance-optimised stationary velocity field.

    Minimises the mean squared difference of windowed HU and of locally standardised HU (a local correlation), and the
    squared gradient of the velocity, by Adam on a pyramid of working grids. The velocity lives on a control grid about
    twice as coarse, smoothed by binomial filters; each step of the fine levels looks at every second voxel along each
    axis, another eighth of them each time.

    Attributes:
        spacings: Working spacings in mm, coarse to fine; never finer than the volumes.
        iterations: Steps of Adam at each of them.
        strides: Each step looks at every n-th voxel along each axis.
        rate: Step length of Adam at the start of a level over its working spacing (or the voxels', where these are
            coarser); it falls to a tenth of that.
        hu_weight: Weight of the squared difference in units of 100 HU: a small residual in HU.
        local_weight: Weight of the squared difference of locally standardised HU: landmarks where density changes.
        radius: Half width of the local window, voxels of the working grid.
        noise: HU; local contrast well below it does not count.
        diffusion: Weight of the squared velocity gradient (mm/mm).
        smoothing: Binomial filters over the velocity's parameters, where its grid is coarser than the voxels.
        control_ratio: Spacing of the control grid over that of the working grid, or over the voxels where these are
            coarser, up to `SMOOTH_MM`.
        seed: Of the order in which the voxels are looked at.
    """

    spacings: tuple[float, ...] = (8.0, 4.0, 2.0)
    iterations: tuple[int, ...] = (48, 48, 40)
    strides: tuple[int, ...] = (1, 2, 2)
    rate: float = 0.1
    hu_weight: float = 0.6
    local_weight: float = 1.0
    radius: int = 2
    noise: float = 60.0
    diffusion: float = 0.3
    smoothing: int = 1
    control_ratio: float = 2.0
    seed: int = 0
    name: str = field(default="svf", init=False)

    def __post_init__(self) -> None:
        if not (0 < len(self.spacings) == len(self.iterations) == len(self.strides)):
            raise ValueError("spacings, iterations and strides must have one entry for each level")
        if min(self.hu_weight, self.local_weight) < 0 or self.hu_weight + self.local_weight == 0:
            raise ValueError("hu_weight and local_weight must be 0 or more, and one of them more than 0")

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
            mask: Where on the fixed grid the similarity counts; None: in and just around the body (`near_body`).
            initial: A velocity to start from, such as that of a neighbouring phase: the last two levels follow. None
                starts from rest.

        Returns:
            The registration, with its velocity on `control_grid(fixed.grid)`.

        Raises:
            GeometryError: If the mask does not lie on the fixed grid.
        """
        start = time.perf_counter()
        if mask is not None and tuple(mask.shape) != fixed.grid.shape:
            raise GeometryError(f"the mask {tuple(mask.shape)} does not lie on the fixed grid {fixed.grid.shape}")
        region = (near_body(fixed) if mask is None else mask).float()
        device = fixed.data.device
        velocity = initial or VelocityField(torch.zeros(3, 1, 1, 1, device=device), fixed.grid.resized((1, 1, 1)))
        loss = float("nan")
        levels = self._levels(fixed.grid)
        for level in levels if initial is None else levels[-2:]:
            velocity, loss = self._fit_level(fixed, moving, region, velocity, level)
        displacement = velocity.displacement(fixed.grid)
        folded = folds(displacement.data, fixed.grid)
        for _ in range(UNFOLDING):
            if not folded.any():
                break
            velocity = _smoothed_near(velocity, folded, fixed.grid)
            displacement = velocity.displacement(fixed.grid)
            folded = folds(displacement.data, fixed.grid)
        folding = 100 * float(folded.float().mean())
        seconds = time.perf_counter() - start
        return Registration(displacement, velocity, seconds, {"loss": loss, "folding_percent": folding})

    def control_grid(self, grid: Grid) -> Grid:
        """The grid of the velocity for volumes on `grid`."""
        return self._grids(grid, -1)[1]

    def _levels(self, grid: Grid) -> list[int]:
        """The levels that differ for volumes on `grid`: where these are too coarse for the next one, two are alike."""
        grids = [self._grids(grid, level) for level in range(len(self.spacings))]
        return [n for n in range(len(grids)) if n + 1 == len(grids) or grids[n] != grids[n + 1]]

    def _grids(self, grid: Grid, level: int) -> tuple[Grid, Grid]:
        """The working and the control grid of a level for volumes on `grid`."""
        spacing = self.spacings[level]
        # what is finer than twice the voxels follows the noise of coarse volumes
        control = max(self.control_ratio * spacing, min(self.control_ratio * min(grid.spacing), SMOOTH_MM))
        return grid.with_spacing(spacing, minimum=8), grid.with_spacing(control, minimum=4)

    def _fit_level(
        self, fixed: Volume, moving: Volume, region: Tensor, velocity: VelocityField, level: int
    ) -> tuple[VelocityField, float]:
        """The velocity after one level of the pyramid, and its loss."""
        device = fixed.data.device
        grid, control = self._grids(fixed.grid, level)
        same = moving.grid.is_close(fixed.grid)
        source = grid if same else moving.grid.with_spacing(self.spacings[level], minimum=8)
        target, image = self._channels(fixed, grid), self._channels(moving, source)
        weight = resample(region, fixed.grid, grid)[None, None]
        stride = self.strides[level]
        offsets = [o for o in itertools.product(range(stride), repeat=3) if all(map(int.__lt__, o, grid.shape))]
        lattice = ControlLattice(control, device)
        subsets = [Subset(grid, source, control, (z, y, x), stride, device) for z, y, x in offsets]
        size = torch.tensor(control.spacing, device=device)[:, None, None, None]
        base = to_index_units(resample(velocity.data, velocity.grid, control), control) * size
        # what Adam moves: mm along the index axes of the control grid, on top of the velocity so far
        change = torch.zeros_like(base, requires_grad=True)
        start_rate = self.rate * max(self.spacings[level], min(grid.spacing))
        # where the control grid is as fine as the voxels, these have blurred the motion enough already
        filters = 0 if control.size == fixed.grid.size else self.smoothing
        optimiser = torch.optim.Adam([change], lr=start_rate, betas=(0.9, 0.99))
        generator = torch.Generator().manual_seed(self.seed)
        order: list[int] = []
        loss = torch.zeros(())
        count = self.iterations[level]
        for step in range(count):
            order = order or torch.randperm(len(subsets), generator=generator).tolist()
            subset = subsets[order.pop()]
            optimiser.param_groups[0]["lr"] = start_rate * (0.55 + 0.45 * math.cos(math.pi * step / count))
            optimiser.zero_grad()
            current = base + _binomial(change, filters)
            shift = Flow.apply(current / size, lattice, _squarings(current / size))  # type: ignore[no-untyped-call]
            warped, inside = subset.sample(image, shift)
            counts = weight[:, :, *subset.slices] * inside
            difference = (warped - target[:, :, *subset.slices]).square().sum(dim=1, keepdim=True)
            loss = (difference * counts).sum() / counts.sum().clamp_min(1) + self._roughness(current, control)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():
            fitted = (base + _binomial(change, filters)) / size
        return VelocityField(to_world_units(fitted, control), control), float(loss.detach())

    def _channels(self, volume: Volume, grid: Grid) -> Tensor:
        """The channels to compare of a volume on a working grid, shape (1, c, z, y, x)."""
        return channels(
            resample(volume.hu, volume.grid, grid),
            hu_weight=self.hu_weight,
            local_weight=self.local_weight,
            radius=self.radius,
            noise=self.noise,
        )

    def _roughness(self, velocity: Tensor, grid: Grid) -> Tensor:
        """The weighted mean squared gradient of a velocity in mm, shape (3, z, y, x)."""
        total = torch.zeros((), device=velocity.device)
        for axis, spacing in zip((-1, -2, -3), grid.spacing, strict=True):
            if velocity.shape[axis] > 1:
                total = total + (velocity.diff(dim=axis) / spacing).square().sum(dim=0).mean()
        return self.diffusion * total


def _squarings(velocity: Tensor) -> int:
    """As many squarings as `rtmotion.field.exp` takes for a velocity in voxels."""
    longest = float(velocity.detach().abs().max())
    return max(0, math.ceil(math.log2(max(longest, 1e-9) / STEP_VOXELS)))


def _smoothed_near(velocity: VelocityField, folded: MaskVolume, grid: Grid) -> VelocityField:
    """The velocity smoothed around the voxels of `grid` that fold, and as it was elsewhere."""
    # the flow carries a fold away from where its velocity is rough: the wide neighbourhood counts
    near = resample(folded.float(), grid, velocity.grid)[None]
    share = _binomial((_binomial(near, 4) > 1e-4).float(), 2)
    return VelocityField(velocity.data + share * (_binomial(velocity.data, 1) - velocity.data), velocity.grid)


def _binomial(field: Tensor, times: int) -> Tensor:
    """A field (c, z, y, x) filtered by (1, 2, 1)/4 along each axis, several times; border values go on outside."""
    for axis in (1, 2, 3) * times:
        n = field.shape[axis]
        if n > 1:
            wide = torch.cat([field.narrow(axis, 0, 1), field, field.narrow(axis, n - 1, 1)], dim=axis)
            field = (wide.narrow(axis, 0, n) + 2 * field + wide.narrow(axis, 2, n)) / 4
    return field
