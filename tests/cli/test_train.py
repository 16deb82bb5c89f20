import csv
import json
from itertools import islice
from pathlib import Path

import pytest
import torch

from rtmotion.errors import ReadError
from rtmotion.video.refinement import network_with
from rtmotion.weights import load_weights, sha256
from rtmotion_baselines.registration.voxelmorph import build_network
from rtmotion_cli import training_run
from rtmotion_cli.main import main
from rtmotion_cli.networks import NetworkRecipe
from rtmotion_cli.training_patients import PatientSource
from rtmotion_data.phantom import PhantomConfig

SMALL = NetworkRecipe(
    "a small one",
    "rtmotion_baselines.registration.voxelmorph_training:VoxelMorphRecipe",
    {"steps": 4, "steps_each": 2, "pool": 2, "validate_every": 2, "report_every": 1, "rate": 0.01, "warmup": 1},
    {"size": (24, 24, 24), "spacing": (10.0, 10.0, 10.0), "phases": 2},
    validation=1,
)


TUNED = NetworkRecipe(
    "the video model",
    "rtmotion.video.recipe:VideoRecipe",
    {},
    {},
    tuning={"steps": 2, "rate": 1e-3, "warmup": 1, "average": 0.5, "validate_every": 2},
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_run, "NETWORKS", {"voxelmorph": SMALL, "video": TUNED})


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
    source = PatientSource(config, 40)
    first, second, third = islice(source.stream(0), 3)
    assert torch.equal(third.rendered, next(source.stream(2)).rendered)
    assert [p.parameters["seed"] for p in (first, second, third)] == [40, 41, 42]
    assert [p.parameters["config"]["sorting_artefacts"] for p in (first, second, third)] == [True, False, True]
    assert [p.parameters["seed"] for p in islice(source.stream(1, 2), 2)] == [41, 43]


def test_patients_take_their_geometries_in_turn() -> None:
    config = PhantomConfig(phases=2)
    geometries = (((16, 16, 16), (12.0, 12.0, 12.0)), ((12, 14, 16), (12.0, 11.0, 10.0)))
    grids = [p.grid for p in islice(PatientSource(config, 7, geometries).stream(0), 3)]
    assert [(g.size, g.spacing) for g in grids] == [*geometries, geometries[0]]


def test_half_of_the_patients_start_at_end_inhale_where_starts_are_mixed(tmp_path: Path) -> None:
    config = PhantomConfig(size=(20, 16, 16), spacing=(12.0, 12.0, 12.0), phases=3)
    folder = tmp_path / "patients"
    prepare = "rtmotion_baselines.generative.image_patients"
    source = PatientSource(config, 20, mixed_starts=True, prepare=prepare, folder=folder)
    for number in range(4):
        source[number]
    # kept under other names, so that trainings with and without mixed starts can share the folder
    assert {p.name for p in folder.iterdir()} == {
        "20.safetensors",
        "21.safetensors",
        "22-end-inhale.safetensors",
        "23-end-inhale.safetensors",
    }
    mixed = list(islice(PatientSource(config, 20, mixed_starts=True).stream(0), 4))
    assert [p.parameters["config"]["random_start"] for p in mixed] == [True, True, False, False]


@pytest.mark.slow
def test_workers_make_the_same_patients() -> None:
    config = PhantomConfig(size=(16, 16, 16), spacing=(12.0, 12.0, 12.0), phases=2)
    alone, helped = (islice(PatientSource(config, 3, workers=n).stream(1), 3) for n in (0, 2))
    assert all(torch.equal(a.rendered, b.rendered) for a, b in zip(alone, helped, strict=True))


def test_prepared_patients_are_kept_for_the_next_training(tmp_path: Path) -> None:
    config = PhantomConfig(size=(20, 16, 16), spacing=(12.0, 12.0, 12.0), phases=3)
    source = PatientSource(config, 9, prepare="rtmotion.video.prepared", folder=tmp_path / "patients")
    made = source[1]
    assert [p.name for p in (tmp_path / "patients").iterdir()] == ["10.safetensors"]
    again = source[1]
    assert all(torch.equal(v, vars(again)[name]) for name, v in vars(made).items())
    (tmp_path / "patients" / "10.safetensors").write_bytes(b"cut off")
    with pytest.raises(ReadError, match="remove the file"):
        source[1]


def test_the_shipped_video_model_goes_on_from_the_users_own_cases(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    case = tmp_path / "my patient"
    assert main(["phantom", str(case), "--phases", "5", "--size", "24", "20", "20", "--spacing", "12", "-q"]) == 0
    capsys.readouterr()
    arguments = ["train", "video", "--cases", str(case), "--out", str(tmp_path / "tuned"), "--json", "--device", "cpu"]
    assert main(arguments) == 0
    said = capsys.readouterr()
    assert "none is held out" in said.err
    weights = Path(json.loads(said.out)["weights"])
    tuned, shipped = network_with(weights).state_dict(), network_with().state_dict()
    differences = [float((tuned[name] - tensor).abs().max()) for name, tensor in shipped.items()]
    assert 0 < max(differences) < 0.02
    forecast = ["forecast", str(case), "--observe", "3", "--out", str(tmp_path / "forecast"), "-q", "--device", "cpu"]
    assert main([*forecast, "--weights", str(weights)]) == 0
    assert main([*forecast, "--weights", str(weights), "--method", "persistence"]) == 2
    assert "takes no such file" in capsys.readouterr().err
    assert main([*forecast, "--weights", str(case / "phantom.json")]) == 2
    assert "a safetensors file of weights was expected" in capsys.readouterr().err


def test_only_networks_that_can_be_tuned_take_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "voxelmorph", "--cases", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "not tuned on cases" in capsys.readouterr().err
