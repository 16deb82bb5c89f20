"""Checkpoints of the large vision model in a folder of the user's: tokenizer and transformer, each with its config.

Layouts are the published ones (hub folders `Emma02/vqvae_ckpts` and `Emma02/LVM_ckpts`). Every key and shape is checked
before a transformer of gigabytes is loaded; the first that does not fit is named. Pickles are read for tensors alone:
a file that wants to run code is refused, and nothing of it runs.
"""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rtmotion.errors import ReadError
from rtmotion.lvm.tokenizer import Tokenizer, TokenizerConfig

IGNORED = "rotary_emb.inv_freq"
"""Old checkpoints hold what is computed."""

PRESETS: Mapping[str, Mapping[str, int]] = {
    name: dict(zip(("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"), row, strict=True))
    for name, row in {
        "debug": (128, 256, 2, 4),
        "100m": (640, 1664, 22, 10),
        "300m": (1024, 2688, 22, 8),
        "600m": (1536, 4096, 22, 16),
        "1b": (2048, 5504, 22, 16),
        "3b": (3200, 8640, 26, 32),
        "7b": (4096, 11008, 32, 32),
    }.items()
}
"""The authors' sizes of the transformer."""

PUBLISHED_NAMES = {
    "resolution": "resolution",
    "num_channels": "channels",
    "hidden_channels": "hidden",
    "channel_mult": "multipliers",
    "num_res_blocks": "blocks",
    "z_channels": "latent",
    "num_embeddings": "codes",
    "quantized_embed_dim": "code_channels",
}
"""The names in a tokenizer's `config.json`, and ours."""

PUBLISHED_VOCABULARY = 8292
PUBLISHED_POSITIONS = 4096

FULL_PRECISION_UP_TO = 2**30
"""Parameters; larger transformers are loaded in half precision on a CPU too."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder's tokenizer and transformer.

    Attributes:
        tokenizer: Folder of the tokenizer.
        transformer: Folder of the transformer.
    """

    tokenizer: Path
    transformer: Path


def find_checkpoint(folder: Path) -> Checkpoint:
    """The folders below `folder`, told apart by their `config.json`: a transformer's says `llama`.

    Raises:
        ReadError: If either is missing or there are several.
    """
    if not folder.is_dir():
        raise ReadError(f"{folder}: a folder with a tokenizer and a transformer was expected")
    configs = [p for p in sorted({*folder.glob("config.json"), *folder.glob("*/config.json")}) if p.is_file()]
    kinds: dict[str, list[Path]] = {"tokenizer": [], "transformer": []}
    for path in configs:
        kinds["transformer" if read_json(path).get("model_type") == "llama" else "tokenizer"].append(path.parent)
    for kind, found in kinds.items():
        if len(found) != 1:
            names = ", ".join(p.name for p in found) or "none"
            raise ReadError(f"{folder}: one folder with the config.json of a {kind} was expected, found {names}")
    return Checkpoint(kinds["tokenizer"][0], kinds["transformer"][0])


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ReadError: If the file holds none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReadError(f"{path}: JSON was expected ({error})") from error
    if not isinstance(found, dict):
        raise ReadError(f"{path}: a JSON object was expected, got {type(found).__name__}")
    return found


def tokenizer_config(raw: Mapping[str, Any]) -> TokenizerConfig:
    """The configuration in a tokenizer's `config.json`; what it does not say is as published.

    Raises:
        ReadError: If it is of another kind, such as one with attention.
    """
    if raw.get("attn_resolutions") or not raw.get("no_attn_mid_block", True):
        raise ReadError("the tokenizer's config.json asks for attention, which the published one has not")
    values = {ours: raw[theirs] for theirs, ours in PUBLISHED_NAMES.items() if theirs in raw}
    if "multipliers" in values:
        given = values["multipliers"]
        values["multipliers"] = tuple(given) if isinstance(given, (list, tuple)) and given else (0,)
    numbers = [n for v in values.values() for n in (v if isinstance(v, tuple) else (v,))]
    if not all(isinstance(n, int) and n > 0 for n in numbers):
        raise ReadError(f"the tokenizer's config.json has sizes that are no positive whole numbers: {values}")
    return TokenizerConfig(**values)


