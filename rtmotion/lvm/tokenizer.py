"""The tokenizer: a VQGAN that turns an image into a square of whole numbers and back.

The architecture is VQGAN's (Esser et al., CVPR 2021, arXiv 2012.09841) as the large vision model uses it (Bai et al.,
CVPR 2024, arXiv 2312.00785): residual blocks without attention, plain nearest-neighbour quantisation. Names and shapes
of the weights are those of the published checkpoint, so that it loads as it is; the code is rtmotion's own.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32


@dataclass(frozen=True)
class TokenizerConfig:
    """The size of the tokenizer; the defaults are the published one's.

    Attributes:
        resolution: Pixels along each side of an image.
        channels: Of an image.
        hidden: Channels at full resolution.
        multipliers: Channels at each scale in units of `hidden`; each scale has half the resolution of the one before.
        blocks: Residual blocks of the encoder at each scale; the decoder has one more.
        latent: Channels between encoder and quantisation.
        codes: Size of the codebook.
        code_channels: Length of a code.
    """

    resolution: int = 256
    channels: int = 3
    hidden: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 4, 6)
    blocks: int = 2
    latent: int = 64
    codes: int = 8192
    code_channels: int = 64

    @property
    def factor(self) -> int:
        """Pixels along each side of what a token stands for."""
        return int(2 ** (len(self.multipliers) - 1))

    @property
    def side(self) -> int:
        """Tokens along each side of an image."""
        return self.resolution // self.factor

    @property
    def tokens(self) -> int:
        """Tokens of an image."""
        return self.side**2


def group_norm(channels: int) -> nn.GroupNorm:
    """The published normalisation; narrow variants have fewer groups."""
    return nn.GroupNorm(min(GROUPS, channels // 4), channels, eps=1e-6)


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut: (n, c, h, w) to (n, d, h, w)."""

    def __init__(self, channels: int, wanted: int) -> None:
        super().__init__()
        self.norm1 = group_norm(channels)
        self.conv1 = nn.Conv2d(channels, wanted, 3, padding=1)
        self.norm2 = group_norm(wanted)
        self.conv2 = nn.Conv2d(wanted, wanted, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(channels, wanted, 1) if channels != wanted else None

    def forward(self, x: Tensor) -> Tensor:
        """The features after the block."""
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        found: Tensor = y + (x if self.nin_shortcut is None else self.nin_shortcut(x))
        return found


class Downsample(nn.Module):
    """Half the resolution; the padding lies behind, as in the published weights."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, c, h/2, w/2)."""
        found: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)))
        return found


class Upsample(nn.Module):
    """Twice the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) to (n, c, 2h, 2w)."""
        found: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return found


class Middle(nn.Module):
    """Two blocks at the coarsest scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = ResidualBlock(channels, channels)
        self.block_2 = ResidualBlock(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Features of the same shape."""
        found: Tensor = self.block_2(self.block_1(x))
        return found


class Scale(nn.Module):
    """The blocks of one resolution, and the step to the next where there is one."""

    def __init__(self, channels: int, wanted: int, blocks: int) -> None:
        super().__init__()
        inner = [channels, *[wanted] * (blocks - 1)]
        self.block = nn.ModuleList([ResidualBlock(c, wanted) for c in inner])
        self.downsample: nn.Module | None = None
        self.upsample: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Features of the next resolution."""
        for block in self.block:
            x = block(x)
        for step in (self.downsample, self.upsample):
            x = x if step is None else step(x)
        return x


class Encoder(nn.Module):
    """Images (n, 3, h, w) to latents (n, latent, h/f, w/f)."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        widths = [config.hidden * m for m in config.multipliers]
        self.conv_in = nn.Conv2d(config.channels, config.hidden, 3, padding=1)
        self.down = nn.ModuleList(
            [Scale(c, d, config.blocks) for c, d in zip([config.hidden, *widths[:-1]], widths, strict=True)]
        )
        for scale, width in zip(list(self.down)[:-1], widths[:-1], strict=True):
            scale.downsample = Downsample(width)
        self.mid = Middle(widths[-1])
        self.norm_out = group_norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], config.latent, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        x = self.conv_in(images)
        for scale in self.down:
            x = scale(x)
        found: Tensor = self.conv_out(F.silu(self.norm_out(self.mid(x))))
        return found


