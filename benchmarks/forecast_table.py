"""The table of where a forecast's error comes from, on real 4D CT: temporal models, motion model, decomposition.

    python benchmarks/forecast_table.py CASE[@SPACING] ... [--observe 3,5,7]

CASE is anything that `rtmotion forecast` reads; `@2` resamples it to 2 mm first. Every temporal model gets the same
velocities, those of the observed phases alone, and warps the first phase. `motion-model` and `video` are the
forecasters as users run them, with their own appearance. The last four rows are told something of the answer: the
waveform, the best single mode of the whole cycle, and the fields fitted to the true phases. Mean absolute error in HU
over the moving body (where the mean over the phases is above -675 HU or they differ by more than 65 HU), mean over the
future phases.
"""

import argparse
import csv
import datetime
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from rtmotion.cycle.appearance import AppearanceConfig
from rtmotion.cycle.forecaster import MotionModelForecaster, combined
from rtmotion.cycle.observed import observe_motion
from rtmotion.cycle.rendering import render_targets
from rtmotion.cycle.temporal import Situation, temporal_model
from rtmotion.evaluation.regions import moving_body_mask
from rtmotion.field import resample
from rtmotion.methods import find_method
from rtmotion.registration import SvfRegistration, remembered_registrations
from rtmotion.sequence import PhaseSequence, Volume
from rtmotion_baselines.motion_models.bounds import first_mode_trace, mode_projection
from rtmotion_data import read

PLAIN = AppearanceConfig(sources=1, density=False)
TRIVIAL = ("persistence", "first-phase", "mirror", "cyclic-nearest", "closest-observed")
TEMPORAL = (
    "linear",
    "closure",
    "harmonic",
    "pca-ar",
    "posterior-known-start",
    "posterior",
    "amplitude-rate",
    "cyclic-gp",
    "mixture",
)
TOLD = (
    "motion-model, waveform given",
    "video, waveform given",
    "best single mode of the cycle",
    "fields fitted to the truth",
)
YARDSTICK = ("closure", "posterior", "cyclic-gp")


def load(argument: str) -> PhaseSequence:
    """The case of an argument, resampled where it says so."""
    path, _, spacing = argument.partition("@")
    sequence, _ = read(Path(path))
    if not spacing:
        return sequence
    grid = sequence.grid.with_spacing(float(spacing))
    volumes = tuple(Volume(resample(v.hu, v.grid, grid), grid) for v in sequence.volumes)
    return PhaseSequence(sequence.phases, volumes)


def rows_of(sequence: PhaseSequence, ks: list[int]) -> dict[str, dict[int, float]]:
    """Mean absolute error (HU) by method and k."""
    mask = moving_body_mask(sequence)
    whole = observe_motion(sequence, SvfRegistration(), 0)
    table: dict[str, dict[int, float]] = {}
    for k in ks:
        observed, truth = sequence.observe(k)

        def score(volumes: tuple[Volume, ...], truth: PhaseSequence = truth) -> float:
            pairs = zip(volumes, truth.volumes, strict=True)
            return float(np.mean([float((v.hu - t.hu).abs()[mask].mean()) for v, t in pairs]))

        def put(name: str, volumes: tuple[Volume, ...], k: int = k, score: Callable[..., float] = score) -> None:
            table.setdefault(name, {})[k] = score(volumes)

        for name in TRIVIAL:
            method = find_method(name)
            told = {"truth": truth} if method.kind == "bound" else {}
            put(name, method.create(**told).forecast(observed, truth.phases).volumes)
        motion = observe_motion(observed, SvfRegistration(), 0)
        s = Situation(motion.gram, observed.fractions, truth.fractions, motion.inhale)
        first = np.eye(k)[0]
        for name in TEMPORAL:
            weights = temporal_model(name).combine(s).mean
            velocities = (combined(motion.velocities, w) for w in weights)
            put(name, render_targets(observed, motion, velocities, [first] * len(weights), PLAIN)[0])
        put("motion-model", MotionModelForecaster().forecast(observed, truth.phases).volumes)
        put("video", find_method("video").create().forecast(observed, truth.phases).volumes)
        trace = first_mode_trace(whole, sequence)
        put(TOLD[0], MotionModelForecaster().forecast(observed, truth.phases, trace).volumes)
        put(TOLD[1], find_method("video").create().forecast(observed, truth.phases, trace).volumes)
        for name, modes in zip(TOLD[2:], (1, None), strict=True):
            projection = mode_projection(whole.gram, modes)
            velocities = (combined(whole.velocities, projection[j]) for j in range(k, len(sequence)))
            shares = [np.eye(len(sequence))[0]] * (len(sequence) - k)
            put(name, render_targets(sequence, whole, velocities, shares, PLAIN)[0])
    return table


def main() -> None:
    """Prints a table a case and writes all of them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--observe", default="3,5,7")
    options = parser.parse_args()
    ks = [int(k) for k in options.observe.split(",")]
    out = Path(__file__).parent / "results" / f"{datetime.date.today()}_forecast_table.csv"
    out.parent.mkdir(exist_ok=True)
    lines = []
    for argument in options.cases:
        started = time.perf_counter()
        with remembered_registrations():
            table = rows_of(load(argument), ks)
        case = Path(argument.partition("@")[0]).name
        print(f"\n{case}: MAE (HU) over the moving body, mean over the future phases")
        print(f"{'':34s}" + "".join(f"   k={k}" for k in ks))
        for name, by in table.items():
            print(f"{name:34s}" + "".join(f"{by[k]:6.1f}" for k in ks), flush=True)
            lines += [[case, name, k, f"{by[k]:.2f}"] for k in ks]
        best = {k: min(table[name][k] for name in YARDSTICK) for k in ks}
        ratios = "".join(f"{table['motion-model'][k] / best[k]:6.2f}" for k in ks)
        print(f"{'motion-model / best of the three':34s}{ratios}   ({time.perf_counter() - started:.0f} s)", flush=True)
    with out.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["case", "method", "observe", "mae_hu", "torch", "threads", "machine"])
        tail = [torch.__version__, torch.get_num_threads(), platform.machine()]
        writer.writerows([[*line, *tail] for line in lines])


if __name__ == "__main__":
    main()
