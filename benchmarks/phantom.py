"""Times the synthetic patient: seconds and memory of one 10-phase patient, with all its fields, inverses and labels.

    python benchmarks/phantom.py [--size 128 128 96] [--spacing 3] [--patients 3] [--threads 2] [--device cpu]

Writes a dated CSV into benchmarks/results: one row a patient, with the processor time beside the wall time and the
machine's load, because a busy machine says little about the program.
"""

import argparse
import csv
import datetime
import os
import platform
import resource
import time
from pathlib import Path

import torch

from rtmotion_data.phantom import PhantomConfig, make_tensors

RESULTS = Path(__file__).resolve().parent / "results"


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=(128, 128, 96))
    parser.add_argument("--spacing", type=float, default=3.0)
    parser.add_argument("--patients", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    make_tensors(0, PhantomConfig(size=(16, 16, 16), spacing=(12.0, 12.0, 12.0)), arguments.device)  # imports, warm-up
    config = PhantomConfig(size=tuple(arguments.size), spacing=(arguments.spacing,) * 3)
    rows = []
    for seed in range(1, arguments.patients + 1):
        wall, processor = time.perf_counter(), time.process_time()
        patient = make_tensors(seed, config, arguments.device)
        if patient.rendered.is_cuda:
            torch.cuda.synchronize()
        rows.append(
            {
                "date": datetime.date.today().isoformat(),
                "seed": seed,
                "size": "x".join(map(str, arguments.size)),
                "spacing_mm": arguments.spacing,
                "phases": config.phases,
                "seconds": round(time.perf_counter() - wall, 2),
                "cpu_seconds": round(time.process_time() - processor, 2),
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
                "landmarks": patient.landmarks.shape[1],
                "load_1min": round(os.getloadavg()[0], 1),
                "threads": arguments.threads,
                "device": arguments.device,
                "machine": f"{platform.machine()}, {os.cpu_count()} cores",
                "torch": torch.__version__,
            }
        )
        del patient
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.date.today().isoformat()}_phantom.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
