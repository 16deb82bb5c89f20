"""The tokenizer against the published layout and a forward pass of plain functions."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtmotion.lvm.checkpoint import shapes_of
from rtmotion.lvm.tokenizer import GROUPS, Codebook, Tokenizer, TokenizerConfig, count

NARROW = TokenizerConfig(resolution=16, hidden=8, multipliers=(1, 2), blocks=1, latent=8, codes=32, code_channels=6)
THREE_SCALES = TokenizerConfig(
    resolution=32, hidden=8, multipliers=(1, 2, 3), blocks=2, latent=10, codes=40, code_channels=5
)

ROUNDING = 1e-4
"""Sums of a few hundred numbers of the order of 1, in float32."""

State = dict[str, Tensor]


def random_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """With biases and norms that matter."""
    torch.manual_seed(0)
    network = Tokenizer(config).eval().requires_grad_(False)
    for name, value in network.named_parameters():
        nn.init.normal_(value, 1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.2)
    nn.init.normal_(network.quantize.embedding.weight)
    return network


def random_images(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def published() -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes_of(Tokenizer(TokenizerConfig()))


def test_the_defaults_have_as_many_weights_as_the_published_checkpoint(published: dict[str, tuple[int, ...]]) -> None:
    assert count(TokenizerConfig()) == (277, 146_244_675)
    assert len(published) == 277


def test_the_defaults_turn_256_pixels_along_each_side_into_256_tokens() -> None:
    config = TokenizerConfig()
    assert (config.factor, config.side, config.tokens) == (16, 16, 256)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("encoder.conv_in.weight", (128, 3, 3, 3)),
        ("encoder.down.0.block.0.norm1.weight", (128,)),
        ("encoder.down.4.block.1.conv2.weight", (768, 768, 3, 3)),
        ("encoder.down.1.block.0.nin_shortcut.weight", (256, 128, 1, 1)),
        ("encoder.down.3.block.0.nin_shortcut.weight", (512, 256, 1, 1)),
        ("encoder.down.4.block.0.nin_shortcut.weight", (768, 512, 1, 1)),
        ("encoder.mid.block_2.norm2.bias", (768,)),
        ("encoder.norm_out.weight", (768,)),
        ("encoder.conv_out.weight", (64, 768, 3, 3)),
        ("decoder.conv_in.weight", (768, 64, 3, 3)),
        ("decoder.mid.block_1.conv1.weight", (768, 768, 3, 3)),
        ("decoder.up.4.block.2.conv2.bias", (768,)),
        ("decoder.up.3.block.0.nin_shortcut.weight", (512, 768, 1, 1)),
        ("decoder.up.2.block.0.nin_shortcut.weight", (256, 512, 1, 1)),
        ("decoder.up.0.block.0.nin_shortcut.weight", (128, 256, 1, 1)),
        ("decoder.norm_out.bias", (128,)),
        ("decoder.conv_out.weight", (3, 128, 3, 3)),
        ("quantize.embedding.weight", (8192, 64)),
        ("quant_conv.weight", (64, 64, 1, 1)),
        ("post_quant_conv.weight", (64, 64, 1, 1)),
    ],
)
def test_a_weight_has_the_published_name_and_shape(
    published: dict[str, tuple[int, ...]], name: str, shape: tuple[int, ...]
) -> None:
    assert published[name] == shape


@pytest.mark.parametrize(
    ("part", "places"),
    [
        (r"(encoder\.down\.\d+\.block\.\d+)\.nin_shortcut\.weight", {f"encoder.down.{i}.block.0" for i in (1, 3, 4)}),
        (r"(decoder\.up\.\d+\.block\.\d+)\.nin_shortcut\.weight", {f"decoder.up.{i}.block.0" for i in (0, 2, 3)}),
        (r"(encoder\.down\.\d+)\.downsample\.conv\.weight", {f"encoder.down.{i}" for i in range(4)}),
        (r"(decoder\.up\.\d+)\.upsample\.conv\.weight", {f"decoder.up.{i}" for i in range(1, 5)}),
        (
            r"(encoder\.down\.\d+\.block\.\d+)\.conv1\.bias",
            {f"encoder.down.{i}.block.{j}" for i in range(5) for j in range(2)},
        ),
        (
            r"(decoder\.up\.\d+\.block\.\d+)\.conv1\.bias",
            {f"decoder.up.{i}.block.{j}" for i in range(5) for j in range(3)},
        ),
        (r"(.*attn.*)", set()),
    ],
)
def test_a_part_is_where_the_published_checkpoint_has_it_and_nowhere_else(
    published: dict[str, tuple[int, ...]], part: str, places: set[str]
) -> None:
    assert {match[1] for name in published if (match := re.fullmatch(part, name))} == places


def test_norms_have_the_published_groups() -> None:
    with torch.device("meta"):
        norms = [m for m in Tokenizer(TokenizerConfig()).modules() if isinstance(m, nn.GroupNorm)]
    assert {(n.num_groups, n.eps) for n in norms} == {(GROUPS, 1e-6)}


def convolved(state: State, name: str, x: Tensor, padding: int = 1, stride: int = 1) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=padding, stride=stride)


def activated(state: State, name: str, x: Tensor) -> Tensor:
    """Four channels a group, as narrow variants have."""
    return F.silu(F.group_norm(x, x.shape[1] // 4, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-6))


def residual(state: State, name: str, x: Tensor) -> Tensor:
    y = convolved(state, f"{name}.conv1", activated(state, f"{name}.norm1", x))
    y = convolved(state, f"{name}.conv2", activated(state, f"{name}.norm2", y))
    shortcut = f"{name}.nin_shortcut"
    return y + (convolved(state, shortcut, x, padding=0) if f"{shortcut}.weight" in state else x)


def reference_latents(state: State, config: TokenizerConfig, images: Tensor) -> Tensor:
    x, last = convolved(state, "encoder.conv_in", images), len(config.multipliers) - 1
    for scale in range(last + 1):
        for block in range(config.blocks):
            x = residual(state, f"encoder.down.{scale}.block.{block}", x)
        if scale < last:
            x = convolved(state, f"encoder.down.{scale}.downsample.conv", F.pad(x, (0, 1, 0, 1)), padding=0, stride=2)
    for block in (1, 2):
        x = residual(state, f"encoder.mid.block_{block}", x)
    x = convolved(state, "encoder.conv_out", activated(state, "encoder.norm_out", x))
    return convolved(state, "quant_conv", x, padding=0)


def reference_ids(state: State, latents: Tensor) -> Tensor:
    table = state["quantize.embedding.weight"].double()
    rows = [torch.cdist(one.flatten(1).T.double(), table).argmin(dim=1) for one in latents]
    return torch.stack(rows)


def reference_images(state: State, config: TokenizerConfig, ids: Tensor, rows: int, columns: int) -> Tensor:
    codes = state["quantize.embedding.weight"][ids].reshape(len(ids), rows, columns, -1).permute(0, 3, 1, 2)
    x = convolved(state, "decoder.conv_in", convolved(state, "post_quant_conv", codes, padding=0))
    for block in (1, 2):
        x = residual(state, f"decoder.mid.block_{block}", x)
    for scale in reversed(range(len(config.multipliers))):
        for block in range(config.blocks + 1):
            x = residual(state, f"decoder.up.{scale}.block.{block}", x)
        if scale > 0:
            doubled = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            x = convolved(state, f"decoder.up.{scale}.upsample.conv", doubled)
    return convolved(state, "decoder.conv_out", activated(state, "decoder.norm_out", x))


@pytest.mark.parametrize("config", [NARROW, THREE_SCALES], ids=["narrow", "three scales"])
@pytest.mark.parametrize("size", [(16, 16), (8, 24)])
def test_the_tokenizer_equals_plain_functions_of_its_weights(config: TokenizerConfig, size: tuple[int, int]) -> None:
    network, images = random_tokenizer(config), random_images(2, 3, *size)
    state = network.state_dict()
    wanted = reference_latents(state, config, images)
    ids = reference_ids(state, wanted)
    rows, columns = (n // config.factor for n in size)
    shown = reference_images(state, config, ids, rows, columns)
    scale = float(shown.abs().max())
    assert len(torch.unique(ids)) > 3
    assert torch.allclose(network.latents(images), wanted, rtol=ROUNDING, atol=ROUNDING * float(wanted.abs().max()))
    assert torch.equal(network.encode(images), ids)
    codes = network.quantize(ids.reshape(2, rows, columns))
    assert torch.allclose(network.shown(codes), shown, rtol=ROUNDING, atol=ROUNDING * scale)
    assert torch.allclose(network.decode(ids, (rows, columns)), shown.clamp(0, 1), atol=ROUNDING * scale)


def test_pictures_through_tokens_and_back_are_always_the_same_and_between_0_and_1() -> None:
    network, images = random_tokenizer(NARROW), random_images(2, 3, 16, 16)
    ids, again = network.encode(images), network.encode(images)
    assert torch.equal(ids, again)
    assert ids.dtype == torch.int64
    assert 0 <= int(ids.min()) <= int(ids.max()) < NARROW.codes
    shown = network(images)
    assert torch.equal(shown, network.decode(ids))
    assert torch.equal(shown, network(images))
    assert 0.0 <= float(shown.min()) < float(shown.max()) <= 1.0


def test_a_batch_equals_its_pictures_one_by_one() -> None:
    network, images = random_tokenizer(NARROW), random_images(5, 3, 16, 16)
    ids = network.encode(images)
    assert torch.equal(ids, torch.cat([network.encode(i[None]) for i in images]))
    single = torch.cat([network.decode(i[None]) for i in ids])
    assert torch.allclose(network.decode(ids), single, atol=ROUNDING)


@pytest.mark.parametrize("size", [(4, 4), (12, 20), (36, 8)])
def test_any_size_that_the_factor_divides_will_do(size: tuple[int, int]) -> None:
    network, images = random_tokenizer(THREE_SCALES), random_images(2, 3, *size)
    rows, columns = (n // THREE_SCALES.factor for n in size)
    ids = network.encode(images)
    assert ids.shape == (2, rows * columns)
    assert network.decode(ids, (rows, columns)).shape == images.shape
    assert network(images).shape == images.shape


def test_tokens_without_a_shape_are_those_of_the_resolution() -> None:
    network = random_tokenizer(NARROW)
    ids = torch.arange(2 * NARROW.tokens).reshape(2, -1) % NARROW.codes
    assert torch.equal(network.decode(ids), network.decode(ids, (8, 8)))
    assert network.decode(ids).shape == (2, 3, NARROW.resolution, NARROW.resolution)


def codebook_and_latents() -> tuple[Codebook, Tensor]:
    torch.manual_seed(2)
    codebook = Codebook(512, 16).requires_grad_(False)
    nn.init.normal_(codebook.embedding.weight)
    return codebook, torch.randn(4, 16, 20, 25)


def test_the_nearest_code_is_the_one_that_brute_force_finds() -> None:
    codebook, latents = codebook_and_latents()
    flat = latents.permute(0, 2, 3, 1).reshape(-1, 16)
    wanted = torch.cdist(flat.double(), codebook.embedding.weight.double()).argmin(dim=1)
    assert torch.equal(codebook.nearest(latents), wanted.reshape(4, 20, 25))


def test_a_code_is_its_own_nearest() -> None:
    codebook, _ = codebook_and_latents()
    ids = torch.arange(512).reshape(2, 16, 16)
    assert torch.equal(codebook.nearest(codebook(ids)), ids)


def test_the_nearest_code_is_found_in_full_precision_within_autocast() -> None:
    codebook, latents = codebook_and_latents()
    wanted = codebook.nearest(latents)
    table, flat = codebook.embedding.weight, latents.movedim(1, -1).reshape(-1, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = codebook.nearest(latents)
        rounded = (table.square().sum(dim=1) - 2 * flat @ table.T).argmin(dim=1)
    assert torch.equal(found, wanted)
    assert not torch.equal(rounded, wanted.flatten()), "half precision would have changed nothing"
