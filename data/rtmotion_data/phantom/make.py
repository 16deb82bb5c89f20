"""A synthetic breathing patient from a seed."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rtmotion.errors import RtmotionError
from rtmotion.field import DisplacementField
from rtmotion.grid import Grid
from rtmotion.sequence import BreathingTrace, Phase, PhaseSequence, Volume
from rtmotion_data.phantom.acquisition import acquire, sample_acquisition
from rtmotion_data.phantom.canvas import LABELS
from rtmotion_data.phantom.config import PhantomConfig
from rtmotion_data.phantom.motion import BreathingMap
from rtmotion_data.phantom.patient import sample_build, sample_motion, sample_tissue
from rtmotion_data.phantom.scene import build_scene, states_of
from rtmotion_data.phantom.waveform import recorded_cycles, sample_trace, sample_waveform

MASKS: dict[str, tuple[str, ...]] = {
    "lung": ("lung_left", "lung_right"),
    "lung_left": ("lung_left",),
    "lung_right": ("lung_right",),
    "heart": ("heart",),
    "liver": ("liver",),
    "tumour": ("tumour",),
    "bones": ("bones",),
}
"""Structures that have a mask, and the labels that make it; `body` besides, all that is inside the skin."""


@dataclass(frozen=True, eq=False)
class PhantomTensors:
    """A synthetic patient as tensors on one device: the training stream.

    Attributes:
        rendered: HU with noise and sorting artefacts, float32, shape (n, z, y, x).
        clean: HU without them.
        labels: uint8, values of `LABELS`, shape (n, z, y, x).
        displacements: mm, LPS, phase j's grid (fixed) to the first phase's anatomy (moving), shape (n, 3, z, y, x).
        inverses: mm, LPS, the first phase's grid (fixed) to phase j's anatomy (moving), shape (n, 3, z, y, x).
        landmarks: Positions of the same points in every phase, LPS mm, float64, on the CPU, shape (n, m, 3).
        grid: The common grid.
        fractions: Phase fractions, shape (n,).
        trace: The breathing trace of the scan.
        parameters: Everything that was drawn, JSON-compatible.
    """

    rendered: Tensor
    clean: Tensor
    labels: Tensor
    displacements: Tensor
    inverses: Tensor
    landmarks: Tensor
    grid: Grid
    fractions: npt.NDArray[np.float64]
    trace: BreathingTrace
    parameters: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Phantom:
    """A synthetic breathing patient with its truth.

    Attributes:
        sequence: What a scanner would give: int16 HU with noise and sorting artefacts; landmarks and masks are the
            truth's.
        clean: The truth without noise and artefacts, int16 HU.
        displacements: One a phase: fixed phase j, moving the first phase, so that warping the first phase gives
            phase j up to the density of the lung; exact.
        inverses: One a phase: fixed the first phase, moving phase j; exact.
        labels: One label volume a phase, uint8, values of `LABELS`.
        trace: The breathing trace of the scan: larger towards inhale, mm.
        parameters: Everything that was drawn, and the seed; JSON-compatible.
    """

    sequence: PhaseSequence
    clean: PhaseSequence
    displacements: tuple[DisplacementField, ...]
    inverses: tuple[DisplacementField, ...]
    labels: tuple[Tensor, ...]
    trace: BreathingTrace
    parameters: dict[str, Any]


def make_tensors(
    seed: int,
    config: PhantomConfig | None = None,
    device: torch.device | str = "cpu",
    waveforms: npt.NDArray[np.floating] | None = None,
) -> PhantomTensors:
    """Makes a synthetic patient as tensors on a device; the arguments are those of `make_phantom`."""
    if seed < 0:
        raise RtmotionError(f"a seed is a whole number from 0, got --seed {seed}")
    config = config or PhantomConfig()
    device = torch.device(device)
    streams = [np.random.Generator(np.random.PCG64(s)) for s in np.random.SeedSequence(seed).spawn(5)]
    person, breath, anatomy, scanner, grain = streams
    motion, build = sample_motion(person, config), sample_build(person, config)
    tissue = sample_tissue(person, config)
    cycles = waveforms if waveforms is not None else recorded_cycles()
    if waveforms is None and cycles is not None and breath.random() < 0.3:
        cycles = None  # some patients breathe as nobody in the recordings does
    waveform = sample_waveform(breath, motion.lag, cycles, config.random_start)
    period = float(breath.uniform(*config.period_range))
    trace = sample_trace(breath, waveform, period, motion.diaphragm)

    breathing = BreathingMap(build, motion)
    scene = build_scene(breathing, tissue, config, anatomy, device)
    fractions = np.arange(config.phases) / config.phases
    beats = np.cos(np.asarray(motion.heart_phases))
    states = states_of(waveform.at(fractions), waveform.chest(fractions), beats)

    n, shape = config.phases, scene.grid.shape
    clean, labels = torch.empty((n, *shape), device=device), torch.empty((n, *shape), dtype=torch.uint8, device=device)
    displacements, inverses = torch.empty((n, 3, *shape), device=device), torch.empty((n, 3, *shape), device=device)
    for part in scene.parts():
        first = scene.backward(part, states[0], density=False)
        here = scene.points(part)
        for j, state in enumerate(states):
            place = scene.backward(part, state)
            clean[j, part], index = scene.look(place, part)
            labels[j, part] = scene.labels(index)
            displacements[j, :, part] = scene.world(place, states[0]) - here if j else 0.0
            inverses[j, :, part] = scene.world(first, state) - here if j else 0.0
    acquisition = sample_acquisition(scanner, config)
    rendered = acquire(scene, waveform, acquisition, fractions, beats, list(clean.unbind(0)), grain)
    parameters = {
        "seed": int(seed),
        "config": dataclasses.asdict(config),
        "motion": dataclasses.asdict(motion),
        "build": dataclasses.asdict(build),
        "tissue": dataclasses.asdict(tissue),
        "waveform": {"source": waveform.source, "period_s": period, "depth": waveform.depth.tolist()},
        "states": [dataclasses.asdict(s) for s in states],
        "acquisition": acquisition.to_json(),
        "tumour_centres_mm": scene.lungs.tumours,
    }
    return PhantomTensors(
        rendered=torch.stack(rendered),
        clean=clean,
        labels=labels,
        displacements=displacements,
        inverses=inverses,
        landmarks=torch.stack(scene.landmarks(states)),
        grid=scene.grid,
        fractions=fractions,
        trace=trace,
        parameters=_plain(parameters),
    )


def make_phantom(
    seed: int,
    config: PhantomConfig | None = None,
    device: torch.device | str = "cpu",
    waveforms: npt.NDArray[np.floating] | None = None,
) -> Phantom:
    """Makes a synthetic breathing patient.

    Args:
        seed: 0 or more; the same seed and configuration give the same patient on every machine (up to the last bit of
            float32 arithmetic, and to the last bit on the same machine and device).
        config: What is asked for; None for the defaults.
        device: Where to compute; the result lies on the CPU.
        waveforms: Breathing cycles to draw from: displacement from end-inhale in equal steps of the phase, shape
            (n, at least 8). None: the recorded cycles of the package, and parametric ones.

    Returns:
        The patient with the exact fields, landmarks and masks of every phase.

    Raises:
        RtmotionError: If the configuration or the seed is out of range.
    """
    t = make_tensors(seed, config, device, waveforms)
    phases = tuple(Phase(float(f)) for f in t.fractions)
    labels = t.labels.cpu()
    masks: dict[str, dict[str, Tensor]] = {}
    for name, parts in MASKS.items():
        masks[name] = {}
        for j, phase in enumerate(phases):
            mask = labels[j] == LABELS[parts[0]]
            for part in parts[1:]:
                mask |= labels[j] == LABELS[part]
            masks[name][phase.label] = mask
    masks["body"] = {phase.label: labels[j] > 0 for j, phase in enumerate(phases)}
    landmarks = {phase.label: t.landmarks[j] for j, phase in enumerate(phases)}

    def sequence(images: Tensor) -> PhaseSequence:
        whole = images.round().clamp_(-1024, 3071).to(torch.int16).cpu()
        return PhaseSequence(phases, tuple(Volume(v, t.grid) for v in whole.unbind(0)), landmarks, masks)

    return Phantom(
        sequence=sequence(t.rendered),
        clean=sequence(t.clean),
        displacements=tuple(DisplacementField(u, t.grid) for u in t.displacements.cpu().unbind(0)),
        inverses=tuple(DisplacementField(u, t.grid) for u in t.inverses.cpu().unbind(0)),
        labels=tuple(labels.unbind(0)),
        trace=t.trace,
        parameters=t.parameters,
    )


def phantom_stream(
    seeds: Iterable[int],
    config: PhantomConfig | None = None,
    device: torch.device | str = "cpu",
    waveforms: npt.NDArray[np.floating] | None = None,
) -> Iterator[PhantomTensors]:
    """One patient a seed, made when asked for, on the device: a stream to train on."""
    for seed in seeds:
        yield make_tensors(seed, config, device, waveforms)


def _plain(value: Any) -> Any:
    """Tuples to lists, so that what is written and read again is equal."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