class Decoder(nn.Module):
    """Latents (n, latent, h/f, w/f) to images (n, 3, h, w); `up` is numbered from the finest scale."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        widths = [config.hidden * m for m in config.multipliers]
        self.conv_in = nn.Conv2d(config.latent, widths[-1], 3, padding=1)
        self.mid = Middle(widths[-1])
        coarser = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList([Scale(c, d, config.blocks + 1) for c, d in zip(coarser, widths, strict=True)])
        for scale, width in zip(list(self.up)[1:], widths[1:], strict=True):
            scale.upsample = Upsample(width)
        self.norm_out = group_norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], config.channels, 3, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """See the class."""
        x = self.mid(self.conv_in(latents))
        for scale in reversed(self.up):
            x = scale(x)
        found: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return found


class Codebook(nn.Module):
    """The codes that latents are rounded to."""

    def __init__(self, codes: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(codes, channels)
        nn.init.uniform_(self.embedding.weight, -1 / codes, 1 / codes)

    def nearest(self, latents: Tensor) -> Tensor:
        """The nearest code of each latent: (n, c, h, w) to whole numbers (n, h, w); in full precision."""
        with torch.autocast(latents.device.type, enabled=False):
            flat = latents.float().movedim(1, -1)  # (n, h, w, c)
            table = self.embedding.weight.float()
            # |z - e|² without |z|², which is the same for all codes
            distance = table.square().sum(dim=1) - 2 * flat.reshape(-1, flat.shape[-1]) @ table.T
            return distance.argmin(dim=1).reshape(flat.shape[:-1])

    def forward(self, ids: Tensor) -> Tensor:
        """The codes (n, c, h, w) of numbers (n, h, w)."""
        found: Tensor = self.embedding(ids)
        return found.movedim(-1, 1)


class Tokenizer(nn.Module):
    """Images to tokens and back; fully convolutional, so that any size that `factor` divides will do."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = Codebook(config.codes, config.code_channels)
        self.quant_conv = nn.Conv2d(config.latent, config.code_channels, 1)
        self.post_quant_conv = nn.Conv2d(config.code_channels, config.latent, 1)

    def latents(self, images: Tensor) -> Tensor:
        """What is quantised: images (n, 3, h, w) in [0, 1] to (n, code_channels, h/f, w/f)."""
        found: Tensor = self.quant_conv(self.encoder(images))
        return found

    def encode(self, images: Tensor) -> Tensor:
        """Tokens of images, row by row: (n, 3, h, w) in [0, 1] to int64 (n, h/f · w/f)."""
        return self.quantize.nearest(self.latents(images)).flatten(1)

    def decode(self, tokens: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
        """Images in [0, 1] of tokens (n, h/f · w/f); `shape` is (h/f, w/f), that of the resolution where None."""
        rows, columns = shape or (self.config.side, self.config.side)
        codes = self.quantize(tokens.reshape(-1, rows, columns))
        return self.shown(codes).clamp(0, 1)

    def shown(self, codes: Tensor) -> Tensor:
        """Images of codes (n, code_channels, h/f, w/f), not clipped."""
        found: Tensor = self.decoder(self.post_quant_conv(codes))
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Images through tokens and back: how well they can be shown."""
        rows, columns = (n // self.config.factor for n in images.shape[-2:])
        return self.decode(self.encode(images), (rows, columns))


def count(config: TokenizerConfig) -> tuple[int, int]:
    """Tensors and parameters of a tokenizer."""
    with torch.device("meta"):
        parameters = list(Tokenizer(config).parameters())
    return len(parameters), sum(p.numel() for p in parameters)
