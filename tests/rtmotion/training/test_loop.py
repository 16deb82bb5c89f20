import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rtmotion.errors import ReadError, RtmotionError
from rtmotion.training import TrainingConfig, train
from tests.rtmotion.training.toy import OFFSET, SLOPE, LineRecipe, numbers

CONFIG = TrainingConfig(
    steps=120, rate=0.1, warmup=5, average=0.9, pool=3, steps_each=7, report_every=10, validate_every=30
)


def test_the_average_of_the_weights_learns_the_line(tmp_path: Path) -> None:
    path = train(LineRecipe(), numbers, [0.5, 4.0], CONFIG, tmp_path)
    found = load_file(path)
    assert found["weight"].item() == pytest.approx(SLOPE, abs=0.02)
    assert found["bias"].item() == pytest.approx(OFFSET, abs=0.02)
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    validation = [float(r["value"]) for r in rows if r["part"] == "validation_error"]
    assert len(validation) == 4
    assert validation[-1] < 0.1 * validation[0]
    losses = [float(r["value"]) for r in rows if r["part"] == "loss"]
    assert len(losses) == 12
    assert losses[-1] < losses[0]
    assert int(rows[-1]["patients"]) == -(-CONFIG.steps // CONFIG.steps_each)


def logged_steps(folder: Path) -> list[str]:
    with (folder / "log.csv").open() as file:
        return [row["step"] for row in csv.DictReader(file)]


class KilledError(Exception):
    pass


def test_a_killed_training_goes_on_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = train(LineRecipe(), numbers, [0.5], CONFIG, tmp_path / "whole")

    def stop(_: str, done: int, total: int) -> None:
        assert total == CONFIG.steps
        if done == 71:  # neither at a checkpoint nor when a patient comes in
            raise KilledError

    with pytest.raises(KilledError):
        train(LineRecipe(), numbers, [0.5], CONFIG, tmp_path / "killed", progress=stop)
    first: list[int] = []
    again = train(
        LineRecipe(), numbers, [0.5], CONFIG, tmp_path / "killed", progress=lambda _, done, __: first.append(done)
    )
    assert first[0] == 61
    for name, tensor in load_file(whole).items():
        assert torch.equal(tensor, load_file(again)[name])
    assert logged_steps(whole.parent) == logged_steps(again.parent)


def test_the_seed_decides(tmp_path: Path) -> None:
    short = replace(CONFIG, steps=10)
    paths = [
        train(LineRecipe(), numbers, [], replace(short, seed=s), tmp_path / str(i)) for i, s in enumerate((0, 0, 1))
    ]
    weights = [load_file(p)["weight"].item() for p in paths]
    assert weights[0] == weights[1] != weights[2]


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    train(LineRecipe(), numbers, [], replace(CONFIG, steps=10), tmp_path)

    def refuse(_: str, __: int, ___: int) -> None:
        raise AssertionError("a step was done")

    path = train(LineRecipe(), numbers, [], replace(CONFIG, steps=10), tmp_path, progress=refuse)
    assert path.is_file()


def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    train(LineRecipe(), numbers, [], replace(CONFIG, steps=10), tmp_path)
    with pytest.raises(ReadError, match="other settings; choose another --out"):
        train(LineRecipe(), numbers, [], replace(CONFIG, steps=10, seed=3), tmp_path)


def test_a_broken_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"no checkpoint")
    with pytest.raises(ReadError, match=r"checkpoint\.pt: no checkpoint of this training"):
        train(LineRecipe(), numbers, [], replace(CONFIG, steps=10), tmp_path)


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(RtmotionError, match="no number any more at step 0"):
        train(LineRecipe(nonsense_from=-100), numbers, [], CONFIG, tmp_path)
    assert not (tmp_path / "line.safetensors").exists()


def test_the_rate_rises_and_falls() -> None:
    rates = [CONFIG.rate_at(s) for s in range(CONFIG.steps)]
    assert rates[CONFIG.warmup] == pytest.approx(CONFIG.rate)
    assert rates[: CONFIG.warmup] == sorted(rates[: CONFIG.warmup])
    assert rates[CONFIG.warmup :] == sorted(rates[CONFIG.warmup :], reverse=True)
    assert rates[-1] < 0.02 * CONFIG.rate


@pytest.mark.parametrize("name", ["steps", "pool", "steps_each", "report_every", "validate_every"])
def test_counts_of_nothing_are_refused(name: str) -> None:
    with pytest.raises(RtmotionError, match=f"{name} of a training must be at least 1"):
        replace(CONFIG, **{name: 0})  # type: ignore[arg-type]
