"""The forecaster `lvm` with small models whose answers are known, and the command line with folders of the user's."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rtmotion.errors import ReadError, RtmotionError, UnknownNameError
from rtmotion.evaluation.protocol import evaluate
from rtmotion.grid import Grid
from rtmotion.lvm.checkpoint import load_tokenizer, load_transformer
from rtmotion.lvm.forecaster import LvmForecaster, create, frames_ahead, jitter
from rtmotion.lvm.layout import save_tokenizer, save_transformer
from rtmotion.lvm.model import LargeVisionModel, load_model
from rtmotion.lvm.sentence_recipe import SpeakerConfig, llama_config, say_the_last_frame
from rtmotion.lvm.tokenizer import Tokenizer, TokenizerConfig
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion_cli.main import main

SMALL = TokenizerConfig(
    resolution=16, hidden=8, multipliers=(1, 2), blocks=1, latent=8, codes=64, code_channels=8
)  # 8 x 8 tokens
ROUNDING_HU = 1e-2
"""Of float32 sums of values up to a thousand."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that has learned nothing, and a transformer that repeats the last frame."""
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    found = tmp_path_factory.mktemp("a model of mine")
    tokenizer = Tokenizer(SMALL)
    torch.nn.init.normal_(tokenizer.quantize.embedding.weight)
    transformer = LlamaForCausalLM(llama_config(SpeakerConfig(96, 64, 2, 2), tokenizer))
    say_the_last_frame(transformer, tokenizer.quantize.embedding.weight, SMALL.tokens)
    save_tokenizer(tokenizer, found / "vqvae")
    save_transformer(transformer, found / "llama")
    return found


@pytest.fixture
def model(folder: Path) -> LargeVisionModel:
    return load_model(folder)


def sequence(count: int) -> PhaseSequence:
    """A body of water with a lung that moves."""
    grid = Grid((18, 14, 12), (8.0, 8.0, 10.0))
    z, y, x = torch.meshgrid(*(torch.arange(n) for n in (12, 14, 18)), indexing="ij")
    volumes = []
    for i in range(count):
        hu = torch.full((12, 14, 18), -1000.0)
        hu[:, 2:12, 2:16] = 40.0
        hu[((z - 4 - i / 2) ** 2 + (y - 7) ** 2 + (x - 9) ** 2) < 10] = -800.0
        volumes.append(Volume(hu, grid))
    phases = tuple(Phase.of_percent(10 * i) for i in range(count))
    return PhaseSequence(phases, tuple(volumes))


def test_a_transformer_that_repeats_frames_leaves_the_last_phase_where_changes_are_shown(
    model: LargeVisionModel,
) -> None:
    observed, truth = sequence(6).observe(3)
    forecast = LvmForecaster("lvm-anchored", model, anchored=True).forecast(observed, truth.phases)
    assert forecast.details["tokens"] == forecast.details["slices"] * 3 * SMALL.tokens
    for volume in forecast.volumes:
        assert torch.allclose(volume.hu, observed.volumes[-1].hu, atol=ROUNDING_HU)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal", "fused"])
def test_as_decoded_it_is_the_last_phase_through_the_tokenizer_and_back(model: LargeVisionModel, plane: str) -> None:
    observed, truth = sequence(5).observe(3)
    forecast = LvmForecaster("lvm", model, plane).forecast(observed, truth.phases)
    assert forecast.reconstruct is not None
    last = forecast.reconstruct(observed.volumes[-1])
    assert not torch.allclose(last.hu, observed.volumes[-1].hu, atol=10)
    for volume in forecast.volumes:
        assert torch.allclose(volume.hu, last.hu, atol=ROUNDING_HU)


def test_the_ceiling_is_scored_beside_the_forecast(model: LargeVisionModel) -> None:
    observed, truth = sequence(5).observe(3)
    forecast = LvmForecaster("lvm", model).forecast(observed, truth.phases)
    rows = {(r.phase, r.metric): r.value for r in evaluate(forecast, truth, observed, metrics=["mae", "round_trip"])}
    assert forecast.reconstruct is not None
    body = truth.volumes[0].hu > -500
    off = (forecast.reconstruct(truth.volumes[0]).hu - truth.volumes[0].hu).abs()
    assert rows["T30", "round_trip"] == pytest.approx(float(off[body].mean()), rel=0.3)  # its body has the lung too


