"""An adversarial network: fields drawn from the observed motion and a latent code, judged by a discriminator.

The idea is BicycleGAN's (Zhu et al., NeurIPS 2017, arXiv 1711.11586): an encoder turns the true answer into a code, the
generator has to give the answer back from it, and a code that is drawn has to be read off its answer again, so that
codes mean something; the answer is a displacement, and what a discriminator of patches looks at is the displacement
beside the image that it moves (arXiv 2404.00163). Generator and encoder are rtmotion's own, the discriminator is
MONAI's `PatchDiscriminator`. One backward pass trains both sides: each loss of the generator goes through a
discriminator whose weights are held.
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

CODE = 8
"""Numbers of the latent code."""

SLOTS = 10
"""Tenths of the cycle after the reference: where the observed phases lie on the generator's clock."""

CLOCK_CHANNELS = 2 + 3 + SLOTS * 4

UNIT_MM = 10.0
STEP_MM = 4.0
"""Units of displacements that are judged, and of velocities that the generator sees and gives."""


class Generator(nn.Module):
    """A U-Net at 8, 16 and 32 mm: observed phases on a clock, a target and a code to a change of velocity."""

    def __init__(self, channels: tuple[int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse = channels
        facts = FACTS + CODE
        self.look = nn.Conv3d(CLOCK_CHANNELS, fine, 3, padding=1)
        self.down = nn.ModuleList([nn.Conv3d(fine, middle, 2, stride=2), nn.Conv3d(middle, coarse, 2, stride=2)])
        self.going = nn.ModuleList([Block(middle, facts), Block(coarse, facts)])
        self.join = nn.ModuleList([nn.Conv3d(fine + middle, fine, 1), nn.Conv3d(middle + coarse, middle, 1)])
        self.coming = Block(middle, facts)
        self.norm = nn.ModuleList([ChannelNorm(fine), ChannelNorm(fine)])
        self.top = nn.Conv3d(fine + CLOCK_CHANNELS, 16, 3, padding=1)
        self.out = zeroed(nn.Conv3d(16, 3, 3, padding=1))

    def forward(self, seen: Tensor, facts: Tensor) -> Tensor:
        """The clock (1, 45, z, y, x) and facts (1, 12); a change of velocity, mm, (1, 3, z, y, x)."""
        fine = F.silu(self.norm[0](self.look(seen)))
        middle = self.going[0](self.down[0](fine), facts)
        coarse = self.going[1](self.down[1](middle), facts)
        middle = self.coming(self.join[1](joined([middle, doubled(coarse)])), facts)
        top = F.silu(self.norm[1](self.join[0](joined([fine, doubled(middle)]))))
        found: Tensor = STEP_MM * self.out(F.silu(self.top(joined([top, seen]))))
        return found.float()


class Encoder(nn.Module):
    """A displacement and the image that it moves to a code: its mean and the logarithm of its variance."""

    def __init__(self, channels: int = 32) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.Conv3d(3 + 2, channels, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv3d(channels, channels, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv3d(channels, channels, 3, padding=1),
            nn.SiLU(),
        )
        self.out = nn.Linear(channels, 2 * CODE)

    def forward(self, displacement: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Displacement in units of 10 mm (1, 3, z, y, x) and image (1, 2, z, y, x); shapes (1, 8) twice."""
        pooled = self.look(joined([displacement, image])).mean(dim=(2, 3, 4))
        mean, log_variance = self.out(pooled).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-6, 2)


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
        self.encoder = Encoder()
        self.discriminator = patch_discriminator()

    def forward(self, scene: Scene, truth: VectorStack, weight: Tensor, seed: int) -> dict[str, Tensor]:
        """`loss` and its parts: `error` (mm), `code`, `kl`, `deceive` (of the generator), `judge` (discriminator).

        A code describes a breath: it is read off one of the targets and has to give all of them.
        """
        random = torch.Generator().manual_seed(seed)
        place = int(torch.randint(0, len(truth), (), generator=random))
        times = scene.target_angles.tolist()
        seen, image = clock(scene), padded(token_fields(scene.images[scene.reference], truth[0] * 0)[:2])[None]
        whole = padded(truth[place])[None] / UNIT_MM
        mean, log_variance = self.encoder(whole, image)
        told = mean + (0.5 * log_variance).exp() * noise_like(mean, random)
        again = torch.cat([self.velocity(seen, time, told, scene) for time in times])
        error = mean_distance(again, truth, weight)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean()
        drawn = noise_like(mean, random)
        invented = self.velocity(seen, times[place], drawn, scene)
        fields = [padded(flowed(v)[0])[None] / UNIT_MM for v in (again[place : place + 1], invented)]
        code = (self.encoder(fields[1], image)[0] - drawn).abs().mean()
        held = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        deceive = torch.stack([F.softplus(-self.judged(f, image, held)).mean() for f in fields]).mean()
        false = torch.stack([F.softplus(self.judged(f.detach(), image)).mean() for f in fields]).mean()
        judge = F.softplus(-self.judged(whole, image)).mean() + false
        changes = [(v - scene.velocities[-1]) / STEP_MM for v in (again, invented)]
        rough = torch.stack([c.diff(dim=a).square().mean() for c in changes for a in (2, 3, 4)]).sum()
        fidelity = relative(error, scene, truth, weight)
        loss = fidelity + 0.01 * kl + 0.05 * code + 0.01 * deceive + 0.01 * judge + 0.1 * rough
        return {"loss": loss, "error": error, "code": code, "kl": kl, "deceive": deceive, "judge": judge}

    def velocity(self, seen: Tensor, time: float, code: Tensor, scene: Scene) -> VectorStack:
        """The generator's velocity of one target to the reference, mm, LPS, shape (1, 3, z, y, x)."""
        change = self.generator(seen, torch.cat([time_facts(time).to(code)[None], code], dim=1))
        return scene.velocities[-1] + cut(change, scene.images.shape[-3:])

    def judged(self, displacement: Tensor, image: Tensor, held: dict[str, Tensor] | None = None) -> Tensor:
        """The discriminator's opinion of patches, above 0 for true ones; by weights that are held, or its own."""
        pair = joined([displacement, image])
        out = self.discriminator(pair) if held is None else functional_call(self.discriminator, held, (pair,))
        opinion: Tensor = out[-1]
        return opinion.float()

    def sample(self, scene: Scene, generator: torch.Generator) -> VectorStack:
        """Velocities of the targets to the reference, mm, LPS, (m, 3, z, y, x), all with one drawn code."""
        seen = clock(scene)
        code = noise_like(seen.new_zeros(1, CODE), generator)
        return torch.cat([self.velocity(seen, time, code, scene) for time in scene.target_angles.tolist()])


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
