"""A large vision model as it is loaded: a tokenizer and the transformer that speaks its tokens."""

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rtmotion.errors import RtmotionError
from rtmotion.lvm.checkpoint import find_checkpoint, load_tokenizer, load_transformer
from rtmotion.lvm.tokenizer import Tokenizer

PICTURES = 16
"""That the tokenizer is shown at once."""


@dataclass(frozen=True)
class LargeVisionModel:
    """A tokenizer and the transformer that speaks its tokens.

    Attributes:
        tokenizer: Pictures to tokens and back.
        transformer: A `LlamaForCausalLM`.
        name: Of the folder that they are from.
    """

    tokenizer: Tokenizer
    transformer: Any
    name: str

    def tokens(self, pictures: Tensor) -> Tensor:
        """Tokens of pictures (n, 3, h, w), (n, tokens), on the CPU."""
        device = next(self.tokenizer.parameters()).device
        with torch.inference_mode():
            return torch.cat([self.tokenizer.encode(part.to(device)).cpu() for part in torch.split(pictures, PICTURES)])

    def pictures(self, tokens: Tensor) -> Tensor:
        """Pictures of tokens (n, tokens), (n, 3, h, w), on the CPU."""
        device = next(self.tokenizer.parameters()).device
        with torch.inference_mode():
            return torch.cat([self.tokenizer.decode(part.to(device)).cpu() for part in torch.split(tokens, PICTURES)])


def load_model(folder: Path | None = None, device: str = "cpu") -> LargeVisionModel:
    """The model of a folder, or the shipped lvm-mini.

    Raises:
        ReadError: If the folder holds no such model; the message names the first key that does not fit.
        RtmotionError: If the transformer does not know all codes of the tokenizer, or has no room for two frames.
    """
    if folder is None:
        with as_file(files(__package__).joinpath("weights")) as shipped:
            return _loaded(shipped, device, "lvm-mini (shipped)")
    return _loaded(folder, device, folder.name)


def _loaded(folder: Path, device: str, name: str) -> LargeVisionModel:
    found = find_checkpoint(folder)
    tokenizer = load_tokenizer(found.tokenizer, device)
    transformer = load_transformer(found.transformer, device)
    words, codes = transformer.config.vocab_size, tokenizer.config.codes
    if words < codes:
        raise RtmotionError(f"{folder}: the transformer knows {words} tokens, the tokenizer has {codes} codes")
    if transformer.config.max_position_embeddings < 2 * tokenizer.config.tokens:
        raise RtmotionError(
            f"{folder}: a transformer of {transformer.config.max_position_embeddings} positions has no room for two "
            f"frames of {tokenizer.config.tokens} tokens"
        )
    return LargeVisionModel(tokenizer, transformer, name)
