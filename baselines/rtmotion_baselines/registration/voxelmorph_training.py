"""How the shipped weights of VoxelMorph are made: pairs of phases of synthetic patients, whose motion is known."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rtmotion.field import DisplacementField, exp, gaussian_smooth, to_index_units, to_world_units, warp
from rtmotion.grid import Grid
from rtmotion.training import SyntheticPatient
from rtmotion_baselines.registration.voxelmorph import VoxelMorphConfig, build_network, network_input

LUNG_BELOW = -400.0
"""HU in the body below which a voxel counts as lung."""


@dataclass(frozen=True, eq=False)
class Kept:
    """What is held in memory of a patient: half precision, and which voxels are in the body."""

    images: Tensor
    body: Tensor
    displacements: Tensor
    inverses: Tensor
    grid: Grid


@dataclass(frozen=True, eq=False)
class Pair:
    """Two phases of a patient.

    Attributes:
        moving: HU, shape (z, y, x).
        fixed: HU, shape (z, y, x).
        displacement: True, fixed to moving, mm, LPS, shape (3, z, y, x).
        weight: How much each voxel of the fixed phase counts, shape (z, y, x).
        grid: Of all of them.
    """

    moving: Tensor
    fixed: Tensor
    displacement: Tensor
    weight: Tensor
    grid: Grid


@dataclass(frozen=True)
class VoxelMorphRecipe:
    """Loss: distance from the true field, difference of the warped image, roughness of the velocity.

    Attributes:
        config: Of the network.
        crop: Voxels along x, y, z of a training pair; multiples of 8.
        lung_weight: How much a voxel of the lung (`LUNG_BELOW` in the body) counts against another of the body.
        image_weight: Weight of the mean squared difference of the channels.
        roughness_weight: Weight of the mean squared velocity gradient.
        blurred: Share of the pairs that are smoothed, as coarser scans are.
    """

    config: VoxelMorphConfig = field(default_factory=VoxelMorphConfig)
    crop: tuple[int, int, int] = (64, 48, 56)
    lung_weight: float = 3.0
    image_weight: float = 0.5
    roughness_weight: float = 0.02
    blurred: float = 0.3
    name: str = "voxelmorph"

    def build(self) -> nn.Module:
        """The untrained network."""
        return build_network(self.config)

    def keep(self, patient: SyntheticPatient) -> Kept:
        """What is held in memory of a patient."""
        return Kept(
            patient.rendered.half(),
            patient.labels > 0,
            patient.displacements.half(),
            patient.inverses.half(),
            patient.grid,
        )

    def example(self, kept: Kept, random: torch.Generator) -> Pair:
        """A random pair of phases, cropped at random."""
        count = len(kept.images)
        fixed, moving = torch.randperm(count, generator=random)[:2].tolist()
        grid = kept.grid
        corner = [
            int(torch.randint(0, max(n - c, 0) + 1, (), generator=random))
            for n, c in zip(grid.size, self.crop, strict=True)
        ]
        z, y, x = (slice(a, min(a + c, n)) for a, c, n in zip(corner[::-1], self.crop[::-1], grid.shape, strict=True))
        size = (x.stop - x.start, y.stop - y.start, z.stop - z.start)
        origin = grid.index_to_world(torch.tensor([corner], dtype=torch.float64))[0].tolist()
        part = Grid(size, grid.spacing, (origin[0], origin[1], origin[2]), grid.direction)
        # fixed -> first phase -> moving; the second field is looked up in the whole volume
        first = kept.displacements[fixed, :, z, y, x].float()
        second = warp(kept.inverses[moving].float(), first, part, moving_grid=grid)
        image, other = kept.images[fixed, z, y, x].float(), kept.images[moving, z, y, x].float()
        body = kept.body[fixed, z, y, x]
        weight = body.float() * torch.where(image < LUNG_BELOW, self.lung_weight, 1.0)
        if float(torch.rand((), generator=random)) < self.blurred:
            sigma = 0.4 + 0.6 * float(torch.rand((), generator=random))
            image, other = gaussian_smooth(image, [sigma] * 3), gaussian_smooth(other, [sigma] * 3)
        return Pair(other, image, first + second, weight, part)

    def loss(self, network: nn.Module, pair: Pair) -> dict[str, Tensor]:
        """`loss` and its parts: `field` (mm), `image`, `roughness`."""
        seen = network_input(pair.moving, pair.fixed, self.config)
        velocity = to_world_units(network(seen)[0].float(), pair.grid)
        displacement = exp(velocity, pair.grid)
        count = pair.weight.sum().clamp_min(1)
        distance = (displacement - pair.displacement).square().sum(dim=0).add(1e-4).sqrt()
        field_loss = (distance * pair.weight).sum() / count
        warped = warp(seen[0, : seen.shape[1] // 2], displacement, pair.grid)
        difference = (warped - seen[0, seen.shape[1] // 2 :]).square().sum(dim=0)
        image_loss = (difference * pair.weight).sum() / count
        voxels = to_index_units(velocity, pair.grid)
        roughness = sum((voxels.diff(dim=axis).square().mean() for axis in (1, 2, 3)), torch.zeros(()))
        total = field_loss + self.image_weight * image_loss + self.roughness_weight * roughness
        return {"loss": total, "field": field_loss, "image": image_loss, "roughness": roughness}

    def validate(self, network: nn.Module, patient: SyntheticPatient) -> dict[str, float]:
        """Landmark errors in mm of the first phase (moving) to the one farthest from it (fixed)."""
        points = patient.landmarks
        fixed = int((points - points[:1]).norm(dim=-1).mean(dim=1).argmax())
        seen = network_input(patient.rendered[0], patient.rendered[fixed], self.config)
        with torch.inference_mode():
            velocity = to_world_units(network(seen)[0].float(), patient.grid)
        found = DisplacementField(exp(velocity, patient.grid).cpu(), patient.grid).transform_points(points[fixed])
        return {
            "tre": float((found - points[0]).norm(dim=1).mean()),
            "tre_identity": float((points[fixed] - points[0]).norm(dim=1).mean()),
        }
