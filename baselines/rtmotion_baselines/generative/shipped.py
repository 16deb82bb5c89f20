"""The networks of the generative baselines, with their weights."""

from functools import lru_cache
from importlib import import_module
from importlib.resources import as_file, files
from pathlib import Path

from torch import nn

from rtmotion.weights import load_weights


@lru_cache(maxsize=8)
def network_with(name: str, network: str, weights: Path | None = None, device: str = "cpu") -> nn.Module:
    """A network with the weights of a file, or the shipped ones, on a device.

    Args:
        name: Name of the method.
        network: `module:class`.
        weights: A file, or None for the shipped ones.
        device: Torch device.

    Raises:
        ReadError: If the file holds no weights of this network.
    """
    module, _, attribute = network.partition(":")
    built: nn.Module = getattr(import_module(module), attribute)()
    if weights is not None:
        load_weights(built, weights)
    else:
        with as_file(files(__package__).joinpath(f"weights/{name}.safetensors")) as path:
            load_weights(built, path)
    return built.to(device).eval().requires_grad_(False)
