"""The files that breathing traces come in.

Three formats are read: Varian RPM exports (`.vxp`), CSV with columns of time and amplitude, and CSV of a 3D marker
(`x`, `y`, `z` in mm), of which the direction of largest motion is taken.
"""

import csv
import math
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rtmotion.errors import ReadError
from rtmotion.sequence import BreathingTrace

Array = npt.NDArray[np.float64]

MAXIMUM_BAD_SHARE = 0.2
"""A recording that loses more than this share of its samples to drop-outs and spikes is refused."""

GAP_SECONDS = 0.5
"""Neighbouring samples farther apart than this leave a gap, over which no cycle is cut."""

BASELINE_SECONDS = 20.0
"""What a marker does more slowly than this is posture, not breathing."""

_TIME_NAMES = ("time", "t", "time_s", "seconds", "time_ms", "t_ms", "timestamp", "timestamp_ms")
_AMPLITUDE_NAMES = ("amplitude", "amp", "amplitude_mm", "amplitude_cm", "signal", "displacement", "position", "value")
_PHASE_NAMES = ("phase", "fraction", "phase_percent", "phase_rad")


@dataclass(frozen=True, eq=False)
class Recording:
    """A breathing trace as read, and what the user should know of it.

    Attributes:
        trace: The usable samples.
        warnings: What was removed, turned or taken for granted, one line each.
    """

    trace: BreathingTrace
    warnings: tuple[str, ...] = ()


