"""Generation against a forward pass of plain functions, which knows neither a cache nor an end of sentence."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from rtmotion.lvm.generation import SamplerConfig, choose, continued

CODES, SPECIAL, TOKENS = 48, 20, 4
HEADS = 2
LONGEST = 8 * TOKENS

ROUNDING = 1e-4
"""Share of the largest logit: sums of some dozens of numbers through two layers, in float32."""

DRAWS = 40_000
FREQUENCY = 0.01
"""Four standard deviations of the frequency of what is drawn half of the time, in 40,000 draws."""


def transformer(positions: int = LONGEST) -> Any:
    """Untrained, with weights so large that what it says depends on what it has read."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=CODES + SPECIAL,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        max_position_embeddings=positions,
        rms_norm_eps=1e-6,
        initializer_range=0.3,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).train(False).requires_grad_(False)


def always(model: Any, ids: slice, strength: float) -> None:
    """Lets the transformer find ids likely whatever it has read: the first feature is the same everywhere."""
    model.model.embed_tokens.weight[:, 0] = 3.0
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight[0] = 0.0
        layer.mlp.down_proj.weight[0] = 0.0
    model.lm_head.weight[:, 0] = 0.0
    model.lm_head.weight[ids, 0] = strength


def random_sentences(number: int, frames: int) -> Tensor:
    return torch.randint(0, CODES, (number, frames * TOKENS), generator=torch.Generator().manual_seed(1))


def normalised(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-6).sqrt() * weight


