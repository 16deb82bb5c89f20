"""Writes what was trained in the published layout, as `--lvm-weights` takes it: `tokenizer/` and `transformer/`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rtmotion.errors import WriteError
from rtmotion.lvm.checkpoint import PUBLISHED_NAMES
from rtmotion.lvm.sentence_recipe import SentenceRecipe, shipped_tokenizer
from rtmotion.lvm.tokenizer import Tokenizer, TokenizerConfig
from rtmotion.lvm.tokenizer_recipe import TokenizerRecipe
from rtmotion.weights import load_weights, save_weights

FILES = (".json", ".safetensors", ".bin")
"""What a tokenizer's folder may hold."""


def tokenizer_folder(recipe: TokenizerRecipe, weights: Path, out: Path) -> None:
    """`out/tokenizer` from the weights of a training."""
    network = Tokenizer(recipe.config)
    save_tokenizer(network, out / "tokenizer", load_weights(network, weights))


def model_folder(recipe: SentenceRecipe, weights: Path, out: Path) -> None:
    """`out/transformer` from the weights of a training, and `out/tokenizer`, whose tokens it speaks."""
    network = recipe.build()
    load_weights(network, weights)
    save_transformer(network, out / "transformer")
    with shipped_tokenizer(recipe.tokenizer) as folder:
        _write(out / "tokenizer", {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix in FILES})


def save_tokenizer(network: Tokenizer, folder: Path, metadata: dict[str, str] | None = None) -> None:
    """A tokenizer as `config.json` and `model.safetensors`."""
    _write(folder, {"config.json": json.dumps(published_config(network.config), indent=2).encode()})
    save_weights(network.state_dict(), folder / "model.safetensors", metadata or {})


def save_transformer(network: Any, folder: Path, shard: str = "15MB") -> None:
    """A `LlamaForCausalLM` as `config.json` and safetensors of at most a size.

    Raises:
        WriteError: If the system refuses.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        network.save_pretrained(folder, max_shard_size=shard)
    except OSError as error:
        raise WriteError(f"{folder}: the transformer cannot be written ({error.strerror or error})") from error


def published_config(config: TokenizerConfig) -> dict[str, Any]:
    """A tokenizer's configuration under the published names."""
    ours = asdict(config)
    return {theirs: ours[name] for theirs, name in PUBLISHED_NAMES.items()} | {
        "attn_resolutions": [],
        "no_attn_mid_block": True,
    }


def _write(folder: Path, contents: dict[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise WriteError(f"{folder}: cannot be written ({error.strerror or error})") from error
