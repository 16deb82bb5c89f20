"""How the generative baselines are trained: what an example is, and that the command makes weights that load."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from rtmotion.errors import ReadError
from rtmotion.training.log import COLUMNS
from rtmotion_baselines.generative.clip import HALF_RANGE_HU, from_cells, to_cells
from rtmotion_baselines.generative.image_patients import ImagePatient, load_patient, prepare, save_patient
from rtmotion_baselines.generative.image_recipe import ImageRecipe, example_of
from rtmotion_baselines.generative.shipped import network_with
from rtmotion_cli import training_run
from rtmotion_cli.main import main
from rtmotion_cli.networks import NETWORKS
from rtmotion_data.phantom import PhantomConfig, make_tensors

SMALL: dict[str, Any] = {"size": (40, 36, 32), "spacing": (8.0, 8.0, 8.0), "phases": 5}
RECIPE = ImageRecipe("simvp", "rtmotion_baselines.generative.simvp:SimVp", crop=(8, 12), targets=9)
WHOLE = (slice(0, 32), slice(0, 36), slice(0, 40))


@pytest.fixture(scope="module")
def patient() -> ImagePatient:
    return prepare(make_tensors(3, PhantomConfig(**SMALL), "cpu"))


def test_an_example_holds_the_clean_future_of_what_was_scanned(patient: ImagePatient) -> None:
    example = example_of(patient, [0, 1, 2], [3, 4], WHOLE)
    assert torch.equal(example.clip.cells, to_cells(patient.scanned[:3].float()))
    assert torch.equal(example.future, to_cells(patient.clean[3:].float()))
    assert example.clip.times.tolist() == pytest.approx([-0.4, -0.2, 0.0], abs=1e-6)
    assert example.clip.ahead.tolist() == pytest.approx([0.2, 0.4], abs=1e-6)
    changed = from_cells(example.change).abs().mean()
    assert 5 < float(changed) < HALF_RANGE_HU


def test_backwards_in_time_the_last_phase_follows_the_first(patient: ImagePatient) -> None:
    example = example_of(patient, [0, 1], [2], WHOLE, backward=True)
    assert torch.equal(example.clip.cells[1], to_cells(patient.scanned[4].float()))
    assert torch.equal(example.future[0], to_cells(patient.clean[3].float()))


def test_left_and_right_change_places_in_all_of_an_example(patient: ImagePatient) -> None:
    plain, mirrored = (example_of(patient, [0, 1], [2], WHOLE, mirrored=m) for m in (False, True))
    assert torch.allclose(from_cells(mirrored.future), from_cells(plain.future).flip(-1))
    assert torch.allclose(from_cells(mirrored.clip.cells), from_cells(plain.clip.cells).flip(-1))
    assert torch.equal(mirrored.weight, plain.weight.flip(-1))


def test_random_examples_are_those_of_their_seed(patient: ImagePatient) -> None:
    one, same, other = (RECIPE.example(patient, torch.Generator().manual_seed(s)) for s in (4, 4, 5))
    assert torch.equal(one.future, same.future)
    assert one.seed == same.seed != other.seed
    assert all(n % 4 == 0 and 8 <= n <= 12 for n in one.weight.shape[1:])
    assert bool((one.clip.ahead > 0).all())


def test_a_network_that_copies_scores_as_persistence(patient: ImagePatient) -> None:
    scores = RECIPE.validate(RECIPE.build().eval(), patient)
    assert scores["error_3"] == pytest.approx(scores["base_3"])
    assert 5 < scores["base_3"] < 200


def test_a_prepared_patient_comes_back_from_the_disk(patient: ImagePatient, tmp_path: Path) -> None:
    path = tmp_path / "a patient.safetensors"
    save_patient(patient, path)
    found = load_patient(path)
    assert all(torch.equal(getattr(found, f.name), getattr(patient, f.name)) for f in dataclasses.fields(patient))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ReadError, match="a prepared patient was expected"):
        load_patient(path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where trainings keep their patients, those over images and those over fields apart."""
    return tmp_path_factory.mktemp("shared patients")


@pytest.mark.parametrize("name", ["simvp", "flow-matching", "convlstm", "adversarial"])
def test_the_command_trains_each_kind(
    name: str, tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short = {"steps": 2, "steps_each": 2, "pool": 1, "validate_every": 2, "report_every": 1, "warmup": 1}
    recipe = dataclasses.replace(
        NETWORKS[name], training={**short, "rate": 1e-3}, patients=SMALL, geometries=(), validation=1
    )
    monkeypatch.setattr(training_run, "NETWORKS", {name: recipe})
    patients = prepared / str(recipe.prepare)
    command = ["train", name, "--out", str(tmp_path / "out"), "--patients", str(patients), "--json", "--device", "cpu"]
    assert main(command) == 0
    summary = json.loads(capsys.readouterr().out)
    assert len(list(patients.glob("*.safetensors"))) == 2  # one to train on, one to validate on
    network = network_with(name, str(recipe.options["network"]), Path(summary["weights"]))
    assert sum(p.numel() for p in network.parameters()) > 1e5
    if name in ("flow-matching", "adversarial"):
        # calibrated on the patient of the validation
        assert float(network.get_buffer("spread_factor")) not in (1.0, 0.0)
    log = (tmp_path / "out" / "log.csv").read_text(encoding="utf-8")
    assert log.startswith(",".join(COLUMNS))
    assert "validation_error_3" in log
