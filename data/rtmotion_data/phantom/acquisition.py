"""What the scanner does to the patient: couch positions sorted into phases, motion blur, noise, streaks."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from rtmotion_data.phantom.config import PhantomConfig
from rtmotion_data.phantom.motion import State
from rtmotion_data.phantom.scene import Scene
from rtmotion_data.phantom.waveform import Waveform

BLUR_SAMPLES = 3


@dataclass(frozen=True)
class Acquisition:
    """How one scan went.

    Attributes:
        noise: Standard deviation in the middle of the patient, HU; 0 for none.
        streaks: Standard deviation of the streaks at shoulder height, HU; 0 for none.
        correlation: Weight of the in-plane neighbours in the noise.
        slabs: Slice index at which each couch position begins.
        phase_jitter: Phase error, fraction of the period, shape (phases, slabs).
        amplitude_jitter: Relative amplitude, shape (phases, slabs).
        blur: Part of the period of an exposure.
    """

    noise: float
    streaks: float
    correlation: float
    slabs: tuple[int, ...]
    phase_jitter: npt.NDArray[np.float64]
    amplitude_jitter: npt.NDArray[np.float64]
    blur: float

    def to_json(self) -> dict[str, object]:
        """All parameters as plain numbers."""
        return {
            "noise_hu": self.noise,
            "streaks_hu": self.streaks,
            "correlation": self.correlation,
            "slab_starts": list(self.slabs),
            "phase_jitter": np.round(self.phase_jitter, 9).tolist(),
            "amplitude_jitter": np.round(self.amplitude_jitter, 9).tolist(),
            "motion_blur": self.blur,
        }


def sample_acquisition(rng: np.random.Generator, config: PhantomConfig) -> Acquisition:
    """Draws a scan: noise level, couch positions and their errors; ranges as in the configuration."""
    slices, thickness = config.size[2], config.spacing[2]
    height = rng.uniform(*config.slab_range)
    starts = [0]
    position = rng.uniform(0.3, 1.0) * height
    while position < slices * thickness:
        start = round(position / thickness)
        if starts[-1] < start < slices:
            starts.append(start)
        position += height
    shape = (config.phases, len(starts))
    on = float(config.sorting_artefacts)
    phase_sigma, amplitude_sigma = rng.uniform(*config.phase_jitter_range), rng.uniform(*config.amplitude_jitter_range)
    # one breath serves all phases of a couch position: most of the amplitude error is common to them
    common, own = rng.normal(0, 0.8, (1, shape[1])), rng.normal(0, 0.6, shape)
    quiet, loud = config.noise_range
    noise = quiet + (loud - quiet) * rng.uniform() ** 1.7  # most scans are good
    streaks = rng.uniform(0.2, 1.0) * 0.8 * noise
    return Acquisition(
        noise=float(noise) * config.noise,
        streaks=float(streaks) * config.streaks * config.noise,
        correlation=float(rng.uniform(0.25, 0.5)),
        slabs=tuple(starts),
        phase_jitter=on * phase_sigma * np.clip(rng.normal(0, 1, shape), -2.5, 2.5),
        amplitude_jitter=1 + on * amplitude_sigma * np.clip(common + own, -2.5, 2.5),
        blur=config.motion_blur,
    )


def acquire(
    scene: Scene,
    waveform: Waveform,
    acquisition: Acquisition,
    fractions: npt.NDArray[np.float64],
    beats: npt.NDArray[np.float64],
    clean: list[Tensor],
    rng: np.random.Generator,
) -> list[Tensor]:
    """The phases as the scanner gives them, float32 HU, from the clean ones where no slab differs from them."""
    slices = scene.grid.size[2]
    slab = np.searchsorted(acquisition.slabs, np.arange(slices), side="right") - 1
    sorted_wrong = bool(acquisition.phase_jitter.any()) or bool((acquisition.amplitude_jitter != 1).any())
    images = []
    for phase, fraction in enumerate(fractions):
        if not sorted_wrong and not acquisition.blur:
            image = clean[phase].clone()
        else:
            offsets = np.linspace(-0.5, 0.5, BLUR_SAMPLES) * acquisition.blur if acquisition.blur else np.zeros(1)
            at = fraction + acquisition.phase_jitter[phase][slab]
            size = acquisition.amplitude_jitter[phase][slab]
            beat = np.cos(np.arccos(np.clip(beats[phase], -1, 1)) + 7.0 * slab)
            image = torch.zeros(scene.grid.shape, device=scene.layers.device)
            for offset in offsets:
                state = State(
                    *(
                        torch.from_numpy(a.astype(np.float32)).to(image.device)[:, None, None]
                        for a in (size * waveform.at(at + offset), size * waveform.chest(at + offset), beat)
                    )
                )
                image += scene.picture(state) / len(offsets)
        images.append(image)
    if acquisition.noise:
        level = _noise_level(scene, acquisition)
        for image in images:
            image += _noise(scene, acquisition, rng) * level
    return images


def _noise_level(scene: Scene, acquisition: Acquisition) -> Tensor:
    """Relative noise: more in the middle of the trunk and between the shoulders, less outside; shape (z, y, x)."""
    x, y, z = scene.still
    build = scene.breathing.build
    middle = build.posterior - 0.7 * build.half_depth
    centre = torch.exp(-((x / 150) ** 2 + ((y - middle) / 110) ** 2))
    shoulders = torch.sigmoid((z - build.top + 15) / 14)
    return acquisition.noise * (0.3 + 0.7 * centre) * (1 + 0.7 * shoulders)


def _noise(scene: Scene, acquisition: Acquisition, rng: np.random.Generator) -> Tensor:
    """Noise of unit variance, correlated in the plane, with horizontal streaks at shoulder height; shape (z, y, x)."""
    shape = scene.grid.shape
    white = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)).to(scene.layers.device)
    c = acquisition.correlation
    white = F.pad(white, (0, 0, 0, 0, 1, 1))
    white = (white[1:-1] + 0.5 * c * (white[:-2] + white[2:])) / (1 + 0.5 * c * c) ** 0.5
    tall = F.pad(white, (1, 1, 1, 1))
    flat = tall[:, 1:-1] + c * (tall[:, :-2] + tall[:, 2:])
    noise = (flat[:, :, 1:-1] + c * (flat[:, :, :-2] + flat[:, :, 2:])) / (1 + 2 * c * c)
    if not acquisition.streaks:
        return noise
    lines = torch.from_numpy(rng.standard_normal((shape[0], shape[1], 4), dtype=np.float32)).to(white.device)
    lines = F.interpolate(lines, size=shape[2], mode="linear", align_corners=True)
    _, y, z = scene.still
    build = scene.breathing.build
    shoulders = torch.sigmoid((z - build.top + 25) / 10)
    reach = torch.exp(-(((y - build.posterior + 0.6 * build.half_depth) / 70) ** 2))
    return noise + lines * shoulders * reach * (acquisition.streaks / acquisition.noise)
