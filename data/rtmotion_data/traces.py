"""Breathing traces: reading them, and the cycles that they consist of."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rtmotion.errors import PhaseError
from rtmotion.sequence import BreathingTrace
from rtmotion_data.readers.trace_files import GAP_SECONDS, Recording, read_recording

__all__ = ["Recording", "cycles", "read_recording", "read_trace"]

Array = npt.NDArray[np.float64]

SHORTEST_CYCLE = 1.5
LONGEST_CYCLE = 12.0
"""Breathing cycles last between these seconds (40 to 5 breaths a minute)."""


def read_trace(path: Path) -> BreathingTrace:
    """The breathing trace of a file; `read_recording` gives its warnings too.

    Args:
        path: A Varian `.vxp`, or a CSV with a header line (see `read_recording`).

    Returns:
        Time in seconds, amplitude larger towards inhale, phase as a fraction where the file has one.

    Raises:
        ReadError: If the file is none of these formats or more than a fifth of its samples are unusable.
    """
    return read_recording(path).trace


def cycles(trace: BreathingTrace, bins: int = 10, *, scaled: bool = True) -> Array:
    """The breathing cycles of a trace, cut from end-inhale to end-inhale.

    The trace is sampled evenly and smoothed (Gaussian, SD 0.12 s); the running mean over three periods is taken off
    for finding the peaks (prominence of at least 0.35 of the 10–90 % range, 1.5 s apart). Each cycle is then taken
    from the smoothed trace itself, closed by taking off the straight line between its two peaks, and sampled at the
    fractions 0, 1/bins, ... A cycle is kept if

    - it lasts 1.5 to 12 s and no gap in the samples longer than 0.5 s lies in it,
    - its two peaks differ by less than 0.4 of its depth,
    - its depth is between 0.3 and 2.5 times the median depth, and its duration between 0.5 and 2 times the median.

    Args:
        trace: Larger amplitude towards inhale.
        bins: Samples a cycle.
        scaled: Whether each cycle is scaled to 1 at its largest and 0 at its smallest sample; else amplitudes keep
            the trace's unit, 0 at the peak and negative towards exhale.

    Returns:
        Shape (n, bins); n may be 0.

    Raises:
        PhaseError: If fewer than four bins are asked for.
    """
    from scipy.ndimage import gaussian_filter1d, uniform_filter1d
    from scipy.signal import find_peaks

    if bins < 4:
        raise PhaseError(f"a cycle needs at least 4 bins, got {bins}")
    step = min(0.1, float(np.median(np.diff(trace.time))))
    time = np.arange(trace.time[0], trace.time[-1], step)
    if len(time) * step < 2 * SHORTEST_CYCLE:
        return np.empty((0, bins))
    smooth = gaussian_filter1d(np.interp(time, trace.time, trace.amplitude), 0.12 / step)
    baseline = uniform_filter1d(smooth, min(len(time), round(3 * _period(smooth, step) / step)), mode="nearest")
    level = smooth - baseline
    low, high = np.percentile(level, [10, 90])
    if not high > low:
        return np.empty((0, bins))
    peaks, _ = find_peaks(level, prominence=0.35 * (high - low), distance=max(1, round(SHORTEST_CYCLE / step)))
    cut = [_cut(time, smooth, a, b, bins) for a, b in pairwise(peaks) if not _gap(trace, time[a], time[b])]
    if not cut:
        return np.empty((0, bins))
    rows, closing, seconds = (np.array(c) for c in zip(*cut, strict=True))
    depth = rows.max(axis=1) - rows.min(axis=1)
    keep = (
        (seconds >= SHORTEST_CYCLE)
        & (seconds <= LONGEST_CYCLE)
        & (np.abs(closing) < 0.4 * depth)
        & (depth > 0.3 * np.median(depth))
        & (depth < 2.5 * np.median(depth))
        & (seconds > 0.5 * np.median(seconds))
        & (seconds < 2.0 * np.median(seconds))
    )
    rows, depth = rows[keep], depth[keep]
    if not scaled:
        return np.asarray(rows)
    return np.asarray((rows - rows.min(axis=1, keepdims=True)) / depth[:, None])


def _period(level: Array, step: float) -> float:
    """The period of the strongest frequency between those of the longest and the shortest cycle, seconds."""
    from scipy.signal import detrend, periodogram

    frequency, power = periodogram(detrend(level), fs=1 / step, window="hann")
    breathing = (frequency >= 1 / LONGEST_CYCLE) & (frequency <= 1 / SHORTEST_CYCLE)
    if not breathing.any():
        return LONGEST_CYCLE / 3
    return float(1 / frequency[breathing][np.argmax(power[breathing])])


def _cut(time: Array, level: Array, first: int, last: int, bins: int) -> tuple[Array, float, float]:
    """A cycle from peak to peak, closed and 0 at its peaks; how far it did not close; its seconds."""
    seconds = float(time[last] - time[first])
    at = time[first] + seconds * np.arange(bins) / bins
    closing = float(level[last] - level[first])
    values = np.interp(at, time[first : last + 1], level[first : last + 1]) - level[first]
    return values - closing * np.arange(bins) / bins, closing, seconds


def _gap(trace: BreathingTrace, start: float, end: float) -> bool:
    """Whether the samples of a trace leave a gap between two times."""
    inside = (trace.time[1:] > start) & (trace.time[:-1] < end)
    return bool((np.diff(trace.time)[inside] > GAP_SECONDS).any())
