"""Registers pairs of phases with every engine and scores the fields: synthetic patients by landmarks, real ones by HU.

    python benchmarks/registration.py --seeds 10 --threads 1
    python benchmarks/registration.py --seeds 0 --real CASE ... --pictures FOLDER

One row an engine and pair is written as soon as it is measured; a second call measures only what is missing in the
table. Every registration runs in a process of its own, so that its memory is its own, and every engine looks in and
just around the body of the fixed phase.

Synthetic patients: T50 (fixed) and T00 (moving) at 2 mm. TRE: the landmarks of the fixed phase, moved by the field,
against those of the moving phase. `artefacts` says whether the patient was rendered with sorting artefacts: the
landmarks are the true anatomy's and do not lie where such images show them, so that no registration of the images can
reach zero. Real cases: the two phases that differ most, the later one fixed; the mean absolute difference in HU over
the body, before and after, and pictures of it in the coronal plane.
"""

import argparse
import csv
import datetime
import multiprocessing
import os
import pickle
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SYNTHETIC = (
    *("engine", "seed", "artefacts", "size", "spacing_mm"),
    *("tre_before_mean_mm", "tre_before_sd_mm", "tre_before_p95_mm", "tre_mean_mm", "tre_sd_mm", "tre_p95_mm"),
    *("folding_percent", "sd_log_jacobian"),
)
REAL = (
    *("engine", "case", "fixed", "moving", "size", "spacing_mm", "mae_before_hu", "mae_hu", "mean_displacement_mm"),
    *("max_displacement_mm", "folding_percent", "sd_log_jacobian"),
)
COMMON = (
    *("seconds", "processor_seconds", "memory_before_mb", "memory_peak_mb", "threads", "load"),
    *("torch", "itk_elastix", "simpleitk", "cpu"),
)
PACKAGES = {"torch": "torch", "itk_elastix": "itk-elastix", "simpleitk": "SimpleITK"}

MOST_DIFFERENT_AT_MM = 4.0
"""The two phases that differ most are looked for at this spacing."""

PICTURED_HU = 400.0
"""A difference of so many HU is white, of as many below zero black."""

Row = dict[str, Any]


def register(engine: str, fixed: Any, moving: Any, threads: int) -> tuple[Any, Row]:
    """The registration, and what it took."""
    from rtmotion.evaluation.fields import folding_percent, sd_log_jacobian
    from rtmotion.evaluation.memory import PeakMemory
    from rtmotion_baselines.registration.engines import find_engine

    card = find_engine(engine)
    made = card.create(**({"threads": threads} if card.takes("threads") else {}))
    spent = time.process_time()
    with PeakMemory() as memory:
        result = made.register(fixed, moving)
    row: Row = {"engine": engine, "threads": threads, "seconds": round(result.seconds, 2)}
    row["processor_seconds"] = round(time.process_time() - spent, 2)
    row |= {"memory_before_mb": round(memory.before_mb), "memory_peak_mb": round(memory.peak_mb)}
    row |= {"load": round(os.getloadavg()[0], 1)}
    field = result.displacement
    row["folding_percent"] = round(folding_percent(field.data, field.grid), 5)
    row["sd_log_jacobian"] = round(sd_log_jacobian(field.data, field.grid), 4)
    row |= {"size": "x".join(map(str, fixed.grid.size)), "spacing_mm": "x".join(f"{s:g}" for s in fixed.grid.spacing)}
    return result, row


def make_patient(path: Path, seed: int, artefacts: bool) -> None:
    """Makes a synthetic patient for all engines and leaves its sequence in a file of this run's own."""
    from rtmotion_data.phantom import PhantomConfig, make_phantom

    config = PhantomConfig(size=(144, 104, 112), spacing=(2.0, 2.0, 2.0), phases=2, sorting_artefacts=artefacts)
    path.write_bytes(pickle.dumps(make_phantom(seed, config).sequence))


def synthetic(engine: str, path: Path, seed: int, artefacts: bool, threads: int) -> Row:
    """One engine on one synthetic patient, which `make_patient` has left in a file."""
    from rtmotion.evaluation.landmarks import identity_errors, summarise, target_registration_errors

    sequence = pickle.loads(path.read_bytes())
    moving, fixed = sequence.volumes
    there, here = (sequence.landmarks[label] for label in sequence.labels)
    result, row = register(engine, fixed, moving, threads)
    errors = {"tre_before": identity_errors(here, there)}
    errors["tre"] = target_registration_errors(result.displacement, here, there)
    for name, error in errors.items():
        found = summarise(error)
        row |= {f"{name}_{key}_mm": round(getattr(found, key), 3) for key in ("mean", "sd", "p95")}
    return {"seed": seed, "artefacts": artefacts, **row}


def real(engine: str, path: Path, threads: int, pictures: Path | None) -> Row:
    """One engine on one real case."""
    from rtmotion.evaluation.intensity import mae
    from rtmotion.evaluation.regions import body_mask
    from rtmotion_data.inspection import read

    sequence = read(path)[0]
    first, last = most_different(sequence)
    moving, fixed = sequence.volumes[first], sequence.volumes[last]
    result, row = register(engine, fixed, moving, threads)
    body = body_mask(fixed)
    warped = result.displacement.warp(moving.hu)
    if pictures is not None:
        write_picture(pictures / f"{path.name}_{engine}.png", fixed, moving.hu, warped)
    length = result.displacement.magnitude[body]
    return {
        "case": path.name,
        "fixed": sequence.labels[last],
        "moving": sequence.labels[first],
        "mae_before_hu": round(mae(moving.hu, fixed.hu, body), 2),
        "mae_hu": round(mae(warped, fixed.hu, body), 2),
        "mean_displacement_mm": round(float(length.mean()), 2),
        "max_displacement_mm": round(float(length.max()), 2),
        **row,
    }


