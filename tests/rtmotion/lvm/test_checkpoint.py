"""Small random weights in the published layout: what is read, and that everything else is refused by its first key."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from rtmotion.errors import ReadError
from rtmotion.lvm.checkpoint import (
    PRESETS,
    PUBLISHED_POSITIONS,
    PUBLISHED_VOCABULARY,
    Checkpoint,
    find_checkpoint,
    load_tokenizer,
    load_transformer,
    tokenizer_config,
)
from rtmotion.lvm.layout import published_config, save_tokenizer, save_transformer
from rtmotion.lvm.tokenizer import Tokenizer, TokenizerConfig

NARROW = TokenizerConfig(resolution=16, hidden=8, multipliers=(1, 2), blocks=1, latent=8, codes=32, code_channels=6)

Change = Callable[[dict[str, Tensor]], object]


def random_transformer() -> Any:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=NARROW.codes + 100,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=False,
    )
    return LlamaForCausalLM(config).train(False)


def random_tokenizer() -> Tokenizer:
    torch.manual_seed(0)
    return Tokenizer(NARROW).eval()


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    save_tokenizer(random_tokenizer(), tmp_path / "model" / "tokenizer")
    return tmp_path / "model" / "tokenizer"


@pytest.fixture
def transformer(tmp_path: Path) -> Path:
    save_transformer(random_transformer(), tmp_path / "model" / "transformer", shard="20KB")
    return tmp_path / "model" / "transformer"


def rewritten(path: Path, change: Change) -> None:
    """A safetensors file after a change of its tensors."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, {"format": "pt"})


def pickled(folder: Path, content: object) -> Path:
    """The folder with a pickle in place of safetensors."""
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


