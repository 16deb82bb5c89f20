"""An adversarial network: fields drawn from the observed motion and a code, judged by a discriminator.

The kind is pix2pix's (Isola et al., CVPR 2017, arXiv 1611.07004): the answer has to lie near the truth and to deceive a
discriminator of patches, which looks at the displacement beside the image that it moves (arXiv 2404.00163). What keeps
its draws apart is the variety loss (Gupta et al., CVPR 2018, arXiv 1803.10892): of several codes the one that explains
the truth best has to come near it. BicycleGAN's encoder (arXiv 1711.11586) was tried first, and its code was never
listened to. The generator is rtmotion's own, the discriminator is MONAI's `PatchDiscriminator`. One backward pass
trains both sides: each loss of the generator goes through a discriminator whose weights are held.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from rtmotion.types import VectorStack
from rtmotion.video.network import Block, ChannelNorm, cut, doubled, padded
from rtmotion.video.tokens import Scene, token_fields
from rtmotion_baselines.generative.fields import flowed, mean_distance, relative
from rtmotion_baselines.generative.layers import FACTS, joined, noise_like, time_facts, zeroed

CODE = 4
"""Numbers of the code, drawn from a normal distribution: one draw is one breath, the same for all phases to come."""

DRAWN = 16
"""Codes of which the best has to come near the truth."""

SLOTS = 10
"""Tenths of the cycle after the reference: where the observed phases lie on the generator's clock."""

CLOCK_CHANNELS = 2 + 3 + SLOTS * 4

UNIT_MM = 10.0
STEP_MM = 4.0
"""Units of displacements that are judged, and of velocities that the generator sees and gives."""


class Generator(nn.Module):
    """A U-Net at 8, 16 and 32 mm: observed phases on a clock and a target to the ways that the velocity may change.

    The first way is what all draws have in common, each of the others is one number of the code times itself.
    """

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.look = nn.Conv3d(CLOCK_CHANNELS, fine, 3, padding=1)
        self.down = nn.ModuleList([nn.Conv3d(fine, middle, 2, stride=2), nn.Conv3d(middle, coarse, 2, stride=2)])
        self.going = nn.ModuleList([Block(middle, FACTS), Block(coarse, FACTS)])
        self.join = nn.ModuleList([nn.Conv3d(fine + middle, fine, 1), nn.Conv3d(middle + coarse, middle, 1)])
        self.coming = Block(middle, FACTS)
        self.norm = nn.ModuleList([ChannelNorm(fine), ChannelNorm(fine)])
        self.top = nn.Conv3d(fine + CLOCK_CHANNELS, 16, 3, padding=1)
        self.common = zeroed(nn.Conv3d(16, 3, 3, padding=1))
        self.coded = nn.Conv3d(16, 3 * CODE, 3, padding=1)

    def forward(self, seen: Tensor, facts: Tensor) -> Tensor:
        """The clock (1, 45, z, y, x) and facts (1, 4); changes of velocity, mm, shape (1 + code, 3, z, y, x)."""
        fine = F.silu(self.norm[0](self.look(seen)))
        middle = self.going[0](self.down[0](fine), facts)
        coarse = self.going[1](self.down[1](middle), facts)
        middle = self.coming(self.join[1](joined([middle, doubled(coarse)])), facts)
        top = F.silu(self.norm[1](self.join[0](joined([fine, doubled(middle)]))))
        features = F.silu(self.top(joined([top, seen])))
        ways: Tensor = joined([self.common(features), self.coded(features)])[0].float()
        return STEP_MM * ways.reshape(1 + CODE, 3, *ways.shape[1:])


def patch_discriminator() -> nn.Module:
    """MONAI's discriminator of patches, for a displacement beside the image that it moves."""
    from monai.networks.nets.patchgan_discriminator import PatchDiscriminator

    network: nn.Module = PatchDiscriminator(
        spatial_dims=3, channels=16, in_channels=3 + 2, out_channels=1, num_layers_d=2, norm="INSTANCE"
    )
    return network


