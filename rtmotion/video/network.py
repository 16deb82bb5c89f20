"""The video network: what the motion model's forecast of a phase lacks, read from the observed phases.

Every phase is a token: an image, a velocity and a place in the cycle, seen by one shared 3D encoder. The phase to come
is a token too: its image and velocity are the motion model's proposal. At three scales its features ask those of the
phases before (attention along time, voxel by voxel), and a decoder turns the answer into

- a change of the weight of each phase's velocity, from voxel to voxel (16 mm): the motion that was seen, differently
  shared out, so that what is sharp in it, such as sliding at the pleura, stays sharp;
- a residual velocity behind a gate (8 mm): the motion that was not seen;
- the scale of the error that is left.

The last layers start at zero, so an untrained network adds nothing. There is no normalisation across voxels: the field
of view does not change what is predicted in its middle, and no volume need be cut into tiles.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtmotion.video.tokens import (
    FACTS,
    TOKEN_CHANNELS,
    Correction,
    Scene,
    Token,
    moved_image,
    token_facts,
    token_fields,
)

MULTIPLE = 8
"""The coarsest scale is so many voxels of the working grid wide; volumes are padded to multiples of it."""

SMALLEST = 3 * MULTIPLE
"""And to at least this: the gradients of oneDNN's convolutions in bfloat16 are no numbers for 2 × 2 × 2 voxels."""


@dataclass(frozen=True)
class VideoConfig:
    """The size of the network.

    Attributes:
        channels: Of the features at 16, 32 and 64 mm.
        blocks: Residual blocks of encoder and decoder at each scale.
        heads: Of the attention along time.
        fine: Channels of the last layers, at 8 mm.
        residual_mm: Residual velocities of this length are the unit of the last layer.
    """

    channels: tuple[int, int, int] = (24, 48, 72)
    blocks: int = 1
    heads: int = 4
    fine: int = 12
    residual_mm: float = 4.0


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each voxel by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, c, z, y, x), as it comes."""
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-5) * self.scale


class Block(nn.Module):
    """A residual block that is told the facts of its phase."""

    def __init__(self, channels: int, facts: int = FACTS) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = nn.Conv3d(channels, channels, 3, padding=1)
        self.told = nn.Linear(facts, channels)
        self.second = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, facts: Tensor) -> Tensor:
        """Features (n, c, z, y, x) and facts (n, f)."""
        inner = self.first(self.norm(x)) + self.told(facts)[:, :, None, None, None]
        changed: Tensor = x + self.second(F.silu(inner))
        return changed


class Encoder(nn.Module):
    """Features of phases at 16, 32 and 64 mm."""

    def __init__(self, config: VideoConfig) -> None:
        super().__init__()
        sizes = (TOKEN_CHANNELS, *config.channels)
        self.down = nn.ModuleList(nn.Conv3d(a, b, 2, stride=2) for a, b in itertools.pairwise(sizes))
        self.blocks = nn.ModuleList(nn.ModuleList(Block(c) for _ in range(config.blocks)) for c in config.channels)

    def forward(self, fields: Tensor, facts: Tensor) -> list[Tensor]:
        """Fields (n, 5, z, y, x) and facts (n, FACTS); one tensor (n, c, z, y, x) a scale, fine to coarse."""
        scales, x = [], fields
        for down, blocks in zip(self.down, self.blocks, strict=True):
            x = down(x)
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, facts)
            scales.append(x)
        return scales


class TimeAttention(nn.Module):
    """The target's features ask those of the phases before, voxel by voxel."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = ChannelNorm(channels)
        self.told = nn.Linear(FACTS, channels)
        self.ask = nn.Conv3d(channels, channels, 1)
        self.answer = nn.Conv3d(channels, 2 * channels, 1)
        self.out = nn.Conv3d(channels, channels, 1)

    def forward(self, target: Tensor, before: Tensor, facts: Tensor) -> Tensor:
        """Target (1, c, z, y, x), phases before (n, c, z, y, x) and their facts (n, FACTS); (1, c, z, y, x)."""
        told = self.norm(before) + self.told(facts)[:, :, None, None, None]
        keys, values = self.answer(told).unflatten(1, (2, self.heads, -1)).unbind(1)
        asked = self.ask(self.norm(target)).unflatten(1, (self.heads, -1))
        scores = (asked * keys).mean(dim=2, keepdim=True) * asked.shape[2] ** 0.5
        found: Tensor = target + self.out((scores.softmax(dim=0) * values).sum(dim=0).flatten(0, 1)[None])
        return found


