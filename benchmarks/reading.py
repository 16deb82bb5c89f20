"""Times reading a folder of DICOM 4D CT against a bare pydicom loop over the same files, and its peak memory.

    python benchmarks/reading.py PATH/TO/DICOM [--repeats 5]

Each side runs in a process of its own, in turn. `rtmotion` finds, labels, sorts, checks and reads; the loop only
decodes every file (`dcmread(...).pixel_array`) and keeps the arrays. Peak memory is what the process holds at most over
what it held before reading, over the size of the volumes returned.
"""

import argparse
import csv
import datetime
import json
import platform
import statistics
import subprocess
import sys
from pathlib import Path

OURS = """
import json, logging, resource, sys, time
import torch, pydicom
from pathlib import Path
from rtmotion_data import read
read_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin, spent = time.perf_counter(), time.process_time()
sequence, _ = read(Path(sys.argv[1]))
wall, processor = time.perf_counter() - begin, time.process_time() - spent
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - read_before
size = sum(v.data.nbytes for v in sequence.volumes) / 1024
print(json.dumps({"wall": wall, "processor": processor, "peak_ratio": peak / size, "mib": size / 1024}))
"""

BARE = """
import json, logging, sys, time, warnings
import numpy, pydicom
from pathlib import Path
logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
begin, spent = time.perf_counter(), time.process_time()
kept = []
for path in sorted(p for p in Path(sys.argv[1]).rglob("*") if p.is_file()):
    try:
        kept.append(pydicom.dcmread(path).pixel_array)
    except Exception:
        continue
print(json.dumps({"wall": time.perf_counter() - begin, "processor": time.process_time() - spent}))
"""


def main() -> None:
    """Prints the medians of both sides and writes them beside this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {"rtmotion": [], "bare pydicom loop": []}
    for _ in range(options.repeats + 1):
        for name, code in (("rtmotion", OURS), ("bare pydicom loop", BARE)):
            done = subprocess.run(
                [sys.executable, "-c", code, str(options.folder)], capture_output=True, text=True, check=True
            )
            runs[name].append(json.loads(done.stdout))
    lines = []
    for name, all_runs in runs.items():
        counted = all_runs[1:]  # the first warms the disk's cache
        medians = {key: statistics.median(run[key] for run in counted) for key in counted[0]}
        print(name, {key: round(value, 3) for key, value in medians.items()})
        lines += [[options.folder.name, name, key, f"{value:.4f}", options.repeats] for key, value in medians.items()]
    out = Path(__file__).parent / "results" / f"{datetime.date.today()}_reading.csv"
    new = not out.exists()
    with out.open("a", newline="") as handle:
        writer = csv.writer(handle)
        if new:
            writer.writerow(["case", "reader", "metric", "median", "repeats", "machine"])
        writer.writerows([[*line, platform.machine()] for line in lines])


if __name__ == "__main__":
    main()