class Adversarial(nn.Module):
    """See the module's docstring."""

    def __init__(self, channels: tuple[int, int, int] = (32, 64, 96)) -> None:
        super().__init__()
        self.generator = Generator(channels)
        self.discriminator = patch_discriminator()
        self.register_buffer("spread_factor", torch.ones(()))

    def forward(self, scene: Scene, truth: VectorStack, weight: Tensor, seed: int) -> dict[str, Tensor]:
        """`loss` and its parts: `error` (mm, of the best code), `deceive` (of the generator), `judge` (discriminator).

        A code describes a breath: it has to give all of the targets.
        """
        random = torch.Generator().manual_seed(seed)
        place = int(torch.randint(0, len(truth), (), generator=random))
        seen, image = clock(scene), padded(token_fields(scene.images[scene.reference], truth[0] * 0)[:2])[None]
        ways = self.ways(seen, scene)
        codes = noise_like(ways.new_zeros(DRAWN, CODE), random)
        with torch.no_grad():
            # which code is best shows in the velocities, which are nearly the displacements
            off = torch.stack([((changed(ways, c, scene) - truth).norm(dim=1) * weight).sum() for c in codes])
        best = changed(ways, codes[off.argmin()], scene)
        error = mean_distance(best, truth, weight)
        invented = changed(ways[place : place + 1], codes[0], scene)
        fields = [padded(flowed(v)[0])[None] / UNIT_MM for v in (best[place : place + 1], invented)]
        held = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        deceive = torch.stack([F.softplus(-self.judged(f, image, held)).mean() for f in fields]).mean()
        false = torch.stack([F.softplus(self.judged(f.detach(), image)).mean() for f in fields]).mean()
        judge = F.softplus(-self.judged(padded(truth[place])[None] / UNIT_MM, image)).mean() + false
        changes = [(v - scene.velocities[-1]) / STEP_MM for v in (best, invented)]
        rough = torch.stack([c.diff(dim=a).square().mean() for c in changes for a in (2, 3, 4)]).sum()
        loss = relative(error, scene, truth, weight) + 0.01 * deceive + 0.01 * judge + 0.1 * rough
        return {"loss": loss, "error": error, "deceive": deceive, "judge": judge}

    def ways(self, seen: Tensor, scene: Scene) -> Tensor:
        """The ways that the velocity of each target may change, mm, LPS, shape (m, 1 + code, 3, z, y, x)."""
        shape = scene.images.shape[-3:]
        times = [time_facts(t).to(seen)[None] for t in scene.target_angles.tolist()]
        return torch.stack([cut(self.generator(seen, time), shape) for time in times])

    def judged(self, displacement: Tensor, image: Tensor, held: dict[str, Tensor] | None = None) -> Tensor:
        """The discriminator's opinion of patches, above 0 for true ones; by weights that are held, or its own."""
        pair = joined([displacement, image])
        out = self.discriminator(pair) if held is None else functional_call(self.discriminator, held, (pair,))
        opinion: Tensor = out[-1]
        return opinion.float()

    def sample(self, scene: Scene, generator: torch.Generator) -> VectorStack:
        """Velocities of the targets to the reference, mm, LPS, (m, 3, z, y, x), all with one drawn code."""
        ways = self.ways(clock(scene), scene)
        return changed(ways, noise_like(ways.new_zeros(CODE), generator), scene)


def changed(ways: Tensor, code: Tensor, scene: Scene) -> VectorStack:
    """The velocities that a code gives, mm, LPS, shape (m, 3, z, y, x).

    Args:
        ways: See `Adversarial.ways`.
        code: Shape (code,).
        scene: What was observed.
    """
    shares = torch.cat([code.new_ones(1), code])[:, None, None, None, None]
    return scene.velocities[-1] + (ways * shares).sum(dim=1)


def clock(scene: Scene) -> Tensor:
    """The observed motion in tenths of the cycle after the reference, shape (1, 45, z, y, x).

    Two windows of the reference's image, the last velocity, then for each slot how the velocity of the phase nearest to
    it differs from the last one, and whether there is one; of two in one slot the later stays. Empty slots are zero.
    """
    last = scene.velocities[-1]
    still = token_fields(scene.images[scene.reference], last)[:2]
    slots = last.new_zeros(SLOTS, 4, *last.shape[1:])
    for velocity, angle in zip(scene.velocities, scene.angles.tolist(), strict=True):
        slots[round(angle * SLOTS) % SLOTS] = torch.cat([(velocity - last) / STEP_MM, torch.ones_like(last[:1])])
    return padded(torch.cat([still, last / STEP_MM, slots.flatten(0, 1)]))[None]