class VideoNetwork(nn.Module):
    """See the module's docstring."""

    def __init__(self, config: VideoConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or VideoConfig()
        fine, middle, coarse = config.channels
        self.encoder = Encoder(config)
        self.attention = nn.ModuleList(TimeAttention(c, config.heads) for c in config.channels)
        self.join = nn.ModuleList([nn.Conv3d(fine + middle, fine, 1), nn.Conv3d(middle + coarse, middle, 1)])
        self.blocks = nn.ModuleList(nn.ModuleList(Block(c) for _ in range(config.blocks)) for c in config.channels)
        self.share_ask = nn.Conv3d(fine, fine, 1)
        self.share_answer = nn.Conv3d(fine, fine, 1)
        self.share_told = nn.Linear(FACTS, fine)
        self.share_gain = nn.Parameter(torch.zeros(()))
        self.refine_in = nn.Conv3d(fine, config.fine, 1)
        self.refine = nn.Conv3d(config.fine + TOKEN_CHANNELS, config.fine, 3, padding=1)
        self.last = nn.Conv3d(config.fine, 5, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def encode(self, token: Token) -> list[Tensor]:
        """Features of a phase at 16, 32 and 64 mm, shape (1, c, z, y, x) each."""
        scales: list[Tensor] = self.encoder(padded(token.fields)[None], token.facts[None])
        return scales

    def forward(self, scene: Scene, settled: Sequence[int] = ()) -> list[Correction]:
        """The corrections of the targets, one after the other: each prediction is a phase before the next.

        The weights of a correction are those of the observed phases and then of the targets before it, whose corrected
        velocities it shares out. What is handed on carries no gradient.

        Args:
            scene: What is known.
            settled: Observed phases, by number, whose registered velocities are corrected too, by what all observed
                phases say. An image is made by way of the true motion of the phase that it is taken from: where
                predictions lose the registration's errors and that phase keeps them, what stands still moves.

        Returns:
            Those of the targets, then those of the observed phases.
        """
        still = scene.images[scene.reference]
        # the one before the first target, in whatever order phases are listed
        last = scene.velocities[int(((scene.target_angles[0] - scene.angles) % 1.0).argmin())]
        before = [
            Token(token_fields(image, velocity, last), token_facts(float(angle), observed=True, target=False).to(still))
            for image, velocity, angle in zip(scene.images, scene.velocities, scene.angles, strict=True)
        ]
        features = [self.encode(token) for token in before]
        again = [
            self.correct(
                Token(before[i].fields, token_facts(float(scene.angles[i]), observed=True, target=True).to(still)),
                before,
                features,
            )
            for i in settled
        ]
        velocities, corrections = scene.velocities, []
        for place, proposal in enumerate(scene.proposals):
            angle, doubt = float(scene.target_angles[place]), float(scene.doubts[place])
            told = token_facts(angle, observed=False, target=True, doubt=doubt).to(still)
            target = Token(token_fields(moved_image(still, proposal, scene.grid), proposal, last), told)
            correction = self.correct(target, before, features)
            corrections.append(correction)
            if place + 1 == len(scene.proposals):
                break
            with torch.no_grad():
                velocity = correction.applied(proposal, velocities)
                velocities = torch.cat([velocities, velocity[None]])
                told = token_facts(angle, observed=False, target=False).to(still)
                before.append(Token(token_fields(moved_image(still, velocity, scene.grid), velocity, last), told))
            features.append(self.encode(before[-1]))
        return corrections + again

    def correct(self, target: Token, before: Sequence[Token], features: Sequence[list[Tensor]]) -> Correction:
        """What is to be added to the proposal of the target.

        Args:
            target: The proposal.
            before: The phases before, observed or predicted.
            features: Theirs, see `encode`.
        """
        shape = target.fields.shape[-3:]
        facts, asked = torch.stack([t.facts for t in before]), target.facts[None]
        known = [torch.cat(scale) for scale in zip(*features, strict=True)]
        scales = self.encode(target)
        x = torch.zeros(0)
        for level in (2, 1, 0):
            here = self.attention[level](scales[level], known[level], facts)
            x = here if level == 2 else self.join[level](torch.cat([here, doubled(x)], dim=1))
            for block in self.blocks[level]:  # type: ignore[attr-defined]
                x = block(x, asked)
        answers = self.share_answer(known[0]) + self.share_told(facts)[:, :, None, None, None]
        shares = self.share_gain * (self.share_ask(x) * answers).mean(dim=1)
        fine = torch.cat([doubled(self.refine_in(x)), padded(target.fields)[None]], dim=1)
        out = cut(self.last(F.silu(self.refine(fine))), shape)[0]
        residual = self.config.residual_mm * out[:3] * torch.sigmoid(out[3:4])
        return Correction(cut(doubled(shares[None]), shape)[0], residual, out[4])


def padded(x: Tensor) -> Tensor:
    """A volume (c, z, y, x) continued by its border values to multiples of `MULTIPLE` voxels, `SMALLEST` or more."""
    missing = [pad for n in reversed(x.shape[-3:]) for pad in (0, max(SMALLEST - n, -n % MULTIPLE))]
    return F.pad(x[None], missing, mode="replicate")[0] if any(missing) else x


def cut(x: Tensor, shape: Sequence[int]) -> Tensor:
    """The first voxels along the last three axes: undoes `padded`."""
    return x[..., : shape[0], : shape[1], : shape[2]]


def doubled(x: Tensor) -> Tensor:
    """Features at half the spacing, linear between voxels."""
    return F.interpolate(x, scale_factor=2.0, mode="trilinear", align_corners=False)
