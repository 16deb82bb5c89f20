"""Compares the temporal models on simultaneous recordings of markers at several sites, without any 4D CT.

    python benchmarks/temporal_models.py PATH/TO/breathing_traces [--cases 200]

Each cycle of a session gives a "field" of one channel a marker; ten phases of it, from a random start, with noise, are
what a 4D CT would show. The prior waveforms come from the other sessions. Two results: the root mean square error of
the future phases over the root mean square motion, for every temporal model and k; and how often the 80 % interval of
the first mode holds the truth. The shares, noises and
remainder of `MixtureConfig` were chosen here.
"""

import argparse
import csv
import dataclasses
import datetime
import itertools
import platform
from pathlib import Path

import numpy as np

from rtmotion.cycle.mixture import Combination, centred, first_mode
from rtmotion.cycle.temporal import TEMPORAL_MODELS, CycleMixture, Situation, temporal_model
from rtmotion.cycle.waveforms import Array, at_fractions, shipped_prior
from rtmotion_data.traces import read_trace

PHASES = np.arange(10) / 10
OBSERVED = (3, 4, 5, 6, 7)
NOISE = 0.04
"""Variance of a phase's own deviation, in units of the variance of the motion."""
INHALE_START = 0.3
"""Share of the cycles that start at end-inhale (standard deviation .06 of a cycle); the others start anywhere."""


def joint_cycles(folder: Path) -> list[tuple[int, Array]]:
    """(session, cycle of all its markers, shape (markers, 20)) for every breath of every session."""
    from scipy.signal import butter, filtfilt, find_peaks

    files = sorted(folder.glob("*.csv"))
    found = []
    for number, session in enumerate(sorted({f.name[:12] for f in files})):
        traces = [read_trace(f) for f in files if f.name.startswith(session)]
        start, end = max(t.time[0] for t in traces), min(t.time[-1] for t in traces)
        time = np.arange(start, end, 0.1)
        channels = np.stack([np.interp(time, t.time, t.amplitude) for t in traces])
        for edge, kind in ((1 / 30, "highpass"), (1.5, "lowpass")):
            b, a = butter(2, edge / 5, btype=kind)
            channels = filtfilt(b, a, channels, axis=1)
        level = channels.sum(axis=0)
        peaks, _ = find_peaks(level, prominence=0.8 * level.std(), distance=15)
        for first, last in itertools.pairwise(peaks):
            at = np.linspace(first, last, 21)
            cycle = np.stack([np.interp(at, np.arange(len(time)), c) for c in channels])
            total = cycle.sum(axis=0)
            if 2 < (last - first) / 10 < 9 and abs(total[0] - total[-1]) < 0.35 * np.ptp(total):
                closed = cycle - (cycle[:, -1:] - cycle[:, :1]) * np.linspace(0, 1, 21)
                found.append((number, closed[:, :-1]))
    return found


def situation(cycle: Array, k: int, generator: np.random.Generator) -> tuple[Situation, Array, Array]:
    """What is observed of ten noisy phases from a random start; all inner products; and the noisy phases."""
    inhale_start = generator.random() < INHALE_START
    start = generator.normal(0, 0.06) if inhale_start else generator.random()
    phases = at_fractions(cycle, PHASES, start).T
    phases = phases - phases.mean(axis=0)
    size = np.sqrt((phases**2).sum(axis=1).mean())
    # most of the noise lies in directions in which nothing moves, as in a displacement field
    phases = np.concatenate([phases, np.zeros((10, 30))], axis=1)
    phases = phases + generator.standard_normal(phases.shape) * np.sqrt(NOISE / phases.shape[1]) * size
    fields = phases - phases[0]
    gram = fields @ fields.T
    inhale = fields[:, : len(cycle)].sum(axis=1)
    return Situation(gram[:k, :k], PHASES[:k], PHASES[k:], inhale[:k]), gram, phases


def error(combination: Combination, gram: Array, k: int) -> float:
    """Root mean square error of the predicted fields, mean over the targets, from inner products alone."""
    rows = []
    for step, weights in enumerate(combination.mean):
        off = np.zeros(10)
        off[:k] = weights
        off[k + step] -= 1.0
        rows.append(np.sqrt(max(off @ gram @ off, 0.0)))
    return float(np.mean(rows))


def interval_covers(combination: Combination, s: Situation, gram: Array, k: int, seed: int) -> Array:
    """Whether the 80 % interval of the first mode's coefficient holds the truth, a target each."""
    coefficient, mode = first_mode(centred(s.gram))
    truth = (gram[k:, :k] - s.gram.mean(axis=0)) @ (mode - mode.mean())
    drawn = combination.sample(coefficient, 1000, np.random.default_rng(seed))
    low, high = np.quantile(drawn, [0.1, 0.9], axis=0)
    return (truth >= low) & (truth <= high)


def main() -> None:
    """Runs the benchmark, prints the table and writes it beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=200)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    cycles = joint_cycles(options.folder)
    chosen = generator.permutation(len(cycles))[: options.cases]
    errors: dict[tuple[str, int], list[float]] = {}
    covered: dict[int, list[float]] = {}
    for case in chosen:
        session, cycle = cycles[case]
        prior = shipped_prior().without(session)
        for k in OBSERVED:
            s, gram, _ = situation(cycle, k, generator)
            size = np.sqrt(np.trace(gram) / 10)
            for name in TEMPORAL_MODELS:
                model = temporal_model(name)
                if hasattr(model, "prior"):
                    model = dataclasses.replace(model, prior=prior)  # type: ignore[type-var]
                combination = model.combine(s)
                errors.setdefault((name, k), []).append(error(combination, gram, k) / size)
            mixture = CycleMixture(prior=prior)
            covered.setdefault(k, []).extend(interval_covers(mixture.combine(s), s, gram, k, int(case)))
    print(f"{len(chosen)} of {len(cycles)} cycles; error of the future phases over the motion (root mean squares)")
    print(f"{'model':24s}" + "".join(f"   k={k}" for k in OBSERVED) + "   mean")
    rows = []
    for name in TEMPORAL_MODELS:
        means = [float(np.mean(errors[name, k])) for k in OBSERVED]
        print(f"{name:24s}" + "".join(f"  {m:.3f}" for m in means) + f"  {np.mean(means):.3f}")
        rows += [[name, k, "relative_rms_error", f"{m:.4f}"] for k, m in zip(OBSERVED, means, strict=True)]
    coverage = [float(np.mean(covered[k])) for k in OBSERVED]
    print(f"{'coverage of the 80 %':24s}" + "".join(f"  {c:.3f}" for c in coverage) + f"  {np.mean(coverage):.3f}")
    rows += [["mixture", k, "coverage_80", f"{c:.4f}"] for k, c in zip(OBSERVED, coverage, strict=True)]
    out = Path(__file__).parent / "results" / f"{datetime.date.today()}_temporal_models.csv"
    out.parent.mkdir(exist_ok=True)
    with out.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["model", "observe", "metric", "value", "cases", "numpy", "machine"])
        writer.writerows([[*row, len(chosen), np.__version__, platform.machine()] for row in rows])


if __name__ == "__main__":
    main()
