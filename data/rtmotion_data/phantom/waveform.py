"""How deep the patient breathes over the cycle: parametric waveforms, or cycles of real traces, perturbed."""

from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt

from rtmotion.errors import PhaseError
from rtmotion.sequence import BreathingTrace

FloatArray = npt.NDArray[np.float64]

SAMPLES = 40
"""A cycle is kept at this many equal steps of the phase and read in between by its Fourier series."""

HARMONICS = 6
TRACE_RATE = 25.0
"""Samples a second of the breathing trace."""


@dataclass(frozen=True)
class Waveform:
    """One breathing cycle.

    Attributes:
        depth: Depth of inhalation at `SAMPLES` equal steps of the phase: 0 at end-exhale, 1 at end-inhale on the
            average cycle.
        lag: Lag of the chest, fraction of the period.
        source: `parametric` or `recorded`.
    """

    depth: FloatArray
    lag: float
    source: str

    def at(self, phase: npt.ArrayLike, lag: float = 0.0) -> FloatArray:
        """Depth of inhalation at any phase (fractions of the cycle, any shape), `lag` later."""
        spectrum = np.fft.rfft(self.depth)[: HARMONICS + 1] / len(self.depth)
        k = np.arange(1, len(spectrum))
        angle = 2 * np.pi * (np.asarray(phase, dtype=float)[..., None] - lag) * k
        series = np.cos(angle) * spectrum[1:].real - np.sin(angle) * spectrum[1:].imag
        return np.asarray(spectrum[0].real + 2 * series.sum(axis=-1))

    def chest(self, phase: npt.ArrayLike) -> FloatArray:
        """Depth of inhalation of the chest wall, which lags behind the diaphragm."""
        return self.at(phase, self.lag)


def parametric_cycle(rng: np.random.Generator) -> FloatArray:
    """Depth of inhalation of a drawn parametric cycle that starts at end-inhale, shape (SAMPLES,).

    Displacement from end-inhale is sin^(2m)(πψ), ψ the phase warped so that end-exhale lies at p0 ~ N(.49, .09) and m
    lognormal (median .62, σ .45).
    """
    p0 = float(np.clip(rng.normal(0.49, 0.09), 0.25, 0.75))
    m = float(np.clip(0.62 * np.exp(rng.normal(0, 0.45)), 0.3, 1.8))
    phase = np.arange(SAMPLES) / SAMPLES
    warped = np.where(phase < p0, 0.5 * phase / p0, 0.5 + 0.5 * (phase - p0) / (1 - p0))
    return 1 - np.abs(np.sin(np.pi * warped)) ** (2 * m)


def recorded_cycles() -> FloatArray | None:
    """Cycles of real breathing traces (displacement from end-inhale, 0 to 1, one a row), where the package has them.

    They are numbers cut from the recordings of Krilavičius et al. 2013/2015 (CC BY 4.0): the file that the waveform
    prior of `rtmotion.cycle` stands on, where 1 is end-inhale.
    """
    file = resources.files("rtmotion").joinpath("cycle", "cycles.npz")
    if not file.is_file():
        return None
    with file.open("rb") as stream, np.load(stream) as stored:
        return 1 - np.asarray(stored["cycles"], dtype=float)


def sample_waveform(
    rng: np.random.Generator, lag: float, cycles: npt.NDArray[np.floating] | None, random_start: bool
) -> Waveform:
    """Draws a cycle and perturbs it.

    Args:
        rng: The source of randomness.
        lag: Lag of the chest, fraction of the period.
        cycles: Displacements from end-inhale of recorded cycles in equal steps of the phase, shape (n, at least 8);
            each is scaled to its own range. None draws parametric cycles.
        random_start: Whether the cycle may start anywhere; otherwise it starts at its end-inhale.
    """
    if cycles is not None:
        cycles = np.asarray(cycles, dtype=float)
        if cycles.ndim != 2 or cycles.shape[1] < 8 or not len(cycles) or not np.isfinite(cycles).all():
            raise PhaseError(f"waveforms are finite numbers of shape (cycles, at least 8 bins), got {cycles.shape}")
        row = cycles[int(rng.integers(len(cycles)))]
        spectrum = np.fft.rfft(row) / len(row)
        keep = min(HARMONICS, len(spectrum) - 1) + 1
        padded = np.zeros(SAMPLES // 2 + 1, dtype=complex)
        padded[:keep] = spectrum[:keep]
        depth = -np.fft.irfft(padded * SAMPLES, SAMPLES)
        depth = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-6)
        depth = np.roll(depth, -int(depth.argmax()))
        source = "recorded"
    else:
        depth = parametric_cycle(rng)
        source = "parametric"
    phase = np.arange(SAMPLES) / SAMPLES
    for harmonic, sigma in enumerate((0.06, 0.05, 0.03), start=1):
        a, b = rng.normal(0, sigma / np.sqrt(2), 2) * (0.5 if cycles is not None else 1.0)
        depth = depth + a * np.cos(2 * np.pi * harmonic * phase) + b * np.sin(2 * np.pi * harmonic * phase)
    spectrum = np.fft.rfft(depth)
    spectrum[HARMONICS + 1 :] = 0  # what ten phases cannot show would only ring
    depth = np.fft.irfft(spectrum, SAMPLES)
    depth = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-6)
    start = int(rng.integers(SAMPLES)) if random_start else int(depth.argmax())
    return Waveform(np.roll(depth, -start), lag, source)


def sample_trace(rng: np.random.Generator, waveform: Waveform, period: float, amplitude: float) -> BreathingTrace:
    """A surrogate recorded during the scan: a dozen breaths that vary in depth and duration.

    Args:
        rng: The source of randomness.
        waveform: The cycle.
        period: Mean duration of a breath, s.
        amplitude: Amplitude of the surrogate, mm.
    """
    breaths = 12
    durations = period * np.clip(1 + rng.normal(0, 0.05, breaths), 0.8, 1.2)
    depths = np.clip(1 + rng.normal(0, 0.07, breaths + 1), 0.7, 1.3)
    starts = np.concatenate([[0.0], np.cumsum(durations)])
    time = np.arange(0, starts[-1] - 0.5 / TRACE_RATE, 1 / TRACE_RATE)
    breath = np.searchsorted(starts, time, side="right") - 1
    phase = (time - starts[breath]) / durations[breath]
    # the depth changes smoothly from one breath to the next, so that the trace has no steps
    depth = depths[breath] * (1 - phase) + depths[breath + 1] * phase
    drift = rng.normal(0, 0.02) * np.sin(2 * np.pi * time / (starts[-1] * rng.uniform(0.6, 1.5)))
    signal = amplitude * (depth * waveform.at(phase) + drift) + rng.normal(0, 0.01 * amplitude, len(time))
    return BreathingTrace(time, signal, np.minimum(phase, np.nextafter(1.0, 0.0)))