def holding(folder: Path, key: str) -> Path:
    """The file of a transformer that a key is in."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    return folder / str(index["weight_map"][key])


def config_changed(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def images() -> Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2))


def test_a_tokenizer_comes_back_as_it_was_written(tokenizer: Path) -> None:
    wanted, found = random_tokenizer(), load_tokenizer(tokenizer)
    assert found.config == NARROW
    assert torch.equal(found.encode(images()), wanted.encode(images()))
    assert torch.equal(found(images()), wanted(images()))
    assert not found.training
    assert not any(p.requires_grad for p in found.parameters())


@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "legacy pickle"])
def test_a_tokenizer_is_read_from_a_pickle_of_tensors(tokenizer: Path, legacy: bool) -> None:
    wanted = random_tokenizer()
    path = pickled(tokenizer, {})
    torch.save(wanted.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    assert torch.equal(load_tokenizer(tokenizer)(images()), wanted(images()))


def test_a_tokenizer_in_half_precision_is_computed_in_full(tokenizer: Path) -> None:
    wanted = random_tokenizer().half()
    save_file(wanted.state_dict(), tokenizer / "model.safetensors")
    found = load_tokenizer(tokenizer)
    assert torch.equal(found(images()), wanted.float()(images()))


def test_what_the_config_of_a_tokenizer_does_not_say_is_as_published() -> None:
    assert tokenizer_config({}) == TokenizerConfig()
    assert tokenizer_config({"model_type": "vqgan", "num_embeddings": 16}) == TokenizerConfig(codes=16)
    assert tokenizer_config(published_config(NARROW)) == NARROW


def test_a_transformer_comes_back_from_several_files_as_it_was_written(transformer: Path) -> None:
    assert (transformer / "model.safetensors.index.json").is_file()
    assert len(list(transformer.glob("*.safetensors"))) > 2
    ids = torch.randint(0, NARROW.codes, (2, 40), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        found = load_transformer(transformer)
        assert torch.equal(found(ids).logits, random_transformer()(ids).logits)
    assert not found.training
    assert not any(p.requires_grad for p in found.parameters())


def test_a_transformer_comes_back_from_one_file(tmp_path: Path) -> None:
    save_transformer(random_transformer(), tmp_path)
    assert [p.name for p in tmp_path.glob("*.safetensors*")] == ["model.safetensors"]
    assert torch.equal(load_transformer(tmp_path).lm_head.weight, random_transformer().lm_head.weight)


def test_a_small_transformer_in_half_precision_is_computed_in_full_unless_told(tmp_path: Path) -> None:
    save_transformer(random_transformer().half(), tmp_path)
    assert load_transformer(tmp_path).dtype == torch.float32
    assert load_transformer(tmp_path, dtype=torch.bfloat16).dtype == torch.bfloat16


def test_the_preset_of_7_billion_has_as_many_weights_as_the_published_checkpoint() -> None:
    sizes: dict[str, Any] = {**PRESETS["7b"], "vocab_size": PUBLISHED_VOCABULARY}
    config = LlamaConfig(**sizes, max_position_embeddings=PUBLISHED_POSITIONS, tie_word_embeddings=False)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    assert sum(p.numel() for p in model.parameters()) == 6_544_199_680


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_has_heads_of_even_width(name: str) -> None:
    width, odd = divmod(PRESETS[name]["hidden_size"], PRESETS[name]["num_attention_heads"])
    assert odd == 0
    assert width % 2 == 0


def test_the_folders_are_told_apart_by_their_configs(tokenizer: Path, transformer: Path) -> None:
    assert find_checkpoint(tokenizer.parent) == Checkpoint(tokenizer, transformer)


def missing(*names: str) -> Change:
    return lambda tensors: [tensors.pop(n) for n in names]


def added(name: str, *shape: int) -> Change:
    return lambda tensors: tensors.update({name: torch.zeros(shape)})


TOKENIZER_FAULTS = [
    (missing("encoder.mid.block_1.conv2.bias"), r"encoder\.mid\.block_1\.conv2\.bias is missing"),
    (missing("quantize.embedding.weight", "encoder.norm_out.bias"), r"encoder\.norm_out\.bias is missing"),
    (added("encoder.conv_out.weight", 8, 16, 1, 1), r"encoder\.conv_out\.weight has shape \(8, 16, 1, 1\), expected"),
    (added("encoder.mid.attn_1.q.weight", 4, 4), r"encoder\.mid\.attn_1\.q\.weight belongs to another network"),
]


@pytest.mark.parametrize(("change", "message"), TOKENIZER_FAULTS)
def test_the_first_key_of_a_tokenizer_that_does_not_fit_is_named(tokenizer: Path, change: Change, message: str) -> None:
    rewritten(tokenizer / "model.safetensors", change)
    with pytest.raises(ReadError, match=rf"model\.safetensors: {message}"):
        load_tokenizer(tokenizer)


@pytest.mark.parametrize(("change", "message"), TOKENIZER_FAULTS)
def test_the_first_key_of_a_pickled_tokenizer_that_does_not_fit_is_named(
    tokenizer: Path, change: Change, message: str
) -> None:
    tensors = dict(random_tokenizer().state_dict())
    change(tensors)
    pickled(tokenizer, tensors)
    with pytest.raises(ReadError, match=rf"pytorch_model\.bin: {message}"):
        load_tokenizer(tokenizer)


def test_a_stray_key_that_a_transformer_may_have_is_refused_in_a_tokenizer(tokenizer: Path) -> None:
    rewritten(tokenizer / "model.safetensors", added("model.layers.0.self_attn.rotary_emb.inv_freq", 8))
    with pytest.raises(ReadError, match="rotary_emb"):
        load_tokenizer(tokenizer)


QUERY = "model.layers.1.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (missing(QUERY), r"layers\.1\.self_attn\.q_proj\.weight is missing"),
        (added(QUERY, 16, 32), r"layers\.1\.self_attn\.q_proj\.weight has shape \(16, 32\), expected \(32, 32\)"),
        (added("model.layers.2.mlp.up_proj.weight", 48, 32), r"layers\.2\.mlp\.up_proj\.weight belongs to another"),
    ],
)
def test_the_first_key_of_a_transformer_that_does_not_fit_is_named(
    transformer: Path, change: Change, message: str
) -> None:
    rewritten(holding(transformer, QUERY), change)
    with pytest.raises(ReadError, match=message):
        load_transformer(transformer)


def test_of_several_keys_that_do_not_fit_the_first_of_the_network_is_named(transformer: Path) -> None:
    for key in ("lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"):
        rewritten(holding(transformer, key), missing(key))
    with pytest.raises(ReadError, match=r"model\.embed_tokens\.weight is missing"):
        load_transformer(transformer)


def test_stray_frequencies_of_old_transformers_are_ignored(transformer: Path) -> None:
    rewritten(holding(transformer, QUERY), added("model.layers.0.self_attn.rotary_emb.inv_freq", 8))
    ids = torch.arange(NARROW.codes)[None]
    with torch.inference_mode():
        assert torch.equal(load_transformer(transformer)(ids).logits, random_transformer()(ids).logits)


def test_a_config_of_another_size_than_the_weights_is_refused(tokenizer: Path, transformer: Path) -> None:
    config_changed(tokenizer, num_embeddings=64)
    with pytest.raises(ReadError, match=r"quantize\.embedding\.weight has shape \(32, 6\), expected \(64, 6\)"):
        load_tokenizer(tokenizer)
    config_changed(transformer, num_hidden_layers=3)
    with pytest.raises(ReadError, match=r"model\.layers\.2\..* is missing"):
        load_transformer(transformer)


class Mischief:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "legacy pickle"])
def test_a_pickle_that_runs_code_is_refused_and_runs_none(tokenizer: Path, tmp_path: Path, legacy: bool) -> None:
    done = tmp_path / "done"
    path = pickled(tokenizer, {})
    content = random_tokenizer().state_dict() | {"extra": Mischief(done)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ReadError, match="holds more than tensors and is not read"):
        load_tokenizer(tokenizer)
    assert not done.exists()
    torch.load(path, weights_only=False)
    assert done.exists(), "the pickle was harmless"


@pytest.mark.parametrize("content", [[torch.zeros(3)], {"step": 3}, torch.zeros(3)], ids=["list", "number", "tensor"])
def test_a_pickle_of_anything_but_names_and_tensors_is_refused(tokenizer: Path, content: object) -> None:
    pickled(tokenizer, content)
    with pytest.raises(ReadError, match="names and tensors were expected"):
        load_tokenizer(tokenizer)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["safetensors", "archive", "legacy pickle"])
def test_a_truncated_tokenizer_is_refused(tokenizer: Path, kind: str, share: float) -> None:
    path = tokenizer / "model.safetensors"
    if kind != "safetensors":
        path = pickled(tokenizer, {})
        torch.save(random_tokenizer().state_dict(), path, _use_new_zipfile_serialization=kind == "archive")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ReadError, match=path.name):
        load_tokenizer(tokenizer)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_of_a_transformer_is_refused(transformer: Path, share: float) -> None:
    path = holding(transformer, QUERY)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ReadError, match=rf"{path.name}: this is no safetensors file"):
        load_transformer(transformer)


def test_a_missing_file_of_a_transformer_is_refused(transformer: Path) -> None:
    path = holding(transformer, QUERY)
    path.unlink()
    with pytest.raises(ReadError, match=rf"{path.name}: a safetensors file of the transformer was expected"):
        load_transformer(transformer)


def test_a_transformer_is_not_read_from_a_pickle(tmp_path: Path) -> None:
    save_transformer(random_transformer(), tmp_path)
    pickled(tmp_path, random_transformer().state_dict())
    with pytest.raises(ReadError, match=r"model\.safetensors: a safetensors file of the transformer was expected"):
        load_transformer(tmp_path)


@pytest.mark.parametrize("absolute", [False, True])
def test_a_file_outside_of_the_folder_is_refused(transformer: Path, absolute: bool) -> None:
    """Although it holds what is wanted."""
    inside = holding(transformer, QUERY)
    outside = transformer.parent / "x.safetensors"
    shutil.move(inside, outside)
    index = transformer / "model.safetensors.index.json"
    told = str(outside) if absolute else "../x.safetensors"
    index.write_text(index.read_text().replace(inside.name, told))
    with pytest.raises(ReadError, match=r"x\.safetensors: a safetensors file of the transformer was expected"):
        load_transformer(transformer)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": ["a"]}', "[]", "{"])
def test_a_broken_index_is_refused(transformer: Path, content: str) -> None:
    (transformer / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ReadError, match=r"model\.safetensors\.index\.json"):
        load_transformer(transformer)


def test_a_wrong_file_is_not_hidden_by_an_index_of_right_ones(transformer: Path) -> None:
    """Transformers reads `model.safetensors` where there is one, and makes up what it lacks."""
    shutil.copy(holding(transformer, "model.norm.weight"), transformer / "model.safetensors")
    with pytest.raises(ReadError, match="is missing"):
        load_transformer(transformer)


@pytest.mark.parametrize("values", [{"attn_resolutions": [16]}, {"no_attn_mid_block": False}])
def test_a_tokenizer_with_attention_is_refused(tokenizer: Path, values: dict[str, object]) -> None:
    config_changed(tokenizer, **values)
    with pytest.raises(ReadError, match="asks for attention"):
        load_tokenizer(tokenizer)


@pytest.mark.parametrize(
    "values",
    [
        {"num_embeddings": 0},
        {"num_embeddings": "many"},
        {"z_channels": 2.5},
        {"channel_mult": [1, -2]},
        {"channel_mult": [1, "2"]},
        {"channel_mult": 2},
        {"channel_mult": []},
        {"hidden_channels": 2},
        {"hidden_channels": 132},
    ],
)
def test_a_tokenizer_of_impossible_sizes_is_refused(tokenizer: Path, values: dict[str, object]) -> None:
    config_changed(tokenizer, **values)
    with pytest.raises(ReadError, match=r"config\.json"):
        load_tokenizer(tokenizer)


BROKEN = [b"", b"{", b"[]", b"3", b"\x80"]


@pytest.mark.parametrize("content", BROKEN)
@pytest.mark.parametrize("kind", ["tokenizer", "transformer"])
def test_a_folder_with_a_broken_config_is_refused(
    tokenizer: Path, transformer: Path, kind: str, content: bytes
) -> None:
    (tokenizer.parent / kind / "config.json").write_bytes(content)
    with pytest.raises(ReadError, match=rf"{kind}/config\.json: (JSON|a JSON object) was expected"):
        find_checkpoint(transformer.parent)


@pytest.mark.parametrize("content", BROKEN)
def test_a_tokenizer_with_a_broken_config_is_refused(tokenizer: Path, content: bytes) -> None:
    (tokenizer / "config.json").write_bytes(content)
    with pytest.raises(ReadError, match=r"config\.json: (JSON|a JSON object) was expected"):
        load_tokenizer(tokenizer)


@pytest.mark.parametrize("content", BROKEN)
def test_a_transformer_with_a_broken_config_is_refused(transformer: Path, content: bytes) -> None:
    (transformer / "config.json").write_bytes(content)
    with pytest.raises(ReadError, match=r"config\.json: (JSON|a JSON object) was expected"):
        load_transformer(transformer)


@pytest.mark.parametrize("values", [{"hidden_size": "wide"}, {"num_attention_heads": 5}, {"num_hidden_layers": -1}])
def test_a_transformer_of_impossible_sizes_is_refused(transformer: Path, values: dict[str, object]) -> None:
    config_changed(transformer, **values)
    with pytest.raises(ReadError, match="transformer"):
        load_transformer(transformer)


@pytest.mark.parametrize("family", ["mistral", "no such family"])
def test_a_transformer_of_another_family_is_refused(transformer: Path, family: str) -> None:
    config_changed(transformer, model_type=family)
    with pytest.raises(ReadError, match=r"the config\.json of a llama was expected"):
        load_transformer(transformer)


@pytest.mark.parametrize("kind", ["tokenizer", "transformer"])
def test_a_folder_without_a_config_is_refused(tokenizer: Path, transformer: Path, kind: str) -> None:
    (tokenizer.parent / kind / "config.json").unlink()
    with pytest.raises(ReadError, match=rf"the config\.json of a {kind} was expected, found none"):
        find_checkpoint(transformer.parent)


def test_a_tokenizer_without_a_config_is_refused(tokenizer: Path) -> None:
    (tokenizer / "config.json").unlink()
    with pytest.raises(ReadError, match=r"config\.json"):
        load_tokenizer(tokenizer)


def test_a_transformer_without_a_config_is_refused(transformer: Path) -> None:
    (transformer / "config.json").unlink()
    with pytest.raises(ReadError, match=r"config\.json"):
        load_transformer(transformer)


def test_a_folder_with_two_transformers_is_refused(tokenizer: Path, transformer: Path) -> None:
    shutil.copytree(transformer, transformer.with_name("another"))
    with pytest.raises(ReadError, match="of a transformer was expected, found another, transformer"):
        find_checkpoint(tokenizer.parent)


def test_what_is_no_folder_is_refused(tokenizer: Path) -> None:
    for path in (tokenizer / "config.json", tokenizer / "nowhere"):
        with pytest.raises(ReadError, match="a folder with a tokenizer and a transformer was expected"):
            find_checkpoint(path)


def test_a_tokenizer_without_weights_is_refused(tokenizer: Path) -> None:
    (tokenizer / "model.safetensors").unlink()
    with pytest.raises(ReadError, match=r"model\.safetensors or pytorch_model\.bin was expected"):
        load_tokenizer(tokenizer)
