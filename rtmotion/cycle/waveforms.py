"""The prior breathing waveforms: cycles of real external-marker traces, as numbers in the package.

The cycles come from 27 recordings of free-breathing volunteers (Krilavičius et al., CC BY 4.0), cut from end-inhale
to end-inhale, closed, and scaled to 1 at their largest and 0 at their smallest value; `benchmarks/waveforms.py` makes
the file again.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from io import BytesIO

import numpy as np
import numpy.typing as npt

from rtmotion.errors import PhaseError
from rtmotion.sequence import BreathingTrace

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WaveformPrior:
    """Cycles of real breathing.

    Attributes:
        cycles: One row a cycle, shape (n, bins): amplitude at the fractions 0, 1/bins, ... from end-inhale; 1 is the
            largest and 0 the smallest value of the cycle.
        recording: Which recording session each cycle comes from, shape (n,): cycles of one session are no
            independent witnesses, and a cross-validation leaves out whole sessions.
    """

    cycles: Array
    recording: npt.NDArray[np.int64]

    def without(self, recording: int) -> "WaveformPrior":
        """The prior without the cycles of one recording session."""
        keep = self.recording != recording
        return WaveformPrior(self.cycles[keep], self.recording[keep])


@cache
def shipped_prior() -> WaveformPrior:
    """The prior that ships with the package."""
    with np.load(BytesIO(files("rtmotion.cycle").joinpath("cycles.npz").read_bytes()), allow_pickle=False) as stored:
        return WaveformPrior(stored["cycles"].astype(np.float64), stored["recording"].astype(np.int64))


def at_fractions(cycles: Array, fractions: Array, shift: Array | float = 0.0) -> Array:
    """The amplitude of cycles at fractions of the cycle, by periodic linear interpolation.

    Args:
        cycles: Shape (n, bins).
        fractions: Shape (m,), any real number (taken modulo 1).
        shift: Fraction of each cycle at which fraction 0 lies, shape (n,) or one number.

    Returns:
        Shape (n, m).
    """
    n, bins = cycles.shape
    position = (
        (np.asarray(fractions)[None, :] + np.broadcast_to(np.asarray(shift, dtype=float), (n,))[:, None]) % 1.0 * bins
    )
    before = np.floor(position).astype(int) % bins
    share = position - np.floor(position)
    rows = np.arange(n)[:, None]
    return np.asarray(cycles[rows, before] * (1 - share) + cycles[rows, (before + 1) % bins] * share)


def trace_amplitudes(trace: BreathingTrace, fractions: Array) -> Array:
    """The amplitude of a recorded trace at fractions of the vendor's cycle.

    With a recorded phase, each fraction takes the median amplitude of the samples nearest to it (within half the
    distance to the next fraction). Without one, the trace is taken as one cycle from its first to its last sample.

    Returns:
        Shape (m,), in the trace's unit.

    Raises:
        PhaseError: If the trace holds no sample near one of the fractions.
    """
    wanted = np.asarray(fractions, dtype=float)
    if trace.phase is None:
        elapsed = (trace.time - trace.time[0]) / trace.duration
        return np.asarray(np.interp(wanted, elapsed, trace.amplitude))
    step = np.min(np.diff(np.unique(np.r_[wanted, wanted[0] + 1.0]))) if len(wanted) > 1 else 0.1
    values = []
    for fraction in wanted:
        distance = np.abs((trace.phase - fraction + 0.5) % 1.0 - 0.5)
        near = distance <= max(step / 2, 1e-6) + 1e-9
        if not near.any():
            raise PhaseError(
                f"the breathing trace has no sample near phase {fraction:.0%}: it does not cover the cycle"
            )
        values.append(float(np.median(trace.amplitude[near])))
    return np.array(values)
