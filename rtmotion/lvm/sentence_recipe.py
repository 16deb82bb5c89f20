"""How the transformer of lvm-mini is trained: the next token of videos of slices and shapes, and of analogies."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtmotion.lvm.checkpoint import load_tokenizer
from rtmotion.lvm.pictures import Filmed, analogy, draw, filming, shapes_video, uniform
from rtmotion.lvm.tokenizer import Tokenizer

FRAMES_AT_MOST = 16
SPECIAL = 100
"""Ids beyond the codes, as the published transformer has them."""

VALIDATED = (3, 5, 7)

MOST_SURPRISE = 8.0
"""Cross-entropy beyond which a token counts no more."""


class Sentences(NamedTuple):
    """What the pool holds of a patient.

    Attributes:
        videos: Tokens of slices over the phases, int16, (n, frames, tokens).
        clean: Those of the same slices without noise and artefacts.
        others: Tokens of shapes and analogies, int16, (n, frames, tokens) each.
    """

    videos: Tensor
    clean: Tensor
    others: tuple[Tensor, ...]


class Lesson(NamedTuple):
    """A sentence, and what is to be said: int64, (1, frames · tokens) each.

    What follows in a patient's video is the clean frame. The noise of a scan, which is another one in every phase,
    changes most of its tokens: nothing tells which, and a frame with the likeliest noise is farther from the truth than
    one without.
    """

    read: Tensor
    said: Tensor


@dataclass(frozen=True)
class SpeakerConfig:
    """The size of the transformer."""

    hidden_size: int = 192
    intermediate_size: int = 512
    num_hidden_layers: int = 5
    num_attention_heads: int = 3


@dataclass(frozen=True)
class SentenceRecipe:
    """Loss: cross-entropy of the next token, capped.

    Attributes:
        tokenizer: Folder of a trained tokenizer; None takes the shipped one.
        config: Of the transformer.
        videos: Of each patient.
        others: Sentences of shapes and analogies kept with each patient.
        cleaned: Chance that a patient's video is read without noise from some frame on, as what was said is read.
        unlike: Chance that an example is one of these.
    """

    tokenizer: Path | None = None
    config: SpeakerConfig = field(default_factory=SpeakerConfig)
    videos: int = 8
    others: int = 2
    cleaned: float = 0.5
    unlike: float = 0.1
    name: str = "lvm-transformer"

    def speaks(self) -> Tokenizer:
        """The tokenizer."""
        with shipped_tokenizer(self.tokenizer) as folder:
            return load_tokenizer(folder)

    def build(self) -> nn.Module:
        """The transformer at its start: it says the last frame again."""
        from transformers import LlamaForCausalLM

        known = self.speaks()
        network = LlamaForCausalLM(llama_config(self.config, known))
        network.lm_head = PreciseLinear(network.config.hidden_size, network.config.vocab_size, bias=False)
        say_the_last_frame(network, known.quantize.embedding.weight, known.config.tokens)
        return network

    def keep(self, patient: Filmed) -> Sentences:
        """Tokens of slices of a patient, of shapes and of analogies; which ones depends on the patient alone."""
        known = self.speaks()
        random = torch.Generator().manual_seed(int(patient.scanned.float().abs().sum()) % 2**31)
        size = known.config.resolution
        films = [filming(patient, random, size) for _ in range(self.videos)]
        videos, clean = (
            torch.stack([tokens_of(known, film(volumes)) for film in films])
            for volumes in (patient.scanned, patient.clean)
        )
        others = [shapes_video(random, size) for _ in range(self.others)]
        others += [analogy(patient, random, size) for _ in range(self.others)]
        return Sentences(videos, clean, tuple(tokens_of(known, frames) for frames in others))

    def example(self, kept: Sentences, random: torch.Generator) -> Lesson:
        """A sentence and what is to be said."""
        if uniform(random, 0, 1) < self.unlike:
            other = kept.others[draw(random, 0, len(kept.others) - 1)].long().flatten()[None]
            return Lesson(other, other)
        number = draw(random, 0, len(kept.videos) - 1)
        scanned, clean = kept.videos[number].long(), kept.clean[number].long()
        frames = len(scanned)
        noisy = draw(random, 1, frames - 1) if uniform(random, 0, 1) < self.cleaned else frames
        return Lesson(torch.cat([scanned[:noisy], clean[noisy:]]).flatten()[None], clean.flatten()[None])

    def loss(self, network: nn.Module, example: Lesson) -> Mapping[str, Tensor]:
        """`loss` and `surprise`, not capped: means over all tokens but the first frame's."""
        device = next(network.parameters()).device
        tokens = int(network.config.tokens_of_a_frame)  # type: ignore[arg-type, union-attr]
        logits = network(example.read.to(device)[:, :-1]).logits[:, tokens - 1 :]
        said = example.said.to(device)[:, tokens:].flatten()
        surprise = F.cross_entropy(logits.flatten(0, 1), said, reduction="none")
        # what nothing so far explains would drown the rest
        return {"loss": surprise.clamp_max(MOST_SURPRISE).mean(), "surprise": surprise.mean()}

    def validate(self, network: nn.Module, patient: Filmed) -> Mapping[str, float]:
        """The clean next frame after 3, 5, 7 scanned ones: cross-entropy and how often the likeliest token is right.

        `right` and `copied` are shares in %: of the likeliest tokens, and of the last frame's tokens.
        """
        known = self.speaks()
        random = torch.Generator().manual_seed(1)
        size = known.config.resolution
        scores: dict[str, float] = {}
        tokens = known.config.tokens
        films = [filming(patient, random, size) for _ in range(2)]
        scanned, clean = (
            torch.stack([tokens_of(known, film(volumes)) for film in films]).long()
            for volumes in (patient.scanned, patient.clean)
        )
        for k in VALIDATED:
            wanted = clean[:, k]
            read = torch.cat([scanned[:, :k].flatten(1), wanted[:, :-1]], dim=1)
            with torch.inference_mode():
                said = network(read.to(next(network.parameters()).device)).logits[:, k * tokens - 1 :].cpu()
            scores[f"error_{k}"] = float(F.cross_entropy(said.flatten(0, 1), wanted.flatten()))
            scores[f"right_{k}"] = 100 * float((said.argmax(dim=-1) == wanted).float().mean())
            scores[f"copied_{k}"] = 100 * float((scanned[:, k - 1] == wanted).float().mean())
        return scores


