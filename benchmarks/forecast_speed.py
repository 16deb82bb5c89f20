"""Seconds and memory of a forecast of a full-size 4D CT, five phases observed, five predicted.

    python benchmarks/forecast_speed.py [--size 256,256,96] [--spacing 1.4,1.4,2.5] [--threads 2]

A generated patient. Every variant runs in a process of its own, so that its memory is its own: `before_mb` after
reading, `peak_mb` after the forecast. Reading, scoring and reports are not in the seconds.
"""

import argparse
import csv
import datetime
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VARIANTS: dict[str, dict[str, object]] = {
    "video": {},
    "video, no adaptation": {"adapt": False},
    "motion-model": {},
    "convlstm": {},
    "adversarial": {},
    "simvp": {},
    "diffusion": {},
    "flow-matching": {},
}


def measure(variant: str, case: str, threads: int, device: str) -> dict[str, object]:
    """One forecast in this process."""
    import torch

    from rtmotion.methods import find_method
    from rtmotion_data import read

    torch.set_num_threads(threads)
    observed, truth = read(Path(case))[0].observe(5)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    forecaster = find_method(variant.partition(",")[0]).create(device=device, **VARIANTS[variant])
    started = time.perf_counter()
    forecast = forecaster.forecast(observed, truth.phases)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "variant": variant,
        "seconds": round(seconds, 1),
        "stages": {name: round(s, 1) for name, s in forecast.seconds.items()},
        "before_mb": round(before),
        "peak_mb": round(peak),
    }


def main() -> None:
    """Prints a line a variant and writes them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="256,256,96")
    parser.add_argument("--spacing", default="1.4,1.4,2.5")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--variant", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        print(json.dumps(measure(*options.variant, options.threads, options.device)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as case:
        phantom = [sys.executable, "-m", "rtmotion_cli", "phantom", case, "--seed", "900100", "-q"]
        spacing, size = options.spacing.split(","), options.size.split(",")
        subprocess.run([*phantom, "--size", *size, "--spacing", *spacing], check=True)
        for variant in VARIANTS:
            command = [sys.executable, __file__, "--variant", variant, case]
            command += ["--threads", str(options.threads), "--device", options.device]
            row = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(row, flush=True)
            given = (options.size, options.spacing, options.threads, options.device)
            rows.append([*row.values(), *given, platform.machine()])
    out = Path(__file__).parent / "results" / f"{datetime.date.today()}_forecast_speed.csv"
    with out.open("w", newline="") as handle:
        writer = csv.writer(handle)
        columns = "variant seconds stages before_mb peak_mb size spacing threads device machine"
        writer.writerow(columns.split())
        writer.writerows(rows)


if __name__ == "__main__":
    main()
