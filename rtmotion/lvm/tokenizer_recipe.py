"""How the tokenizer of lvm-mini is trained: pictures through codes and back, by their mean absolute error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtmotion.lvm.frames import HIGH_HU, LOW_HU
from rtmotion.lvm.pictures import Filmed, cut, draw, patient_video, shapes_video, uniform
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
        moved_until: Steps in which forgotten codes are moved.
    """

    config: TokenizerConfig = field(default_factory=lambda: MINI)
    pictures: int = 8
    crop: int = 64
    shapes: float = 0.3
    moved_until: int = 3000
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
        """Parts of pictures, (pictures, 3, crop, crop): frames of one patient's slices, and of shapes."""
        found = []
        for _ in range(self.pictures):
            shapes = uniform(random, 0, 1) < self.shapes
            size = self.config.resolution
            video = shapes_video(random, size, 1) if shapes else patient_video(kept, random, size)
            picture = video[draw(random, 0, len(video) - 1)]
            y, x = (draw(random, 0, size - self.crop) for _ in range(2))
            found.append(picture[y : y + self.crop, x : x + self.crop])
        return torch.stack(found)[:, None].expand(-1, 3, -1, -1)

    def loss(self, network: nn.Module, example: Tensor) -> Mapping[str, Tensor]:
        """`loss` and its parts: `error` (HU), `distance` of latents and codes, `alive` (share of the codes)."""
        pictures = example.to(next(network.parameters()).device)
        latents = network.latents(pictures).float()  # type: ignore[operator]
        if network.training:
            keep_codes_alive(network, latents.detach(), moving=int(network.age) < self.moved_until)  # type: ignore[arg-type]
        ids = network.quantize.nearest(latents)  # type: ignore[operator, union-attr]
        codes = network.quantize(ids).float()  # type: ignore[operator]
        # gradients pass the rounding as if it were not there
        shown = network.shown(latents + (codes - latents).detach())  # type: ignore[operator]
        error = (shown.float() - pictures).abs().mean() * (HIGH_HU - LOW_HU)
        to_codes, to_latents = F.mse_loss(latents, codes.detach()), F.mse_loss(codes, latents.detach())
        alive = (network.used > FORGOTTEN * network.used.mean()).float().mean()  # type: ignore[operator]
        loss = error / 100 + COMMITMENT * to_codes + to_latents
        return {"loss": loss, "error": error, "distance": to_latents, "alive": alive}

    def validate(self, network: nn.Module, patient: Filmed) -> Mapping[str, float]:
        """Mean absolute error in the body, HU, of whole pictures of a patient; `base`: of a grey picture."""
        random = torch.Generator().manual_seed(0)
        size = self.config.resolution
        videos = [cut(patient, random, size)(patient.scanned[:1]) for _ in range(8)]
        pictures = torch.cat(videos)[:, None].expand(-1, 3, -1, -1).to(next(network.parameters()).device)
        with torch.inference_mode():
            off = (network(pictures).float() - pictures).abs()
        body = pictures > 0.1
        scale = HIGH_HU - LOW_HU
        grey = (pictures - pictures[body].mean()).abs()
        return {"error": scale * float(off[body].mean()), "base": scale * float(grey[body].mean())}

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
