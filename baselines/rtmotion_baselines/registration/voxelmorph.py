"""VoxelMorph: a network that registers a pair at one look, alone or as the start of an optimisation."""

import time
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import as_file, files

import torch
from torch import Tensor, nn

from rtmotion.errors import GeometryError
from rtmotion.field import VelocityField, folds, resample, to_world_units
from rtmotion.registration import Registration, SvfRegistration
from rtmotion.registration.similarity import channels
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume
from rtmotion.weights import load_weights

WEIGHTS = "weights/voxelmorph.safetensors"
"""The shipped weights, relative to this package; their model card lies beside them."""

AIR = -1000.0


@dataclass(frozen=True)
class VoxelMorphConfig:
    """The shape of the network and what it sees.

    Attributes:
        spacing: Of the isotropic grid along the patient's axes on which it works, mm.
        channels: Of MONAI's VoxelMorphUNet: down and up, level by level.
        top_channels: Channels at the finest level, after the U-Net.
        hu_weight: Weight of the HU channel (see `rtmotion.registration.similarity.channels`).
        local_weight: Weight of the locally standardised channel.
        radius: Half width of the local window, voxels.
        noise: HU; local contrast well below it does not count.
    """

    spacing: float = 4.0
    channels: tuple[int, ...] = (16, 16, 32, 32, 64, 64)
    top_channels: int = 16
    hu_weight: float = 0.04
    local_weight: float = 0.25
    radius: int = 2
    noise: float = 60.0

    @property
    def multiple(self) -> int:
        """The size along each axis is a multiple of this."""
        return int(2 ** (len(self.channels) // 2))


def build_network(config: VoxelMorphConfig | None = None) -> nn.Module:
    """MONAI's VoxelMorphUNet whose untrained output is no motion.

    It maps the channels of the moving and then of the fixed image, shape (n, 4, z, y, x), to a stationary velocity in
    voxels of its grid, components (x, y, z), shape (n, 3, z, y, x): from the fixed to the moving image.
    Balakrishnan et al., IEEE TMI 38(8), 2019, arXiv 1809.05231; velocity and integration: Dalca et al., Medical Image
    Analysis 57, 2019, arXiv 1903.03545.
    """
    from monai.networks.nets.voxelmorph import VoxelMorphUNet

    config = config or VoxelMorphConfig()
    network: nn.Module = VoxelMorphUNet(
        spatial_dims=3,
        in_channels=4,
        unet_out_channels=config.top_channels,
        channels=config.channels,
        final_conv_channels=(config.top_channels,),
    )
    last = [m for m in network.modules() if isinstance(m, nn.Conv3d)][-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    return network


def network_input(moving: Tensor, fixed: Tensor, config: VoxelMorphConfig) -> Tensor:
    """What the network sees of two volumes in HU on its grid, shape (z, y, x) each: shape (1, 4, z, y, x)."""
    settings = {"hu_weight": config.hu_weight, "local_weight": config.local_weight, "noise": config.noise}
    return torch.cat([channels(hu, radius=config.radius, **settings) for hu in (moving, fixed)], dim=1)


@lru_cache(maxsize=2)
def shipped_network(device: str) -> nn.Module:
    """The network with the shipped weights on a device."""
    network = build_network()
    with as_file(files(__package__).joinpath(WEIGHTS)) as path:
        load_weights(network, path)
    return network.to(device).eval().requires_grad_(False)


@dataclass(frozen=True)
class VoxelMorphRegistration:
    """Registration by MONAI's VoxelMorph, trained on synthetic patients alone.

    Attributes:
        optimise: Whether the network's velocity is the start of an optimisation for this pair (its last two levels)
            rather than the result.
        device: Torch device of the network; volumes come from and fields go back to where the fixed volume is.
        config: Of the shipped weights.
        refinement: The optimisation.
    """

    optimise: bool = False
    device: str = "cpu"
    config: VoxelMorphConfig = field(default_factory=VoxelMorphConfig)
    refinement: SvfRegistration = field(default_factory=SvfRegistration)

    @property
    def name(self) -> str:
        """`voxelmorph` or `voxelmorph-optimised`."""
        return "voxelmorph-optimised" if self.optimise else "voxelmorph"

    def register(self, fixed: Volume, moving: Volume, mask: MaskVolume | None = None) -> Registration:
        """Registers `moving` to `fixed`; see `rtmotion.registration.RegistrationEngine`.

        The mask counts in the optimisation alone: the network has learned where to look.
        """
        start = time.perf_counter()
        if mask is not None and tuple(mask.shape) != fixed.grid.shape:
            raise GeometryError(f"the mask {tuple(mask.shape)} does not lie on the fixed grid {fixed.grid.shape}")
        velocity = self.velocity(fixed, moving)
        if self.optimise:
            found = self.refinement.register(fixed, moving, mask, initial=velocity)
            seconds = time.perf_counter() - start
            return Registration(found.displacement, found.velocity, seconds, found.details)
        displacement = velocity.displacement(fixed.grid)
        folding = 100 * float(folds(displacement.data, fixed.grid).float().mean())
        seconds = time.perf_counter() - start
        return Registration(displacement, velocity, seconds, {"folding_percent": folding})

    def velocity(self, fixed: Volume, moving: Volume) -> VelocityField:
        """The network's velocity, fixed to moving, mm, LPS, on its own grid over the fixed volume."""
        home, device = fixed.data.device, torch.device(self.device)
        grid = fixed.grid.along_patient_axes(self.config.spacing, self.config.multiple)
        images = [resample(v.to(device).hu, v.grid, grid, fill=AIR) for v in (moving, fixed)]
        with torch.inference_mode():
            voxels = shipped_network(str(device))(network_input(images[0], images[1], self.config))[0]
        return VelocityField(to_world_units(voxels.float(), grid).clone().to(home), grid)
