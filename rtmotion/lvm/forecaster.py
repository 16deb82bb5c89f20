"""The forecaster `lvm`: every slice's phases are a visual sentence, whose next frames are the phases to come.

After Lai et al., arXiv 2510.10254: slices become tokens, a decoder-only transformer goes on with the sequence, and the
tokens that it says become slices again, which are stacked. Nothing knows of the neighbouring slice: fusing the
forecasts of axial, coronal and sagittal slices takes off some of the jitter between them.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from rtmotion.errors import UnknownNameError
from rtmotion.evaluation.memory import PeakMemory
from rtmotion.evaluation.regions import body_mask
from rtmotion.evaluation.sharpness import slice_roughness
from rtmotion.forecasting import Forecast
from rtmotion.lvm.frames import PLANES, Framing, framing
from rtmotion.lvm.generation import SamplerConfig, continued
from rtmotion.lvm.model import LargeVisionModel, load_model
from rtmotion.lvm.sentences import sequence_sentence
from rtmotion.sequence import BreathingTrace, Phase, PhaseSequence, Volume
from rtmotion.types import ScalarVolume

FUSED = "fused"
"""The mean of the three planes."""

OFF_THE_BEAT = 0.25
"""Targets that lie farther than this share of a step from a frame are warned of."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class LvmForecaster:
    """See the module's docstring.

    Attributes:
        name: Name of the method.
        model: Tokenizer and transformer.
        plane: `axial`, `coronal`, `sagittal` or `fused`.
        anchored: Whether what the tokens change is added to the last observed phase, rather than shown as it is: what
            the tokenizer loses of the patient is not lost then, and tokens that are repeated forecast no change.
        samples: 1 takes the likeliest token each time; more are drawn, and the forecast is their mean.
        batch: Slices that are continued together.
        seed: Of the samples.
        progress: Called with a stage's name, steps done and steps in all.
    """

    name: str
    model: LargeVisionModel
    plane: str = "axial"
    anchored: bool = False
    samples: int = 1
    batch: int = 32
    seed: int = 0
    progress: Progress | None = field(default=None, compare=False)

    def forecast(
        self, observed: PhaseSequence, targets: Sequence[Phase], trace: BreathingTrace | None = None
    ) -> Forecast:
        """See `rtmotion.forecasting.Forecaster`; a trace changes nothing."""
        started = time.perf_counter()
        places, warnings = frames_ahead(observed, targets)
        last = observed.volumes[-1].to("cpu")
        body = body_mask(last)
        planes = tuple(PLANES) if self.plane == FUSED else (self.plane,)
        frames = [framing(body, last.grid, plane, self.model.tokenizer.config.resolution) for plane in planes]
        draws: list[list[ScalarVolume]] = []
        said = 0
        with PeakMemory() as memory:
            for number in range(self.samples):
                parts = [self._shown(frame, observed, max(places), number) for frame in frames]
                said += sum(n for _, n in parts)
                draws.append([torch.stack([p[i - 1] for p, _ in parts]).mean(dim=0) for i in places])
        generated = time.perf_counter()
        again = self._reconstructed(last, frames)
        box = frames[0].box
        spread, volumes = [], []
        for j in range(len(targets)):
            drawn = torch.stack([d[j] for d in draws])
            hu = last.hu.clone()
            hu[box] = drawn.mean(dim=0) + (last.hu[box] - again[box] if self.anchored else 0.0)
            volumes.append(Volume(hu, last.grid))
            if self.samples > 1:
                sd = torch.zeros_like(hu)
                sd[box] = ((1 + 1 / self.samples) * drawn.var(dim=0)).sqrt()
                spread.append(sd)
        axes = [f.order[0] for f in frames]
        return Forecast(
            method=self.name,
            targets=tuple(targets),
            volumes=tuple(volumes),
            hu_spread=tuple(spread) if spread else None,
            diversity=tuple(float(s[body].mean()) for s in spread) if spread else None,
            reconstruct=lambda volume: Volume(self._reconstructed(volume.to("cpu"), frames), volume.grid),
            seconds={"tokens": generated - started, "pictures": time.perf_counter() - generated},
            warnings=tuple(warnings),
            details={
                "model": self.model.name,
                "plane": self.plane,
                "shown": "as a change of the last phase" if self.anchored else "as decoded",
                "samples": self.samples,
                "slices": sum(f.slices for f in frames),
                "tokens": said,
                "tokens per second": said / max(generated - started, 1e-9),
                "peak memory (MB)": _peak_mb(next(self.model.transformer.parameters()).device, memory),
                "round trip of the last phase through the tokenizer, body (HU)": _error(again, last.hu, body),
                "jitter of that round trip (HU)": jitter(again, last.hu, body, axes),
                "jitter of the forecast against the last phase (HU)": [
                    jitter(v.hu, last.hu, body, axes) for v in volumes
                ],
            },
        )

    def _shown(
        self, frame: Framing, observed: PhaseSequence, ahead: int, number: int
    ) -> tuple[list[ScalarVolume], int]:
        """The next phases as a frame's pictures show them, HU on its part, and how many tokens were said."""
        sentences = sequence_sentence([self.model.tokens(frame.pictures(v.to("cpu").hu)) for v in observed.volumes])
        config = self.model.tokenizer.config
        sampler = SamplerConfig(0.0 if self.samples == 1 else 1.0, seed=self.seed * 1000 + number)
        said = continued(
            self.model.transformer, sentences, ahead, config.tokens, config.codes, sampler, self.batch, self.progress
        )
        return [frame.values(self.model.pictures(t)) for t in torch.split(said, config.tokens, dim=1)], said.numel()

    def _reconstructed(self, volume: Volume, frames: Sequence[Framing]) -> ScalarVolume:
        """A volume through the tokenizer and back, HU; beside the frame as it is."""
        hu = volume.hu.clone()
        shown = [f.values(self.model.pictures(self.model.tokens(f.pictures(volume.hu)))) for f in frames]
        hu[frames[0].box] = torch.stack(shown).mean(dim=0)
        return hu


