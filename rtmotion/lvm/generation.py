"""Tokens that follow: a decoder-only transformer goes on with sentences, one token at a time from a static cache.

No token ends a sentence: the checkpoint's end-of-sentence id is a valid code of a picture. What is no code is never
chosen. The sampler's numbers are drawn beforehand, one a sentence and token, so that the same seed gives the same
however sentences are batched.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rtmotion.lvm.sentences import last_frames

Progress = Callable[[str, int, int], None]
"""Called with a stage's name, tokens done and tokens in all."""


@dataclass(frozen=True)
class SamplerConfig:
    """How the next token is chosen.

    Attributes:
        temperature: 0 takes the likeliest token; 1 draws as the transformer says.
        top_p: Draws among the likeliest tokens that together have this probability.
        seed: Of the draws.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


def choose(logits: Tensor, config: SamplerConfig, drawn: Tensor) -> Tensor:
    """The next token of each sentence.

    Args:
        logits: Of the codes alone, shape (n, codes).
        config: How.
        drawn: Numbers in [0, 1), shape (n,).

    Returns:
        Whole numbers, shape (n,).
    """
    if config.temperature == 0:
        return logits.argmax(dim=-1)
    likely, order = (logits.float() / config.temperature).softmax(dim=-1).sort(dim=-1, descending=True)
    before = likely.cumsum(dim=-1) - likely
    likely = likely * (before < max(config.top_p, 1e-9))
    ends = likely.cumsum(dim=-1)
    place = (ends <= drawn[:, None].to(ends) * ends[:, -1:]).sum(dim=-1).clamp_max(likely.shape[-1] - 1)
    return order.gather(1, place[:, None])[:, 0]


def continued(
    model: Any,
    sentences: Tensor,
    frames: int,
    tokens: int,
    codes: int,
    config: SamplerConfig | None = None,
    batch: int = 32,
    progress: Progress | None = None,
) -> Tensor:
    """The frames that follow sentences.

    A sentence longer than the transformer's positions loses its first frames; the window slides.

    Args:
        model: A `LlamaForCausalLM` in evaluation mode.
        sentences: Whole numbers, shape (n, frames · tokens).
        frames: How many follow.
        tokens: Of a frame.
        codes: Ids from here on are never chosen.
        config: How tokens are chosen; None takes the likeliest.
        batch: Sentences that are continued together.
        progress: Told of each token.

    Returns:
        Shape (n, frames · tokens).
    """
    config = config or SamplerConfig()
    random = torch.Generator().manual_seed(config.seed)
    drawn = torch.rand(len(sentences), frames * tokens, generator=random)
    total, found = len(sentences) * frames * tokens, []
    for start in range(0, len(sentences), batch):
        here = slice(start, start + batch)

        def step(done: int, rows: int = len(sentences[here]), before: int = start) -> None:
            if progress is not None:
                progress("tokens", before * frames * tokens + done * rows, total)

        with torch.inference_mode():
            found.append(_continued(model, sentences[here], drawn[here], tokens, codes, config, step))
    return torch.cat(found)


def _continued(
    model: Any,
    sentences: Tensor,
    drawn: Tensor,
    tokens: int,
    codes: int,
    config: SamplerConfig,
    step: Callable[[int], None],
) -> Tensor:
    """One batch; the cache is filled anew whenever the window slides."""
    longest = model.config.max_position_embeddings
    device = next(model.parameters()).device
    known = sentences.to(device)
    wanted = sentences.shape[1] + drawn.shape[1]
    while known.shape[1] < wanted:
        seen = last_frames(known, tokens, longest)
        room = min(wanted - known.shape[1], (longest - seen.shape[1]) // tokens * tokens)
        cache = _cache(model, seen.shape[1] + room)
        new = seen
        for _ in range(room):
            # the cache knows the positions; only the last logits are made
            logits = model(new, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1, :codes]
            done = known.shape[1] - sentences.shape[1]
            new = choose(logits, config, drawn[:, done].to(device))[:, None]
            known = torch.cat([known, new], dim=1)
            step(done + 1)
    return known[:, sentences.shape[1] :].cpu()


def _cache(model: Any, length: int) -> Any:
    """A cache of so many tokens; on the CPU, where reading it takes most of the time, only what is filled is read."""
    from transformers import Cache, StaticCache
    from transformers.cache_utils import StaticLayer

    if next(model.parameters()).device.type != "cpu":
        return StaticCache(config=model.config, max_cache_len=length)

    class FilledLayer(StaticLayer):  # type: ignore[no-untyped-call]
        def update(self, *args: Any, **options: Any) -> tuple[Tensor, Tensor]:
            keys, values = super().update(*args, **options)
            filled = int(self.cumulative_length)
            return keys[:, :, :filled], values[:, :, :filled]

        def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
            return int(self.cumulative_length) + query_length, 0

    return Cache(layers=[FilledLayer(length) for _ in range(model.config.num_hidden_layers)])