def most_different(sequence: Any) -> tuple[int, int]:
    """The indices of the two phases with the largest mean absolute difference, in order."""
    from itertools import combinations

    from rtmotion.field import resample

    coarse = sequence.grid.with_spacing(MOST_DIFFERENT_AT_MM, minimum=8)
    images = [resample(v.hu.clamp(-1000, 500), v.grid, coarse) for v in sequence.volumes]
    return max(combinations(range(len(images)), 2), key=lambda p: float((images[p[0]] - images[p[1]]).abs().mean()))


def write_picture(path: Path, fixed: Any, moving: Any, warped: Any) -> None:
    """The coronal plane through the middle, head up: the fixed phase, moving − fixed, warped − fixed."""
    import numpy as np
    import torch
    from PIL import Image

    from rtmotion.field import resample
    from rtmotion.grid import Grid

    grid = fixed.grid
    ends = np.array(list(np.ndindex(2, 2, 2))) * (np.array(grid.size) - 1)
    world = grid.index_to_world(torch.as_tensor(ends, dtype=torch.float64)).numpy()
    low, high = world.min(axis=0), world.max(axis=0)
    size = (int(high[0] - low[0]) + 1, 1, int(high[2] - low[2]) + 1)
    plane = Grid(size, origin=(float(low[0]), float(0.5 * (low[1] + high[1])), float(low[2])))
    volume, before, after = (
        resample(image, grid, plane, fill=fill)[:, 0].flip(0).numpy()
        for image, fill in ((fixed.hu, -1000.0), (moving - fixed.hu, 0.0), (warped - fixed.hu, 0.0))
    )
    shown = [(volume + 1000) / 1500, *(0.5 + 0.5 * d / PICTURED_HU for d in (before, after))]
    gap = np.ones((size[2], 6))
    row = np.concatenate([shown[0], gap, shown[1], gap, shown[2]], axis=1)
    picture = Image.fromarray((255 * row.clip(0, 1)).astype(np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((2 * picture.width, 2 * picture.height)).save(path)


def available_engines() -> list[str]:
    """The engines that are installed and whose weights are there."""
    from rtmotion_baselines.registration.engines import ENGINES

    def has_weights(weights: str | None) -> bool:
        return weights is None or not weights.startswith("$") or Path(os.environ.get(weights[1:], "")).is_file()

    return [name for name, card in ENGINES.items() if card.installed and has_weights(card.weights)]


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows that a table has already."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, columns: Sequence[str], row: Row) -> None:
    """One more row at the end of a table."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


def _work(work: Callable[..., Row], arguments: tuple[Any, ...], threads: int, queue: Any) -> None:
    import torch

    torch.set_num_threads(threads)
    queue.put(work(*arguments))


def measured(work: Callable[..., Row], arguments: tuple[Any, ...], threads: int) -> Row:
    """The row of a piece of work, done in a process of its own; an error becomes the end of this one."""
    # libraries read these where they are loaded, in the new process
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(threads)
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_work, args=(work, arguments, threads, queue))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"{work.__name__} {arguments} ended with {process.exitcode}")
    row: Row = queue.get()
    return row


def main() -> None:
    """Runs the benchmark."""
    from importlib.metadata import version

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="synthetic patients 0 to n - 1")
    parser.add_argument("--first-seed", type=int, default=0, help="other patients: the first one's number")
    parser.add_argument("--real", type=Path, nargs="+", default=[], metavar="PATH", help="real 4D CTs")
    parser.add_argument("--engines", default=None, help="comma-separated; all that are installed by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clean-sorting", action="store_true", help="patients without sorting artefacts")
    parser.add_argument("--pictures", type=Path, default=None, help="folder for pictures of the real cases")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    a = parser.parse_args()
    engines = a.engines.split(",") if a.engines else available_engines()
    common = {key: version(package) for key, package in PACKAGES.items()} | {"cpu": processor()}
    a.out.mkdir(parents=True, exist_ok=True)
    today = datetime.date.today().isoformat()
    table = a.out / f"{today}_registration_engines.csv"
    artefacts = not a.clean_sorting
    done = {(r["engine"], r["seed"], r["artefacts"]) for r in rows_of(table)}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(a.first_seed, a.first_seed + a.seeds):
            missing = [engine for engine in engines if (engine, str(seed), str(artefacts)) not in done]
            patient = Path(scratch) / "patient.pickle"
            if missing:
                make_patient(patient, seed, artefacts)
            for engine in missing:
                row = measured(synthetic, (engine, patient, seed, artefacts, a.threads), a.threads) | common
                append(table, (*SYNTHETIC, *COMMON), row)
                say(row, ("engine", "seed", "tre_before_mean_mm", "tre_mean_mm", "tre_p95_mm"))
    table = a.out / f"{today}_registration_real.csv"
    done = {(r["engine"], r["case"], "") for r in rows_of(table)}
    for path in a.real:
        for engine in engines:
            if (engine, path.name, "") not in done:
                row = measured(real, (engine, path, a.threads, a.pictures), a.threads) | common
                append(table, (*REAL, *COMMON), row)
                say(row, ("engine", "case", "fixed", "moving", "mae_before_hu", "mae_hu"))


def say(row: Row, keys: Sequence[str]) -> None:
    """The main figures of a row."""
    print("  ".join(f"{k} {row[k]}" for k in (*keys, "folding_percent", "seconds", "memory_peak_mb")), flush=True)


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
