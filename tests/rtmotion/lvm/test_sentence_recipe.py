from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from rtmotion.field import gaussian_smooth
from rtmotion.lvm.frames import HIGH_HU, LOW_HU
from rtmotion.lvm.generation import continued
from rtmotion.lvm.layout import save_tokenizer
from rtmotion.lvm.pictures import analogy, cut, filming, lung_label, roughened, shapes_video
from rtmotion.lvm.sentence_recipe import (
    FRAMES_AT_MOST,
    SPECIAL,
    Lesson,
    SentenceRecipe,
    SpeakerConfig,
    llama_config,
    say_the_last_frame,
)
from rtmotion.lvm.tokenizer import Tokenizer, TokenizerConfig

SMALL = TokenizerConfig(resolution=8, hidden=8, multipliers=(1, 2), blocks=1, latent=8, codes=64, code_channels=16)
SPEAKER = SpeakerConfig(hidden_size=96, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2)
RESOLUTION = 24

NEARLY_SURE = 0.1
"""Cross-entropy of a token that is said with nine tenths of the probability."""


@dataclass(frozen=True)
class Toy:
    """A patient of texture, six phases."""

    scanned: Tensor
    clean: Tensor


@pytest.fixture(scope="module")
def patient() -> Toy:
    noise = torch.randn(6, 14, 22, 18, generator=torch.Generator().manual_seed(0))
    clean = torch.stack([gaussian_smooth(n, [1.5, 1.5, 1.5]) for n in noise])
    clean = -400 + 400 * clean / clean.std()
    return Toy(clean + 30 * noise, clean)


def speaker(seed: int) -> tuple[Any, Tokenizer]:
    torch.manual_seed(seed)
    tokenizer = Tokenizer(SMALL)
    torch.nn.init.normal_(tokenizer.quantize.embedding.weight)
    return LlamaForCausalLM(llama_config(SPEAKER, tokenizer)).train(False), tokenizer


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_transformer_is_configured_for_the_tokens_of_the_tokenizer() -> None:
    model, _ = speaker(0)
    assert SMALL.tokens == 16
    assert model.config.vocab_size == 64 + SPECIAL
    assert model.config.max_position_embeddings == FRAMES_AT_MOST * 16
    assert model.config.tokens_of_a_frame == 16
    assert model.lm_head.weight.data_ptr() != model.model.embed_tokens.weight.data_ptr()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("frames", [1, 3, 14])
def test_with_its_initial_weights_the_transformer_repeats_the_last_frame(seed: int, frames: int) -> None:
    model, tokenizer = speaker(seed)
    sentences = torch.randint(0, 64, (20, frames * 16), generator=drawn(seed))
    last = sentences[:, -16:]
    assert not torch.equal(continued(model, sentences[:2], 1, 16, 64), last[:2])
    say_the_last_frame(model, tokenizer.quantize.embedding.weight, 16)
    assert torch.equal(continued(model, sentences, 2, 16, 64), torch.cat([last, last], dim=1))


def test_frames_of_one_token_throughout_are_repeated() -> None:
    model, tokenizer = speaker(0)
    say_the_last_frame(model, tokenizer.quantize.embedding.weight, 16)
    sentences = torch.arange(64)[:, None].expand(-1, 2 * 16)
    assert torch.equal(continued(model, sentences, 1, 16, 64), sentences[:, :16])


def test_with_its_initial_weights_the_transformer_says_no_id_beyond_the_codes() -> None:
    model, tokenizer = speaker(0)
    say_the_last_frame(model, tokenizer.quantize.embedding.weight, 16)
    with torch.inference_mode():
        said = model(torch.randint(0, 64, (4, 80), generator=drawn(0))).logits
    assert float(said.softmax(dim=-1)[..., 64:].sum(dim=-1).max()) < 1e-3


Picture = Callable[[Toy, torch.Generator], Tensor]


@pytest.mark.parametrize(
    ("picture", "frames"),
    [
        (lambda patient, random: filming(patient, random, RESOLUTION)(patient.scanned), 6),
        (lambda patient, random: cut(patient, random, RESOLUTION)(patient.scanned[:2], 3), 2),
        (lambda patient, random: shapes_video(random, RESOLUTION), 10),
        (lambda patient, random: shapes_video(random, RESOLUTION, 3), 3),
        (lambda patient, random: analogy(patient, random, RESOLUTION), 8),
    ],
    ids=["video", "slices farther on", "shapes", "few shapes", "analogy"],
)
def test_pictures_are_grey_values_between_0_and_1_that_the_seed_decides(
    patient: Toy, picture: Picture, frames: int
) -> None:
    seen = set()
    for seed in range(12):
        found, again = picture(patient, drawn(seed)), picture(patient, drawn(seed))
        assert found.shape == (frames, RESOLUTION, RESOLUTION)
        assert torch.equal(found, again)
        assert 0.0 <= float(found.min()) < float(found.max()) <= 1.0
        seen.add(float(found.double().sum()))
    assert len(seen) == 12


