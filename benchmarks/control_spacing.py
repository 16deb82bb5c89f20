"""How fine the native engine's control grid may be on coarse volumes.

    python benchmarks/control_spacing.py [--patients 3] [--spacing 5,5,6]

Generated patients with noise and sorting artefacts, all phases registered to the first, with control points as far
apart as the voxels and twice as far. Landmark error (mean over the phases, mm), mean absolute difference between the
warped clean first phase and the clean phase over the body (HU), and CPU seconds a patient on one thread.
"""

import argparse
import csv
import datetime
import platform
import time
from pathlib import Path

import numpy as np
import torch

from rtmotion.field import VelocityField, warp
from rtmotion.registration import SvfRegistration, register_sequence
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion_data.phantom import PhantomConfig, make_tensors

EXTENT_MM = (352, 288, 288)


def main() -> None:
    """Prints a row a patient and control spacing, and writes them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=3)
    parser.add_argument("--spacing", default="5,5,6")
    options = parser.parse_args()
    torch.set_num_threads(1)
    x, y, z = (float(s) for s in options.spacing.split(","))
    size = tuple(round(e / s) for e, s in zip(EXTENT_MM, (x, y, z), strict=True))
    config = PhantomConfig(size=size, spacing=(x, y, z), random_start=True)  # type: ignore[arg-type]
    rows = []
    for seed in range(800_000, 800_000 + options.patients):
        p = make_tensors(seed, config)
        phases = tuple(Phase(float(f)) for f in p.fractions)
        sequence = PhaseSequence(phases, tuple(Volume(v, p.grid) for v in p.rendered))
        for ratio in (1.0, 2.0):
            started = time.process_time()
            found = register_sequence(SvfRegistration(control_ratio=ratio), sequence, 0)
            seconds = time.process_time() - started
            errors, residuals = [], []
            for j, registration in enumerate(found[1:], start=1):
                field = registration.displacement
                errors.append(float((field.transform_points(p.landmarks[j]) - p.landmarks[0]).norm(dim=1).mean()))
                off = warp(p.clean[0], field.data, p.grid) - p.clean[j]
                residuals.append(float(off.abs()[p.labels[j] > 0].mean()))
            velocity = found[1].velocity
            control = velocity.grid.spacing[0] if isinstance(velocity, VelocityField) else 0.0
            rows.append([seed, f"{control:.1f}", np.mean(errors), np.mean(residuals), seconds])
            print(
                f"patient {seed}  control points {control:4.1f} mm  landmarks {np.mean(errors):.2f} mm  "
                f"residual {np.mean(residuals):.1f} HU  {seconds:.1f} s",
                flush=True,
            )
    out = Path(__file__).parent / "results" / f"{datetime.date.today()}_control_spacing.csv"
    with out.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["seed", "control_mm", "tre_mm", "residual_hu", "cpu_seconds", "torch", "machine"])
        writer.writerows([[*row, torch.__version__, platform.machine()] for row in rows])


if __name__ == "__main__":
    main()
