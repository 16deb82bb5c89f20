"""`rtmotion train lvm-tokenizer` and `lvm-transformer` make a folder that `--lvm-weights` takes."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from rtmotion.lvm.model import load_model
from rtmotion.lvm.sentence_recipe import SpeakerConfig
from rtmotion.lvm.tokenizer import TokenizerConfig
from rtmotion.lvm.tokenizer_recipe import TokenizerRecipe
from rtmotion_cli import training_run
from rtmotion_cli.main import main
from rtmotion_cli.networks import NETWORKS

PATIENT: dict[str, Any] = {"size": (40, 36, 32), "spacing": (8.0, 8.0, 8.0), "phases": 10}
SHORT = {"steps": 3, "steps_each": 2, "pool": 1, "validate_every": 3, "report_every": 1, "warmup": 1, "rate": 1e-3}
SMALL = TokenizerConfig(
    resolution=32, hidden=8, multipliers=(1, 2, 2), blocks=1, latent=8, codes=48, code_channels=8
)  # 8 x 8 tokens


def train(name: str, options: dict[str, Any], folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = dataclasses.replace(
        NETWORKS[name], training=SHORT, patients=PATIENT, geometries=(), validation=1, options=options
    )
    monkeypatch.setattr(training_run, "NETWORKS", {name: recipe})
    assert main(["train", name, "--out", str(out), "--patients", str(folder), "-q", "--device", "cpu"]) == 0


def test_a_tokenizer_and_a_transformer_that_speaks_it_are_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patients, first, second = tmp_path / "patients", tmp_path / "first", tmp_path / "second"
    small = {"config": SMALL, "pictures": 2, "crop": 16}
    train("lvm-tokenizer", small, patients, first, monkeypatch)
    speaks = {
        "tokenizer": first / "tokenizer",
        "config": SpeakerConfig(96, 64, 2, 2),
        "videos": 2,
        "others": 1,
    }
    train("lvm-transformer", speaks, patients, second, monkeypatch)
    model = load_model(second)
    assert model.tokenizer.config == SMALL
    log = (second / "log.csv").read_text(encoding="utf-8")
    # it starts as a copy of the last frame; chance is 2 %
    rows = [line.split(",") for line in log.splitlines() if "validation" in line]
    scores = {row[-2].removeprefix("validation_"): float(row[-1]) for row in rows}
    assert scores["right_5"] > 0.5 * scores["copied_5"]


def test_codes_that_nothing_is_near_are_moved_to_where_pictures_are() -> None:
    torch.manual_seed(0)
    recipe = TokenizerRecipe(SMALL)
    network = recipe.build()
    pictures = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    recipe.loss(network, torch.stack([pictures, pictures]))
    placed = network.get_parameter("quantize.embedding.weight").clone()
    found = network.get_parameter("quantize.embedding.weight")
    with torch.no_grad():
        found[:20] += 100.0
    for _ in range(200):
        recipe.loss(network, torch.stack([pictures, pictures]))
    assert float((found[:20] - placed[:20]).detach().abs().max()) < 50
    recipe.finish(network, [])
    assert not {"used", "age"} & set(network.state_dict())
