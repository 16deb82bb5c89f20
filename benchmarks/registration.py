"""Registers T50 (fixed) and T00 (moving) of synthetic patients and scores the engines by landmarks.

    python benchmarks/registration.py --seeds 10 --engines svf,elastix,demons --threads 2

One row an engine and patient goes to `benchmarks/results/<date>-registration.csv` as soon as it is measured. TRE: the
landmarks of the fixed phase, moved by the displacement, against those of the moving phase. `artefacts` says whether
the patient was rendered with sorting artefacts, in which case the landmarks, which are the true anatomy's, do not
lie where the images show them, and no registration of the images can reach zero.
"""

import argparse
import csv
import datetime
import multiprocessing
import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

COLUMNS = (
    *("engine", "seed", "artefacts", "size", "spacing_mm"),
    *("tre_before_mean_mm", "tre_before_sd_mm", "tre_before_p95_mm", "tre_mean_mm", "tre_sd_mm", "tre_p95_mm"),
    *("folding_percent", "sd_log_jacobian", "seconds", "processor_seconds", "peak_rss_mb", "threads", "load"),
    *("torch", "itk_elastix", "simpleitk", "cpu"),
)


def measure(engine: str, seed: int, artefacts: bool, threads: int, queue: Any) -> None:
    """One registration in a process of its own, so that peak memory and threads are its own."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)
    import torch

    from rtmotion.field import folds
    from rtmotion.registration.region import near_body
    from rtmotion_baselines.registration.engines import create_engine
    from rtmotion_data.phantom import PhantomConfig, make_phantom

    torch.set_num_threads(threads)
    config = PhantomConfig(size=(144, 104, 112), spacing=(2.0, 2.0, 2.0), phases=2, sorting_artefacts=artefacts)
    sequence = make_phantom(seed, config).sequence
    moving, fixed = sequence.volumes
    points, truth = sequence.landmarks[sequence.labels[1]], sequence.landmarks[sequence.labels[0]]
    before = (points - truth).norm(dim=1)
    # the native engine finds the region by itself; the others are given the same one
    mask = None if engine == "svf" else near_body(fixed)
    options = {"threads": threads} if engine == "elastix" else {}
    spent = time.process_time()
    result = create_engine(engine, **options).register(fixed, moving, mask)
    spent = time.process_time() - spent
    after = (result.displacement.transform_points(points) - truth).norm(dim=1)
    jacobian = result.displacement.jacobian_determinant()
    row: dict[str, Any] = {"engine": engine, "seed": seed, "artefacts": artefacts, "threads": threads}
    row |= {"size": "x".join(map(str, config.size)), "spacing_mm": config.spacing[0]}
    for name, error in (("tre_before", before), ("tre", after)):
        row[f"{name}_mean_mm"] = round(float(error.mean()), 3)
        row[f"{name}_sd_mm"] = round(float(error.std()), 3)
        row[f"{name}_p95_mm"] = round(float(error.quantile(0.95)), 3)
    row["folding_percent"] = round(100 * float(folds(result.displacement.data, fixed.grid).float().mean()), 5)
    row["sd_log_jacobian"] = round(float(jacobian.clamp_min(1e-3).log().std()), 4)
    row["seconds"] = round(result.seconds, 2)
    row["processor_seconds"] = round(spent, 2)
    row["peak_rss_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    row["load"] = round(os.getloadavg()[0], 1)
    queue.put(row)


def main() -> None:
    """Runs the benchmark."""
    from importlib.metadata import version

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="patients 0 to n - 1")
    parser.add_argument("--engines", default="svf,elastix,demons")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clean-sorting", action="store_true", help="patients without sorting artefacts")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    names = {"torch": "torch", "itk_elastix": "itk-elastix", "simpleitk": "SimpleITK"}
    common = {key: version(package) for key, package in names.items()} | {"cpu": processor()}
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{datetime.date.today().isoformat()}-registration.csv"
    context = multiprocessing.get_context("spawn")
    for seed in range(arguments.seeds):
        for engine in arguments.engines.split(","):
            queue = context.Queue()
            work = (engine, seed, not arguments.clean_sorting, arguments.threads, queue)
            process = context.Process(target=measure, args=work)
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{engine} on patient {seed} ended with {process.exitcode}")
            row = queue.get() | common
            new = not path.exists()
            with path.open("a", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS)
                if new:
                    writer.writeheader()
                writer.writerow(row)
            shown = ("engine", "seed", "tre_before_mean_mm", "tre_mean_mm", "tre_p95_mm", "folding_percent", "seconds")
            print("  ".join(f"{key} {row[key]}" for key in shown), flush=True)


def processor() -> str:
    """The name of the processor, as the system gives it, and the number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    return f"{name}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