@contextmanager
def shipped_tokenizer(folder: Path | None) -> Iterator[Path]:
    """A tokenizer's folder, or where the shipped one lies."""
    if folder is not None:
        yield folder
    else:
        with as_file(files(__package__).joinpath("weights/tokenizer")) as shipped:
            yield shipped


class PreciseLinear(nn.Linear):
    """A last layer in full precision whatever the rest is in: in bfloat16 near codes are taken for one another."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float32."""
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.float(), self.weight.float())


def tokens_of(tokenizer: Tokenizer, frames: Tensor) -> Tensor:
    """Tokens of grey pictures (frames, h, w), int16, (frames, tokens)."""
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        return tokenizer.encode(frames[:, None].expand(-1, 3, -1, -1)).to(torch.int16)


def llama_config(config: SpeakerConfig, tokenizer: Tokenizer) -> Any:
    """The transformer's configuration; it says what a frame is, so that sentences can be cut."""
    from transformers import LlamaConfig

    found = LlamaConfig(
        vocab_size=tokenizer.config.codes + SPECIAL,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        max_position_embeddings=FRAMES_AT_MOST * tokenizer.config.tokens,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
    )
    found.tokens_of_a_frame = tokenizer.config.tokens
    return found


REACH = 7.0
"""How sharply the first head looks one frame back: the length of its rotating numbers."""

SURE = 200.0
"""How steeply likelihood falls with the distance from the copied code: a tenth of it, or ten times as much, expects the
next frame of generated patients less well."""


def say_the_last_frame(network: Any, codes: Tensor, tokens: int) -> None:
    """Initial weights with which the transformer repeats the last frame: what it has to learn is how frames change.

    The first head of the first layer looks at the token one frame before the one to come (rotary positions make a
    query that points a fixed number of tokens back) and writes its code beside the present one's; the last layer
    compares that with all codes. Everything else starts small.

    Args:
        network: A `LlamaForCausalLM`, wide enough for a constant and two codes.
        codes: The tokenizer's codebook, (codes, c).
        tokens: Of a frame.
    """
    width, count = network.config.hidden_size, codes.shape[1]
    head = width // network.config.num_attention_heads
    table = codes.detach().float()
    table = torch.tanh((table - table.mean(dim=0)) / table.std(dim=0))  # a few codes lie very far out
    own, copied = slice(1, 1 + count), slice(1 + count, 1 + 2 * count)
    with torch.no_grad():
        embedded = network.model.embed_tokens.weight
        embedded.mul_(0.5)
        embedded[:, copied] = 0.0
        embedded[:, 0] = 2.0  # the constant
        embedded[: len(table), own] = table
        # all embeddings of one length, so that the constant is the same after normalisation
        embedded[:, 2 * count + 1] = 0.0
        lengths = embedded.square().sum(dim=1)
        embedded[:, 2 * count + 1] = (lengths.max() - lengths).sqrt()
        size = float((lengths.max() / width).sqrt())
        first = network.model.layers[0].self_attn
        one = 2.0 / size  # of the constant, normalised
        half = head // 2
        turn = (tokens - 1) * network.config.rope_parameters["rope_theta"] ** (-torch.arange(half) / half)
        for matrix in (first.q_proj, first.k_proj, first.v_proj):
            matrix.weight[:head] = 0.0
        # rotate_half pairs number i with number i + half
        first.q_proj.weight[:half, 0] = REACH / one * torch.cos(turn)
        first.q_proj.weight[half:head, 0] = -REACH / one * torch.sin(turn)
        first.k_proj.weight[:half, 0] = REACH / one
        first.v_proj.weight[torch.arange(count), torch.arange(1, 1 + count)] = size
        first.o_proj.weight[:, :head] = 0.0
        first.o_proj.weight[torch.arange(1 + count, 1 + 2 * count), torch.arange(count)] = 1.0
        for layer in network.model.layers:
            layer.mlp.down_proj.weight.mul_(0.1)
            layer.self_attn.o_proj.weight[:, head:].mul_(0.1)
            if layer is not network.model.layers[0]:
                layer.self_attn.o_proj.weight.mul_(0.1)
        out = network.lm_head.weight
        out.mul_(0.1)
        out[: len(table), copied] = table * SURE / count
        out[: len(table), 0] = -0.5 * table.square().sum(dim=1) * SURE / count / 2.0
        out[len(table) :, 0] = -SURE
