"""Weights files: safetensors, loaded without executing anything, checked against the network that takes them."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from rtmotion.errors import ReadError, WriteError


def load_weights(network: nn.Module, path: Path) -> dict[str, str]:
    """Loads a weights file into a network, on the device where the network is.

    Args:
        network: Takes tensors of exactly the file's names and shapes; half precision is widened.
        path: A safetensors file.

    Returns:
        The metadata that the file carries.

    Raises:
        ReadError: If the file is missing, truncated or another network's; the message names the first mismatch.
    """
    from safetensors import SafetensorError, safe_open

    expected = network.state_dict()
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise ReadError(f"{path}: a safetensors file of weights was expected; it cannot be read ({error})") from error
    for name in sorted(expected.keys() ^ found.keys()):
        side = "is missing from" if name in expected else "is not expected in"
        raise ReadError(f"{path}: the weights are of another network: {name} {side} the file")
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(expected[name].shape)}"
            raise ReadError(f"{path}: the weights are of another network: {name} has the shape {shapes}")
    network.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in found.items()})
    return metadata


def save_weights(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Writes tensors as safetensors, beside `path` and then renamed.

    Raises:
        WriteError: If the system refuses.
    """
    from safetensors.torch import save

    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, dict(metadata)))
        beside.replace(path)
    except OSError as error:
        raise WriteError(f"{path}: the weights cannot be written ({error.strerror or error})") from error
    finally:
        beside.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