def test_samples_differ_by_seed_alone_and_give_a_spread(model: LargeVisionModel) -> None:
    model.transformer.lm_head.weight.mul_(0.05)  # unsure of everything
    observed, truth = sequence(4).observe(3)
    first, again, other = (
        LvmForecaster("lvm", model, samples=2, seed=s).forecast(observed, truth.phases) for s in (1, 1, 2)
    )
    assert torch.equal(first.volumes[0].hu, again.volumes[0].hu)
    assert not torch.equal(first.volumes[0].hu, other.volumes[0].hu)
    assert first.hu_spread is not None
    assert first.diversity is not None
    assert float(first.hu_spread[0].max()) > 0
    assert first.diversity[0] > 0


def test_jitter_is_that_of_the_axis_where_slices_jump() -> None:
    smooth = torch.zeros(6, 8, 10)
    jumping = smooth.clone()
    jumping[:, ::2] = 10.0
    everywhere = torch.ones_like(smooth, dtype=torch.bool)
    assert jitter(jumping, smooth, everywhere, [1]) == pytest.approx(10.0)
    assert jitter(jumping, smooth, everywhere, [0, 2]) == 0.0
    assert jitter(jumping, smooth, everywhere, range(3)) == pytest.approx(10.0)
    assert jitter(smooth, jumping, everywhere, [1]) == pytest.approx(-10.0)


def test_frames_are_counted_from_the_last_phase_around_the_cycle() -> None:
    observed, _ = sequence(6).observe(3)
    targets = [Phase.of_percent(p) for p in (30, 50, 90)]
    assert frames_ahead(observed, targets) == ([1, 3, 7], [])
    places, warnings = frames_ahead(observed, [Phase.of_percent(34)])
    assert places == [1]
    assert "T34" in warnings[0]


def test_phases_that_are_not_evenly_spaced_are_warned_of() -> None:
    whole = sequence(6)
    observed = PhaseSequence(whole.phases[:2] + whole.phases[4:5], whole.volumes[:2] + whole.volumes[4:5])
    _, warnings = frames_ahead(observed, [Phase.of_percent(50)])
    assert "evenly" in warnings[0]


def test_a_transformer_of_fewer_words_than_codes_is_refused(folder: Path, tmp_path: Path) -> None:
    from transformers import LlamaForCausalLM

    save_tokenizer(Tokenizer(replace(SMALL, codes=500)), tmp_path / "vqvae")
    transformer: LlamaForCausalLM = load_transformer(folder / "llama")
    save_transformer(transformer, tmp_path / "llama")
    with pytest.raises(RtmotionError, match="164 tokens, the tokenizer has 500 codes"):
        load_model(tmp_path)


def test_planes_are_checked_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="fused"):
        create(lvm_weights=tmp_path / "none", plane="oblique")
    with pytest.raises(ReadError, match="folder"):
        create(lvm_weights=tmp_path / "none")


@pytest.fixture
def case(tmp_path: Path) -> Path:
    found = tmp_path / "case"
    assert main(["phantom", str(found), "--size", "24", "20", "20", "--spacing", "12", "12", "12", "-q"]) == 0
    return found


def test_the_command_takes_a_folder_and_says_what_it_is_worth(folder: Path, case: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    given = ["forecast", str(case), "--observe", "8", "--out", str(out), "-q", "--method"]
    assert main([*given, "lvm", "--lvm-weights", str(folder), "--plane", "coronal"]) == 0
    written = (out / "forecast.json").read_text(encoding="utf-8")
    assert '"round_trip"' in written
    assert (out / "phase_90.nii.gz").is_file()


def test_a_wrong_folder_is_refused_by_its_first_wrong_key(
    folder: Path, case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = load_tokenizer(folder / "vqvae")
    tokenizer.decoder.conv_in = torch.nn.Conv2d(8, 4, 3)
    wrong = tmp_path / "wrong"
    save_tokenizer(tokenizer, wrong / "vqvae")
    save_transformer(load_transformer(folder / "llama"), wrong / "llama")
    given = ["forecast", str(case), "--observe", "8", "--out", str(tmp_path / "out"), "-q"]
    assert main([*given, "--method", "lvm", "--lvm-weights", str(wrong)]) == 2
    assert "decoder.conv_in.weight has shape (4, 8, 3, 3), expected (16, 8, 3, 3)" in capsys.readouterr().err
    assert main([*given, "--method", "persistence", "--lvm-weights", str(folder)]) == 2
    assert "--lvm-weights" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
