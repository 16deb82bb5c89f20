import csv
import json
from pathlib import Path

import pytest
import torch

from rtmotion.weights import load_weights, sha256
from rtmotion_baselines.registration.voxelmorph import build_network
from rtmotion_cli import training_run
from rtmotion_cli.main import main
from rtmotion_cli.training_run import NetworkRecipe, training_patients
from rtmotion_data.phantom import PhantomConfig

SMALL = NetworkRecipe(
    "a small one",
    "rtmotion_baselines.registration.voxelmorph_training:VoxelMorphRecipe",
    {"steps": 4, "steps_each": 2, "pool": 2, "validate_every": 2, "report_every": 1, "rate": 0.01, "warmup": 1},
    {"size": (24, 24, 24), "spacing": (10.0, 10.0, 10.0), "phases": 2},
    validation=1,
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_run, "NETWORKS", {"voxelmorph": SMALL})


def test_the_command_writes_weights_that_the_network_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "with space"
    assert main(["train", "voxelmorph", "--out", str(out), "--json", "--device", "cpu"]) == 0
    summary = json.loads(capsys.readouterr().out)
    weights = Path(summary["weights"])
    assert weights == out / "voxelmorph.safetensors"
    assert summary["sha256"] == sha256(weights)
    assert summary["training"]["steps"] == 4
    network = build_network()
    metadata = load_weights(network, weights)
    assert (metadata["network"], metadata["steps"], metadata["seed"]) == ("voxelmorph", "4", "0")
    assert any(bool(p.abs().max() > 0) for n, p in network.named_parameters() if "final_conv_out" in n)
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"loss", "field", "image", "roughness", "validation_tre", "validation_tre_identity"} == {
        r["part"] for r in rows
    }


def test_an_unknown_network_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "voxelmorf", "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "voxelmorf" in message
    assert "voxelmorph" in message
    assert not (tmp_path / "out").exists()


def test_another_training_in_the_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "voxelmorph", "--out", str(tmp_path), "--steps", "2", "--device", "cpu"]
    assert main(arguments) == 0
    assert main([*arguments, "--seed", "5"]) == 2
    assert "other settings" in capsys.readouterr().err


def test_patients_go_on_from_any_number_and_half_are_sorted_perfectly() -> None:
    config = PhantomConfig(size=(16, 16, 16), spacing=(12.0, 12.0, 12.0), phases=2)
    from_start = training_patients(config, "cpu", 40, 0)
    first, second, third = (next(from_start) for _ in range(3))
    again = next(training_patients(config, "cpu", 40, 2))
    assert torch.equal(third.rendered, again.rendered)
    assert [p.parameters["seed"] for p in (first, second, third)] == [40, 41, 42]
    assert [p.parameters["config"]["sorting_artefacts"] for p in (first, second, third)] == [True, False, True]
