"""How the tokenizer of lvm-mini is trained: pictures through codes and back, by their mean absolute error.

What comes back is to be the picture without its noise, which no 256 tokens hold: a tokenizer that tries gives the same
slice other tokens in every phase, whether anything moves or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtmotion.lvm.frames import HIGH_HU, LOW_HU
from rtmotion.lvm.pictures import Filmed, cut, draw, filming, roughened, shapes_video, uniform
from rtmotion.lvm.tokenizer import Tokenizer, TokenizerConfig

MINI = TokenizerConfig(
    resolution=128, hidden=16, multipliers=(1, 2, 4, 8), blocks=1, latent=32, codes=2048, code_channels=32
)
"""The tokenizer of lvm-mini: 16 x 16 tokens, as the published one, of half its resolution."""

COMMITMENT = 0.25
"""What it costs that latents lie far from their codes (van den Oord et al., arXiv 1711.00937)."""

FORGOTTEN = 0.03
"""A code used less often than this share of the mean is put where latents are."""

MOVED_AT_ONCE = 32
KEPT = 0.98
"""Share of the past in how often codes are used."""


@dataclass(frozen=True)
class TokenizerRecipe:
    """Loss: mean absolute error, HU per hundred; distance of latents and codes.

    Attributes:
        config: Of the tokenizer.
        pictures: Of an example.
        crop: Pixels along each side of what is shown of them.
        shapes: Share of the pictures that show no anatomy.
        rough: Share of the pictures that get more noise and detail than they had.
        moved_until: Steps in which forgotten codes are moved.
    """

    config: TokenizerConfig = field(default_factory=lambda: MINI)
    pictures: int = 8
    crop: int = 64
    shapes: float = 0.3
    rough: float = 0.5
    moved_until: int = 6000
    name: str = "lvm-tokenizer"

    def build(self) -> nn.Module:
        """The untrained tokenizer, with what training keeps of its codes."""
        network = Tokenizer(self.config)
        network.register_buffer("used", torch.zeros(self.config.codes))
        network.register_buffer("age", torch.zeros((), dtype=torch.int64))
        return network

    def keep(self, patient: Filmed) -> Filmed:
        """The patient as it was prepared."""
        return patient

    def example(self, kept: Filmed, random: torch.Generator) -> Tensor:
        """Parts of pictures as they are shown and as they are meant, (2, pictures, 3, crop, crop).

        Frames of one patient's slices, scanned and clean, and of shapes.
        """
        found = []
        size = self.config.resolution
        for _ in range(self.pictures):
            if uniform(random, 0, 1) < self.shapes:
                seen = meant = shapes_video(random, size, 1)[0]
            else:
                film, number = filming(kept, random, size), draw(random, 0, len(kept.scanned) - 1)
                seen, meant = (film(v)[number] for v in (kept.scanned, kept.clean))
            if uniform(random, 0, 1) < self.rough:
                seen, meant = roughened(seen, meant, random)
            y, x = (draw(random, 0, size - self.crop) for _ in range(2))
            found.append(torch.stack([seen, meant])[:, y : y + self.crop, x : x + self.crop])
        return torch.stack(found, dim=1)[:, :, None].expand(-1, -1, 3, -1, -1)

    def loss(self, network: nn.Module, example: Tensor) -> Mapping[str, Tensor]:
        """`loss` and its parts: `error` (HU), `distance` of latents and codes, `alive` (share of the codes)."""
        seen, meant = example.to(next(network.parameters()).device)
        latents = network.latents(seen).float()  # type: ignore[operator]
        if network.training:
            keep_codes_alive(network, latents.detach(), moving=int(network.age) < self.moved_until)  # type: ignore[arg-type]
        ids = network.quantize.nearest(latents)  # type: ignore[operator, union-attr]
        codes = network.quantize(ids).float()  # type: ignore[operator]
        # gradients pass the rounding as if it were not there
        shown = network.shown(latents + (codes - latents).detach())  # type: ignore[operator]
        error = (shown.float() - meant).abs().mean() * (HIGH_HU - LOW_HU)
        to_codes, to_latents = F.mse_loss(latents, codes.detach()), F.mse_loss(codes, latents.detach())
        alive = (network.used > FORGOTTEN * network.used.mean()).float().mean()  # type: ignore[operator]
        loss = error / 100 + COMMITMENT * to_codes + to_latents
        return {"loss": loss, "error": error, "distance": to_latents, "alive": alive}

    def validate(self, network: nn.Module, patient: Filmed) -> Mapping[str, float]:
        """Of whole pictures of a patient, in the body.

        `error` against what was shown and `clean` against the picture without noise: mean absolute, HU; `base`: of a
        grey picture. `stays`: tokens of the clean picture that the scanned one has too, %.
        """
        random = torch.Generator().manual_seed(0)
        size = self.config.resolution
        films = [cut(patient, random, size) for _ in range(8)]
        device = next(network.parameters()).device
        seen, meant = (
            torch.cat([film(v[:1]) for film in films])[:, None].expand(-1, 3, -1, -1).to(device)
            for v in (patient.scanned, patient.clean)
        )
        with torch.inference_mode():
            tokens, clean = (network.encode(v) for v in (seen, meant))  # type: ignore[operator]
            shown = network.decode(tokens).float()  # type: ignore[operator]
        body = seen > 0.1

        def off(found: Tensor, wanted: Tensor) -> float:
            return (HIGH_HU - LOW_HU) * float((found - wanted)[body].abs().mean())

        return {
            "error": off(shown, seen),
            "clean": off(shown, meant),
            "base": off(seen[body].mean().expand_as(seen), seen),
            "stays": 100 * float((tokens == clean).float().mean()),
        }

    def finish(self, network: nn.Module, patients: Sequence[Filmed]) -> None:
        """Leaves what the published layout has."""
        del network.used, network.age


def keep_codes_alive(network: nn.Module, latents: Tensor, *, moving: bool) -> None:
    """Counts which codes are used, and puts forgotten ones where latents are; at first all of them.

    Args:
        network: A tokenizer with the buffers `used` and `age`.
        latents: Shape (n, c, h, w).
        moving: Whether codes are still moved.
    """
    table, used = network.quantize.embedding.weight, network.used  # type: ignore[union-attr]
    assert isinstance(table, Tensor)
    assert isinstance(used, Tensor)
    flat = latents.movedim(1, -1).flatten(0, -2)
    with torch.no_grad():
        if int(network.age) == 0:  # type: ignore[arg-type]
            picked = torch.randint(0, len(flat), (len(table),))
            table.copy_(flat[picked] + 0.01 * flat.std() * torch.randn_like(table))
            used.fill_(1.0)
        ids = network.quantize.nearest(latents).flatten()  # type: ignore[operator, union-attr]
        count = torch.bincount(ids, minlength=len(table)).to(used) * len(table) / len(ids)
        used.mul_(KEPT).add_((1 - KEPT) * count)
        if moving:
            forgotten = (used < FORGOTTEN * used.mean()).nonzero().flatten()[:MOVED_AT_ONCE]
            table[forgotten] = flat[torch.randint(0, len(flat), (len(forgotten),))]
            used[forgotten] = used.mean()
        network.age.add_(1)  # type: ignore[operator]