def test_shapes_move_and_come_back_after_a_cycle() -> None:
    video = shapes_video(drawn(0), RESOLUTION, 11)
    there_and_back = (video[10] - video[0]).abs().mean()
    assert float(there_and_back) < 0.05
    assert float((video[5] - video[0]).abs().mean()) > 2 * float(there_and_back)


def test_lung_is_white_and_all_else_black() -> None:
    """Skin of one voxel, which is as dense as lung, is not lung."""
    hu = torch.full((1, 14, 14, 14), -1000.0)
    hu[0, 1:-1, 1:-1, 1:-1] = -700.0
    hu[0, 2:-2, 2:-2, 2:-2] = 40.0
    hu[0, 4:10, 5:10, 4:9] = -800.0
    lung = torch.zeros_like(hu, dtype=torch.bool)
    lung[0, 4:10, 5:10, 4:9] = True
    assert torch.equal(lung_label(hu), torch.where(lung, HIGH_HU, LOW_HU))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> SentenceRecipe:
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(speaker(0)[1], folder)
    return SentenceRecipe(folder, SPEAKER, videos=3, others=2)


def test_a_patient_is_kept_as_tokens_that_depend_on_the_patient_alone(recipe: SentenceRecipe, patient: Toy) -> None:
    kept, again = recipe.keep(patient), recipe.keep(patient)
    assert kept.videos.shape == (3, 6, 16)
    assert [tuple(o.shape) for o in kept.others] == [(10, 16)] * 2 + [(8, 16)] * 2
    for one, other in zip(
        (kept.videos, kept.clean, *kept.others), (again.videos, again.clean, *again.others), strict=True
    ):
        assert torch.equal(one, other)
        assert 0 <= int(one.min()) <= int(one.max()) < 64


def test_films_show_the_same_slice_scanned_and_clean(patient: Toy) -> None:
    for seed in range(6):
        film = filming(patient, drawn(seed), RESOLUTION)
        assert torch.equal(film(patient.scanned), film(patient.scanned.clone()))
        again = filming(patient, drawn(seed), RESOLUTION)(patient.clean)
        assert torch.equal(film(patient.clean), again)


def test_detail_is_meant_and_noise_is_not() -> None:
    grey = torch.full((48, 40), 0.5)
    made = [roughened(grey, grey, drawn(seed)) for seed in range(20)]
    detail = [float((meant - grey).std()) for _, meant in made]
    noise = [float((seen - meant).std()) for seen, meant in made]
    unit = HIGH_HU - LOW_HU
    assert 0 < min(detail) < max(detail) <= 1.01 * 100 / unit
    assert 0 < min(noise) < max(noise) <= 1.01 * 60 / unit


def test_examples_are_the_kept_sentences(recipe: SentenceRecipe, patient: Toy) -> None:
    """What is read starts scanned and may go on clean; what is to be said is clean."""
    kept, random = recipe.keep(patient), drawn(0)
    others = {tuple(s.flatten().tolist()) for s in kept.others}
    examples = [recipe.example(kept, random) for _ in range(200)]
    assert all(v.dtype == torch.int64 and v.shape[0] == 1 for e in examples for v in e)
    unlike, changed = 0, 0
    for read, said in examples:
        if read.shape[1] != 6 * 16:
            unlike += 1
            assert torch.equal(read, said)
            assert tuple(read[0].tolist()) in others
            continue
        number = next(n for n, c in enumerate(kept.clean) if torch.equal(c.flatten().long(), said[0]))
        kinds = [
            "".join("s" * torch.equal(r, s) + "c" * torch.equal(r, c))
            for r, s, c in zip(read.reshape(6, 16), kept.videos[number], kept.clean[number], strict=True)
        ]
        assert kinds[0].startswith("s")
        after = next((i for i, k in enumerate(kinds) if k == "c"), 6)
        assert all("s" in k for k in kinds[:after])
        assert all("c" in k for k in kinds[after:])
        changed += after < 6
    assert unlike / 200 == pytest.approx(recipe.unlike, abs=0.13)  # four standard deviations
    assert changed > 10  # some of the toy's slices are the same to this tokenizer without noise


def test_an_untrained_transformer_knows_videos_that_stand_still(recipe: SentenceRecipe) -> None:
    torch.manual_seed(0)
    network = recipe.build()
    still = torch.randint(0, 64, (4, 1, 16), generator=drawn(1)).expand(-1, 5, -1).flatten(1)
    moving = torch.randint(0, 64, (4, 5 * 16), generator=drawn(2))
    with torch.inference_mode():
        quiet, lost = (float(recipe.loss(network, Lesson(sentence, sentence))["loss"]) for sentence in (still, moving))
    assert quiet < NEARLY_SURE
    assert lost > 1.0
