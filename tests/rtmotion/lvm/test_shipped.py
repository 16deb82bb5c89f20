"""The shipped lvm-mini: its files, its card, and that it shows and repeats what it should."""

from importlib.resources import files
from pathlib import Path

import pytest
import torch

from rtmotion.evaluation.regions import body_mask
from rtmotion.lvm.frames import framing
from rtmotion.lvm.model import LargeVisionModel, load_model
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion.weights import sha256
from rtmotion_data.phantom import PhantomConfig, make_tensors

MEGABYTE = 2**20
SHOWN_HU = 60.0
"""Mean absolute error over the body of a coarse, noisy patient; the card says 26 for those of the validation."""

STABLE = 0.4
"""Share of the tokens that are the same when what they show is encoded again; the documentation says how many are."""


@pytest.fixture(scope="module")
def model() -> LargeVisionModel:
    return load_model()


@pytest.fixture(scope="module")
def phases() -> PhaseSequence:
    patient = make_tensors(7, PhantomConfig(size=(56, 48, 40), spacing=(6.0, 6.0, 7.0), phases=4), "cpu")
    volumes = tuple(Volume(hu, patient.grid) for hu in patient.rendered)
    return PhaseSequence(tuple(Phase.of_percent(10 * i) for i in range(len(volumes))), volumes)


def test_files_are_small_and_the_card_knows_them() -> None:
    folder = Path(str(files("rtmotion.lvm").joinpath("weights")))
    card = (folder / "lvm-mini.md").read_text(encoding="utf-8")
    weights = sorted(folder.rglob("*.safetensors"))
    assert len(weights) >= 2
    assert sum(p.stat().st_size for p in weights) <= 64 * MEGABYTE
    for path in weights:
        assert path.stat().st_size <= 16 * MEGABYTE
        assert sha256(path) in card


def test_tokens_show_a_patient_that_they_were_not_trained_on(model: LargeVisionModel, phases: PhaseSequence) -> None:
    volume = phases.volumes[0]
    body = body_mask(volume)
    frame = framing(body, volume.grid, "coronal", model.tokenizer.config.resolution)
    pictures = frame.pictures(volume.hu)
    tokens = model.tokens(pictures)
    shown = model.pictures(tokens)
    off = (frame.values(shown) - volume.hu[frame.box])[body[frame.box]].abs().mean()
    assert float(off) < SHOWN_HU
    assert float((model.tokens(shown) == tokens).float().mean()) > STABLE


def test_the_transformer_expects_the_next_frame(model: LargeVisionModel, phases: PhaseSequence) -> None:
    frame = framing(body_mask(phases.volumes[0]), phases.grid, "axial", model.tokenizer.config.resolution)
    middle = frame.slices // 2
    ids = torch.cat([model.tokens(frame.pictures(v.hu)[middle : middle + 1]) for v in phases.volumes], dim=1)
    with torch.inference_mode():
        logits = model.transformer(ids).logits[:, :-1].float()
    tokens = model.tokenizer.config.tokens
    surprise = torch.nn.functional.cross_entropy(logits[0, 2 * tokens - 1 :], ids[0, 2 * tokens :])
    assert float(surprise) < 0.7 * float(torch.tensor(float(model.tokenizer.config.codes)).log())