def frames_ahead(observed: PhaseSequence, targets: Sequence[Phase]) -> tuple[list[int], list[str]]:
    """Which of the frames that follow each target is, counted from 1, and warnings.

    A frame lasts as long as the median step between the observed phases; of one phase, a tenth of the cycle.
    """
    fractions = observed.fractions.tolist()
    steps = [b - a for a, b in itertools.pairwise(fractions)]
    step = median(steps) if steps else 0.1
    exact = [((t.fraction - fractions[-1]) % 1.0) / step for t in targets]
    places = [max(1, round(e)) for e in exact]
    uneven = max([abs(s - step) for s in steps], default=0.0) > OFF_THE_BEAT * step
    off = [t.label for t, e, p in zip(targets, exact, places, strict=True) if abs(e - p) > OFF_THE_BEAT]
    warnings = []
    if uneven:
        warnings.append(
            "the observed phases are not evenly spaced; to the large vision model they are frames of a video"
        )
    if off:
        warnings.append(f"{', '.join(off)}: between two frames of the large vision model; the nearer one is taken")
    return places, warnings


def jitter(volume: Tensor, reference: Tensor, mask: Tensor, axes: Iterable[int]) -> float:
    """How much rougher a volume (z, y, x) is than another from slice to slice over a mask, HU.

    Along the axis of `axes` (of z, y, x) where it is most.
    """

    def rougher(axis: int) -> float:
        there = mask.movedim(axis, 0)
        found, known = (slice_roughness(v.movedim(axis, 0), there) for v in (volume, reference))
        return found - known

    return max(rougher(axis) for axis in axes)


def _peak_mb(device: torch.device, process: PeakMemory) -> float:
    """The most memory that generation took: of the GPU where it ran there, else of the process."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else process.peak_mb


def _error(found: Tensor, true: Tensor, mask: Tensor) -> float:
    return float((found - true)[mask].abs().mean()) if bool(mask.any()) else 0.0


def create(
    name: str = "lvm",
    lvm_weights: Path | None = None,
    plane: str = "axial",
    anchored: bool = False,
    samples: int = 1,
    device: str = "cpu",
    seed: int = 0,
    progress: Progress | None = None,
) -> LvmForecaster:
    """The large vision model as a forecaster; see `LvmForecaster`.

    Raises:
        ReadError: If the folder holds no such model.
        UnknownNameError: If there is no such plane.
    """
    if plane not in (*PLANES, FUSED):
        raise UnknownNameError("plane", plane, [*PLANES, FUSED])
    model = load_model(lvm_weights, device)
    return LvmForecaster(name, model, plane, anchored, samples, seed=seed, progress=progress)