def read_recording(path: Path) -> Recording:
    """A breathing trace and what was done to get it.

    - `.vxp`: amplitude (times the header's Scale_factor: mm), phase in radians, timestamp in ms, validity flag
      (negative: track lost or no periodic breathing; such samples are dropped). Where the amplitude is smaller near
      phase 0 (end-inhale) than near π it counts downwards and is turned.
    - CSV with a column of time (`time`, `t`, `time_s`, `time_ms`, `timestamp` ...) and one of amplitude (`amplitude`,
      `signal`, `displacement` ...), which is kept as it is: larger is inhale; `phase`, where there is one, is a
      fraction if it stays within 1, radians if within 2π, else percent. Two columns of numbers without a header are
      time in seconds and amplitude. The separator is `,`, `;`, a tab or blanks; a decimal comma is read, too.
    - CSV with time and `x`, `y`, `z` (mm): the amplitude is the first principal component of the positions. Its sign
      is chosen so that the median lies nearer to the low than to the high end (5 % and 95 % quantile), because
      breathing dwells at end-exhale.

    Samples out of the order of time, without a number, or that jump out of their neighbourhood and back are dropped.

    Raises:
        ReadError: If the file is none of these formats or more than a fifth of its samples are unusable.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise ReadError(f"{path}: the breathing trace cannot be read: {error.strerror}") from None
    if not text.strip():
        raise ReadError(f"{path}: the breathing trace is empty")
    if text.lstrip().lower().startswith("[header]"):
        return _read_vxp(path, text)
    return _read_csv(path, text)


def _read_vxp(path: Path, text: str) -> Recording:
    head, found, body = (
        re.split(r"(?im)^(\[data\])\s*$", text, maxsplit=1) if "[data]" in text.lower() else (text, "", "")
    )
    if not found:
        raise ReadError(f"{path}: a .vxp file needs a [Data] section after its [Header]: export it again")
    fields = {k.strip().lower(): v.strip() for k, _, v in (line.partition("=") for line in head.splitlines())}
    layout = [c.strip().lower() for c in fields.get("data_layout", "amplitude,phase,timestamp,validflag").split(",")]
    if not {"amplitude", "timestamp"} <= set(layout):
        raise ReadError(f"{path}: Data_layout must name amplitude and timestamp, it is {fields.get('data_layout')!r}")
    rows = [line.split(",") for line in body.splitlines() if line.strip()]
    columns = {name: _numbers([r[i] if i < len(r) else "" for r in rows]) for i, name in enumerate(layout)}
    scale = _number(fields.get("scale_factor", "")) or 1.0
    amplitude = columns["amplitude"] * (scale if math.isfinite(scale) else 1.0)
    phase = (columns["phase"] / (2 * np.pi)) % 1.0 if "phase" in columns else None
    valid = columns.get("validflag", np.zeros(len(rows)))
    notes: list[str] = []
    trusted = ~(valid < 0)
    if not trusted.all():
        lost = int((~trusted).sum())
        notes.append(f"{lost} of {len(rows)} samples are flagged as lost or irregular by the recorder and were dropped")
    trace = _clean(path, columns["timestamp"] / 1000, amplitude, phase, notes, trusted)
    if trace.phase is not None:
        inhale, exhale = (np.cos(2 * np.pi * trace.phase) > 0.7, np.cos(2 * np.pi * trace.phase) < -0.7)
        if inhale.any() and exhale.any() and np.median(trace.amplitude[inhale]) < np.median(trace.amplitude[exhale]):
            notes.append("the amplitude is smallest at phase 0 (end-inhale): its sign was turned")
            trace = BreathingTrace(trace.time, -trace.amplitude, trace.phase)
    return Recording(trace, tuple(notes))


def _read_csv(path: Path, text: str) -> Recording:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    delimiter = next((d for d in (";", "\t", ",") if d in lines[0]), None)
    rows = list(csv.reader(lines, delimiter=delimiter)) if delimiter else [line.split() for line in lines]
    names = [n.strip().lower() for n in rows[0]]
    if all(math.isfinite(_number(n)) for n in names) and len(names) == 2:
        rows.insert(0, names := ["time", "amplitude"])
    where = {n: names.index(n) for n in names}
    columns = {n: _numbers([r[i] if i < len(r) else "" for r in rows[1:]]) for n, i in where.items()}
    time_name = next((n for n in _TIME_NAMES if n in columns), None)
    amplitude_name = next((n for n in _AMPLITUDE_NAMES if n in columns), None)
    marker = {"x", "y", "z"} <= set(columns)
    if time_name is None or not (amplitude_name or marker):
        raise ReadError(
            f"{path}: a breathing trace needs a column of time ({', '.join(_TIME_NAMES[:3])} ...) and one of amplitude "
            f"({', '.join(_AMPLITUDE_NAMES[:2])} ...) or x, y, z; the columns are {', '.join(names[:8])}"
        )
    notes: list[str] = []
    time = columns[time_name]
    if time_name.endswith("ms") or time_name == "timestamp":
        time = time / 1000
    elif len(time) > 2 and np.nanmedian(np.diff(time)) > 5:
        notes.append(f"the column {time_name} steps by {np.nanmedian(np.diff(time)):g}: taken as milliseconds")
        time = time / 1000
    phase_name = next((n for n in _PHASE_NAMES if n in columns), None)
    phase = _fractions(path, columns[phase_name]) if phase_name else None
    if amplitude_name:
        return Recording(_clean(path, time, columns[amplitude_name], phase, notes), tuple(notes))
    positions = np.stack([columns[c] for c in "xyz"], axis=1)
    positions[(positions == 0).all(axis=1)] = np.nan  # a tracker that sees no marker reports the origin
    return Recording(_clean(path, time, _principal_component(path, time, positions), phase, notes), tuple(notes))


def _principal_component(path: Path, time: Array, positions: Array) -> Array:
    """Positions of a marker, shape (n, 3), mm, along the direction in which it breathes; larger is inhale.

    Direction and sign are taken from what is left beside the running median over 20 s, so that a change of posture
    does not pass for breathing, and without the farthest hundredth, so that a spike does not turn them.
    """
    from scipy.ndimage import median_filter

    seen = np.isfinite(positions).all(axis=1)
    if seen.sum() < 5:
        raise ReadError(f"{path}: the marker is hardly ever seen: {int(seen.sum())} rows of three numbers")
    step = float(np.median(np.abs(np.diff(time[np.isfinite(time)]))))
    window = min(int(seen.sum()), max(5, round(BASELINE_SECONDS / max(step, 1e-3))))
    moving = positions[seen] - median_filter(positions[seen], size=(window, 1), mode="nearest")
    distance = np.linalg.norm(moving, axis=1)
    core = moving[distance <= np.percentile(distance, 99)]
    _, _, axes = np.linalg.svd(core - core.mean(axis=0), full_matrices=False)
    low, median, high = np.percentile(core @ axes[0], [5, 50, 95])
    sign = 1.0 if median - low <= high - median else -1.0
    return np.asarray((positions - np.median(positions[seen], axis=0)) @ axes[0] * sign)


def _clean(
    path: Path,
    time: Array,
    amplitude: Array,
    phase: Array | None,
    notes: list[str],
    trusted: npt.NDArray[np.bool_] | None = None,
) -> BreathingTrace:
    """The trace without drop-outs, misplaced times and spikes; adds to `notes` what was dropped."""
    total = len(time)
    numbers = np.isfinite(time) & np.isfinite(amplitude) & (np.isfinite(phase) if phase is not None else True)
    if not numbers.all():
        notes.append(f"{int((~numbers).sum())} of {total} samples hold no number (drop-outs) and were dropped")
    kept = np.flatnonzero(numbers if trusted is None else numbers & trusted)
    in_order = kept[_longest_increasing(time[kept])]
    if len(in_order) < len(kept):
        notes.append(f"{len(kept) - len(in_order)} of {total} samples are out of the order of time and were dropped")
    smooth = in_order[~_spikes(amplitude[in_order])]
    if len(smooth) < len(in_order):
        notes.append(f"{len(in_order) - len(smooth)} of {total} samples are spikes and were dropped")
    if len(smooth) < max(2, (1 - MAXIMUM_BAD_SHARE) * total):
        why = "; ".join(notes) or "too few samples"
        raise ReadError(f"{path}: only {len(smooth)} of {total} samples are usable ({why}): record the trace again")
    gaps = int((np.diff(time[smooth]) > GAP_SECONDS).sum())
    if gaps:
        notes.append(f"the trace has {gaps} {'gap' if gaps == 1 else 'gaps'} of more than {GAP_SECONDS} s")
    return BreathingTrace(time[smooth], amplitude[smooth], None if phase is None else phase[smooth])


def _longest_increasing(values: Array) -> npt.NDArray[np.intp]:
    """Indices of the longest strictly increasing subsequence (patience sorting)."""
    tops: list[float] = []
    top_index: list[int] = []
    before = np.full(len(values), -1)
    for i, value in enumerate(values.tolist()):
        pile = bisect_left(tops, value)
        if pile == len(tops):
            tops.append(value)
            top_index.append(i)
        else:
            tops[pile], top_index[pile] = value, i
        before[i] = top_index[pile - 1] if pile else -1
    chain = []
    at = top_index[-1] if top_index else -1
    while at >= 0:
        chain.append(at)
        at = int(before[at])
    return np.array(chain[::-1], dtype=np.intp)


def _spikes(amplitude: Array) -> npt.NDArray[np.bool_]:
    """Samples that leave the median of their five neighbours by more than noise and breathing can."""
    from scipy.ndimage import median_filter

    if len(amplitude) < 5:
        return np.zeros(len(amplitude), dtype=bool)
    deviation = np.abs(amplitude - median_filter(amplitude, size=5, mode="nearest"))
    noise = 1.4826 * float(np.median(deviation))
    low, high = np.percentile(amplitude, [5, 95])
    return deviation > max(8 * noise, 0.5 * float(high - low))


def _fractions(path: Path, phase: Array) -> Array:
    """A phase column as fractions of the cycle."""
    largest, smallest = float(np.nanmax(phase)), float(np.nanmin(phase))
    if not (smallest >= 0 and largest <= 100):
        raise ReadError(
            f"{path}: the phase column runs from {smallest:g} to {largest:g}; fractions 0 to 1 are expected"
        )
    period = 1.0 if largest <= 1 else 2 * np.pi if largest <= 2 * np.pi + 1e-3 else 100.0
    return np.asarray((phase / period) % 1.0)


def _number(text: str) -> float:
    """A number with a decimal point or comma; NaN where there is none."""
    try:
        return float(text.strip().strip('"').replace(",", "."))
    except ValueError:
        return math.nan


def _numbers(texts: Sequence[str]) -> Array:
    return np.array([_number(t) for t in texts], dtype=np.float64)
