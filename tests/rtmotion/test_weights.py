import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from rtmotion.errors import ReadError, WriteError
from rtmotion.weights import load_weights, save_weights, sha256


def network(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Linear(2, width), nn.Linear(width, 1))


def test_weights_come_back_with_their_metadata(tmp_path: Path) -> None:
    source, target = network(), network()
    save_weights(source.state_dict(), tmp_path / "w.safetensors", {"seed": "4"})
    assert load_weights(target, tmp_path / "w.safetensors") == {"seed": "4"}
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_half_precision_is_widened(tmp_path: Path) -> None:
    source, target = network(), network()
    save_weights({n: t.half() for n, t in source.state_dict().items()}, tmp_path / "w.safetensors", {})
    load_weights(target, tmp_path / "w.safetensors")
    for name, tensor in target.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, source.state_dict()[name].half().float())


def test_another_network_is_named_by_its_first_mismatch(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network(4).state_dict(), path, {})
    with pytest.raises(ReadError, match=r"0\.bias has the shape \(4,\), not \(3,\)"):
        load_weights(network(), path)
    tensors = dict(network().state_dict())
    save_weights({n: t for n, t in tensors.items() if n != "1.bias"}, path, {})
    with pytest.raises(ReadError, match=r"1\.bias is missing from the file"):
        load_weights(network(), path)
    save_weights({**tensors, "extra": torch.zeros(1)}, path, {})
    with pytest.raises(ReadError, match="extra is not expected in the file"):
        load_weights(network(), path)


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/nonexistent/harm"),))  # type: ignore[return-value]


@pytest.mark.parametrize("content", [b"", b"too short", pickle.dumps(Harmful())], ids=["empty", "short", "pickle"])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ReadError, match="a safetensors file of weights was expected"):
        load_weights(network(), path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_weights(network().state_dict(), path, {})
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ReadError, match="cannot be read"):
        load_weights(network(), path)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="the weights cannot be written"):
        save_weights(network().state_dict(), tmp_path / "none" / "w.safetensors", {})


def test_the_hash_is_that_of_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.write_bytes(b"")
    assert sha256(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