def turned(x: Tensor) -> Tensor:
    """Rotary positions: number i of a head is paired with number i + half."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * 10_000.0 ** (-torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], dim=-1)


def reference_logits(state: dict[str, Tensor], ids: Tensor) -> Tensor:
    """Logits of sentences (n, length), (n, length, vocabulary), from embeddings to the head."""
    x = state["model.embed_tokens.weight"][ids]
    n, length, width = x.shape
    later = torch.ones(length, length).triu(1).bool()
    layers = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("model.layers."))
    for i in range(layers):
        layer = {k.removeprefix(f"model.layers.{i}."): v for k, v in state.items()}
        y = normalised(x, layer["input_layernorm.weight"])
        query, key, value = (
            (y @ layer[f"self_attn.{p}_proj.weight"].T).reshape(n, length, HEADS, -1).transpose(1, 2) for p in "qkv"
        )
        score = turned(query) @ turned(key).transpose(-1, -2) / math.sqrt(width // HEADS)
        seen = score.masked_fill(later, -torch.inf).softmax(dim=-1) @ value
        x = x + seen.transpose(1, 2).reshape(n, length, width) @ layer["self_attn.o_proj.weight"].T
        y = normalised(x, layer["post_attention_layernorm.weight"])
        gate, up = (y @ layer[f"mlp.{p}_proj.weight"].T for p in ("gate", "up"))
        x = x + (F.silu(gate) * up) @ layer["mlp.down_proj.weight"].T
    return normalised(x, state["model.norm.weight"]) @ state["lm_head.weight"].T


def token_by_token(model: Any, sentences: Tensor, frames: int, most: int | None = None) -> Tensor:
    """Greedy frames, all anew for each token; each frame after at most `most` frames."""
    known, state = sentences, model.state_dict()
    for _ in range(frames):
        said = known if most is None else known[:, -most * TOKENS :]
        for _ in range(TOKENS):
            said = torch.cat([said, reference_logits(state, said)[:, -1:, :CODES].argmax(dim=-1)], dim=1)
        known = torch.cat([known, said[:, -TOKENS:]], dim=1)
    return known[:, sentences.shape[1] :]


def test_the_transformer_equals_plain_functions_of_its_weights() -> None:
    model, ids = transformer(), random_sentences(3, 5)
    wanted = reference_logits(model.state_dict(), ids)
    assert torch.allclose(model(ids).logits, wanted, atol=ROUNDING * float(wanted.abs().max()))


def test_what_follows_is_what_a_computation_without_a_cache_finds() -> None:
    model, sentences = transformer(), random_sentences(3, 3)
    found = continued(model, sentences, 3, TOKENS, CODES)
    assert found.shape == (3, 3 * TOKENS)
    assert found.dtype == torch.int64
    assert len(torch.unique(found)) > 5
    assert torch.equal(found, token_by_token(model, sentences, 3))


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_sentences_do_not_depend_on_what_they_are_batched_with(batch: int) -> None:
    model, sentences = transformer(), random_sentences(5, 2)
    found = continued(model, sentences, 2, TOKENS, CODES, batch=batch)
    assert torch.equal(found, torch.cat([continued(model, s[None], 2, TOKENS, CODES) for s in sentences]))


def test_the_end_of_sentence_is_a_code_like_any_other() -> None:
    """It neither ends the sentence nor is it kept from being said."""
    model = transformer()
    always(model, slice(2, 3), 100.0)
    model.config.eos_token_id = 2
    model.generation_config.eos_token_id = 2
    for temperature in (0.0, 1.0):
        found = continued(model, random_sentences(2, 3), 4, TOKENS, CODES, SamplerConfig(temperature))
        assert found.tolist() == [[2] * 4 * TOKENS] * 2


@pytest.mark.parametrize("config", [SamplerConfig(), SamplerConfig(1.0), SamplerConfig(2.0, 0.9)])
def test_what_is_no_code_is_never_said_even_where_it_is_likeliest(config: SamplerConfig) -> None:
    model, sentences = transformer(), random_sentences(4, 3)
    always(model, slice(CODES, None), 100.0)
    assert int(model(sentences).logits.argmax(dim=-1).min()) >= CODES
    found = continued(model, sentences, 4, TOKENS, CODES, config)
    assert 0 <= int(found.min()) <= int(found.max()) < CODES
    assert len(torch.unique(found)) > 3


def test_the_same_seed_draws_the_same_however_sentences_are_batched() -> None:
    model, sentences = transformer(), random_sentences(4, 2)
    one, three, again = (
        continued(model, sentences, 2, TOKENS, CODES, SamplerConfig(1.0, seed=5), batch=b) for b in (1, 3, 3)
    )
    assert torch.equal(one, three)
    assert torch.equal(three, again)


def test_another_seed_draws_another_continuation() -> None:
    model, sentences = transformer(), random_sentences(4, 2)
    first, other = (continued(model, sentences, 2, TOKENS, CODES, SamplerConfig(1.0, seed=s)) for s in (5, 6))
    assert not torch.equal(first, other)


def test_equal_sentences_are_drawn_for_on_their_own() -> None:
    sentence = random_sentences(1, 2)
    found = continued(transformer(), sentence.expand(3, -1), 2, TOKENS, CODES, SamplerConfig(1.0))
    assert len({tuple(row) for row in found.tolist()}) == 3


def frequencies(logits: Tensor, config: SamplerConfig) -> Tensor:
    drawn = torch.rand(DRAWS, generator=torch.Generator().manual_seed(3))
    chosen = choose(logits.expand(DRAWS, -1), config, drawn)
    return torch.bincount(chosen, minlength=len(logits)) / DRAWS


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_codes_are_drawn_as_often_as_they_are_likely(temperature: float) -> None:
    logits = torch.tensor([0.3, -1.0, 2.0, 0.0, 1.1])
    wanted = (logits / temperature).softmax(dim=0)
    assert torch.allclose(frequencies(logits, SamplerConfig(temperature)), wanted, atol=FREQUENCY)


def test_top_p_draws_among_the_nucleus_alone() -> None:
    logits = torch.tensor([0.05, 0.5, 0.15, 0.3]).log()
    found = frequencies(logits, SamplerConfig(1.0, top_p=0.6))
    assert torch.allclose(found, torch.tensor([0.0, 0.5 / 0.8, 0.0, 0.3 / 0.8]), atol=FREQUENCY)
    assert found[[0, 2]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("top_p", [1e-3, 0.0])
def test_a_small_nucleus_is_the_likeliest_code(top_p: float) -> None:
    logits = torch.randn(50, CODES, generator=torch.Generator().manual_seed(4))
    drawn = torch.rand(50, generator=torch.Generator().manual_seed(5))
    found = choose(logits, SamplerConfig(1.0, top_p=top_p), drawn)
    assert torch.equal(found, logits.argmax(dim=1))
    assert torch.equal(choose(logits, SamplerConfig(), drawn), found)


@pytest.mark.parametrize("number", [0.0, 1 - 2**-24])
def test_the_least_and_the_greatest_number_draw_a_code_of_the_nucleus(number: float) -> None:
    logits = torch.randn(200, CODES, generator=torch.Generator().manual_seed(6))
    found = choose(logits, SamplerConfig(1.0, top_p=0.5), torch.full((200,), number))
    likely, order = logits.softmax(dim=1).sort(dim=1, descending=True)
    last = (likely.cumsum(dim=1) < 0.5).sum(dim=1, keepdim=True)
    wanted = order[:, :1] if number == 0 else order.gather(1, last)
    assert torch.equal(found[:, None], wanted)


@pytest.mark.parametrize("frames", [2, 3, 6])
def test_a_sentence_that_grows_too_long_loses_its_first_frames(frames: int) -> None:
    model, sentences = transformer(4 * TOKENS), random_sentences(2, frames)
    found = continued(model, sentences, 4, TOKENS, CODES)
    assert torch.equal(found, token_by_token(model, sentences, 4, most=3))
    assert not torch.equal(found, token_by_token(model, sentences, 4)), "the first frames change nothing"


def test_positions_that_are_no_whole_frames_are_left_empty() -> None:
    sentences = random_sentences(2, 3)
    even, uneven = (continued(transformer(4 * TOKENS + n), sentences, 3, TOKENS, CODES) for n in (0, TOKENS - 1))
    assert torch.equal(even, uneven)


def test_progress_counts_up_to_all_tokens() -> None:
    told: list[tuple[str, int, int]] = []
    continued(
        transformer(4 * TOKENS),
        random_sentences(5, 3),
        2,
        TOKENS,
        CODES,
        batch=2,
        progress=lambda *step: told.append(step),
    )
    done = [d for _, d, _ in told]
    assert {(stage, total) for stage, _, total in told} == {("tokens", 5 * 2 * TOKENS)}
    assert done == sorted(set(done))
    assert len(done) == 3 * 2 * TOKENS
    assert done[-1] == 5 * 2 * TOKENS