def load_tokenizer(folder: Path, device: str = "cpu") -> Tokenizer:
    """A tokenizer with its weights, from `model.safetensors` or `pytorch_model.bin`.

    Raises:
        ReadError: If a file is missing, unsafe or of another network.
    """
    config = tokenizer_config(read_json(folder / "config.json"))
    path = next((folder / n for n in ("model.safetensors", "pytorch_model.bin") if (folder / n).is_file()), None)
    if path is None:
        raise ReadError(f"{folder}: model.safetensors or pytorch_model.bin was expected")
    found = _read_tensors(path)
    try:
        with torch.device("meta"):
            network = Tokenizer(config)
    except (ValueError, ZeroDivisionError) as error:
        raise ReadError(f"{folder / 'config.json'}: no tokenizer has these sizes ({error})") from error
    check_names({k: tuple(v.shape) for k, v in found.items()}, shapes_of(network), path)
    network.load_state_dict({k: v.float() for k, v in found.items()}, assign=True)
    return network.to(device).eval().requires_grad_(False)


def load_transformer(folder: Path, device: str = "cpu", dtype: torch.dtype | None = None) -> Any:
    """A `LlamaForCausalLM` from one or several safetensors files.

    Args:
        folder: With `config.json` and `model.safetensors`, or `model.safetensors.index.json` and its files.
        device: Torch device; `cuda` shares a transformer out over all GPUs (`device_map`).
        dtype: Of the weights; None takes bfloat16 on CUDA and for more than a billion parameters, else float32.

    Raises:
        ReadError: If a file is missing or of another network.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # rtmotion shows its own
    raw = read_json(folder / "config.json")
    if raw.get("model_type") != "llama":
        raise ReadError(f"{folder}: the config.json of a llama was expected, got {raw.get('model_type')}")
    try:
        config = LlamaConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, TypeError, ValueError, StrictDataclassError) as error:
        raise ReadError(f"{folder}: the config.json is of no transformer ({error})") from error
    with torch.device("meta"):
        wanted = LlamaForCausalLM(config)
    check_names(_stored_shapes(folder), shapes_of(wanted), folder, (IGNORED,))
    if dtype is None:
        large = sum(p.numel() for p in wanted.parameters()) > FULL_PRECISION_UP_TO
        dtype = torch.bfloat16 if large or device.startswith("cuda") else torch.float32
    places: Any = "auto" if device == "cuda" else {"": device}
    model = LlamaForCausalLM.from_pretrained(
        folder, config=config, dtype=dtype, device_map=places, local_files_only=True, use_safetensors=True
    )
    model.eval()  # type: ignore[no-untyped-call]
    return model.requires_grad_(False)


def shapes_of(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a network's weights."""
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def check_names(
    found: Mapping[str, tuple[int, ...]],
    wanted: Mapping[str, tuple[int, ...]],
    where: Path,
    ignored: tuple[str, ...] = (),
) -> None:
    """Refuses weights of another network.

    Raises:
        ReadError: That names the first key that is missing, has another shape or is not wanted.
    """
    for name, shape in wanted.items():
        if name not in found:
            raise ReadError(f"{where}: {name} is missing")
        if tuple(found[name]) != shape:
            raise ReadError(f"{where}: {name} has shape {tuple(found[name])}, expected {shape}")
    for name in found:
        if name not in wanted and not name.endswith(ignored):
            raise ReadError(f"{where}: {name} belongs to another network")


def _stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a transformer's files, read from their headers."""
    from safetensors import SafetensorError, safe_open

    index = folder / "model.safetensors.index.json"
    if index.is_file() and not (folder / "model.safetensors").is_file():  # which transformers prefers
        listed = read_json(index).get("weight_map")
        if not isinstance(listed, dict):
            raise ReadError(f"{index}: a weight_map was expected")
        names = sorted({str(v) for v in listed.values()})
    else:
        names = ["model.safetensors"]
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names:
        path = folder / name
        if path.parent != folder or not path.is_file():
            raise ReadError(f"{path}: a safetensors file of the transformer was expected")
        try:
            with safe_open(path, framework="pt") as file:
                shapes |= {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise ReadError(f"{path}: this is no safetensors file ({error})") from error
    return shapes


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file; of a pickle nothing but tensors."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise ReadError(f"{path}: holds more than tensors and is not read, since that runs code ({reason})") from error
    except (OSError, SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ReadError(f"{path}: weights cannot be read ({str(error) or type(error).__name__})") from error
    if not isinstance(found, dict) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ReadError(f"{path}: names and tensors were expected")
    return found
