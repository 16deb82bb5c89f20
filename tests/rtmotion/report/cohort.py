"""A comparison of any size made of numbers: summary, results and pictures as `rtmotion compare` would write them."""

import csv
import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rtmotion.evaluation.cohort import result_folder
from rtmotion.report.picture import Picture, save_picture
from rtmotion.report.slices import TONE_HU, TONE_LEVEL

ENGINES = ("svf", "elastix", "demons", "voxelmorph")
MODELS = ("linear", "closure", "cyclic-gp", "posterior")
METHODS = (
    *((name, "predictor") for name in ("video", "motion-model")),
    *((f"{engine}+{model}", "dvf") for engine in ENGINES for model in MODELS),
    *((name, "trivial") for name in ("persistence", "first-phase", "mean", "mirror", "cyclic-nearest")),
    *((name, "bound") for name in ("oracle-svf", "closest-observed")),
)
"""25 methods."""

COLUMNS = ("case", "method", "observe", "phase", "region", "metric", "value", "unit")
REGIONS = ("body", "lung", "tumour", "heart", "liver", "bones")
PHASES = 10


def make_comparison(
    folder: Path, *, cases: int = 10, first: int = 1, observe: tuple[int, ...] = (3, 5, 7), pictures: bool = True
) -> dict[str, Any]:
    """Writes summary.json, results.csv and the pictures and (empty) pages of every forecast; returns the summary."""
    rng = np.random.default_rng(0)
    names = [f"case {first + i}" for i in range(cases)]
    hard = rng.uniform(0.8, 1.4, cases)
    good = {m: _quality(m, kind) for m, kind in METHODS}
    error = {
        (c, k, m): float(
            hard[i] * (20 + (60 - 5 * k) * good[m]) * (1 if m == "oracle-svf" else rng.uniform(0.94, 1.06))
        )
        for i, c in enumerate(names)
        for k in observe
        for m, _ in METHODS
    }
    trivial = {
        (c, k): min((error[c, k, m], m) for m, kind in METHODS if kind == "trivial") for c in names for k in observe
    }
    per_case = [_score(c, k, m, error, trivial) for c in names for k in observe for m, _ in METHODS]
    summary = {
        "schema": "rtmotion.compare/1",
        "cases": names,
        "observe": list(observe),
        "requested": [m for m, kind in METHODS if kind in ("predictor", "dvf")],
        "methods": [{"name": m, "kind": kind, "summary": f"what {m} is"} for m, kind in METHODS],
        "device": "cpu",
        "seed": 0,
        "versions": {"rtmotion": "0.1.0"},
        "averaging": "over the future phases of a case, then over cases",
        "scored_on": {"region": "body", "metric": "mae", "unit": "HU"},
        "units": {"mae": "HU", "rmse": "HU", "ssim": "", "tre_mean": "mm"},
        "summary": [_entry(m, kind, k, per_case, cases) for k in observe for m, kind in METHODS],
        "against": [
            {
                "observe": k,
                "against": "video",
                "method": m,
                "cases": cases,
                "difference": 10 * good[m] - 3,
                "interval": [10 * good[m] - 5, 10 * good[m] - 2] if cases >= 6 else None,
                "p": 0.002 if cases >= 6 else None,
                "p_holm": 0.01 if cases >= 6 else None,
            }
            for k in observe
            for m, kind in METHODS
            if m != "video" and kind != "bound"
        ],
        "per_case": per_case,
        "failures": [],
    }
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    _write_results(folder, summary)
    for score in per_case:
        place = result_folder(folder, score["case"], score["observe"], score["method"])
        place.mkdir(parents=True)
        (place / "report.html").write_text("the page of this forecast", encoding="utf-8")
        if pictures:
            save_picture(place, _picture(names.index(score["case"]), score["error"]))
    return summary


def _quality(method: str, kind: str) -> float:
    """0 as good as the oracle, 1 as bad as a mean."""
    fixed = {"oracle-svf": 0.0, "closest-observed": 0.35, "video": 0.3, "motion-model": 0.34, "persistence": 0.55}
    engine, _, model = method.partition("+")
    if kind == "dvf":
        return 0.38 + 0.05 * ENGINES.index(engine) + {"linear": 0.3, "closure": 0.12}.get(model, 0.0)
    return fixed.get(method, 0.8)


def _score(case: str, observe: int, method: str, error: dict[Any, float], trivial: dict[Any, Any]) -> dict[str, Any]:
    mine, oracle = error[case, observe, method], error[case, observe, "oracle-svf"]
    best, best_name = trivial[case, observe]
    return {
        "case": case,
        "observe": observe,
        "method": method,
        "error": mine,
        "trivial": best,
        "trivial_method": best_name,
        "oracle": oracle,
        "skill": 1 - (mine - oracle) / (best - oracle),
        "difference": mine - best,
    }


def _entry(method: str, kind: str, observe: int, per_case: list[dict[str, Any]], cases: int) -> dict[str, Any]:
    mine = [s for s in per_case if (s["observe"], s["method"]) == (observe, method)]
    error, skill, difference = (float(np.mean([s[name] for s in mine])) for name in ("error", "skill", "difference"))
    fields = kind in ("predictor", "dvf")
    enough = cases >= 6
    p = 0.004 * (1 + len(method)) if enough and fields else None
    ahead = range(1, PHASES - observe + 1)
    return {
        "method": method,
        "kind": kind,
        "observe": observe,
        "requested": fields,
        "trivial": kind == "trivial" or method in ("svf+linear", "svf+closure"),
        "cases": cases,
        "failed": 0,
        "error": error,
        "trivial_error": error - difference,
        "oracle_error": 20.0,
        "skill": skill,
        "difference": difference,
        "interval": [difference - 3.0, difference + 2.5] if enough else None,
        "p": p,
        "p_holm": None if p is None else min(1.0, 3 * p),
        "mean": {
            **{r: {"mae": error * (1 + 0.2 * i), "rmse": error * 1.8} for i, r in enumerate(REGIONS)},
            "landmarks": {"tre_mean": 0.1 * error} if fields else {},
        },
        "horizon": [
            {"ahead": a, "body_mae": error * (0.7 + 0.08 * a - 0.008 * a * a), "landmarks_tre_mean": 0.08 * error}
            if fields
            else {"ahead": a, "body_mae": error * (0.6 + 0.1 * a - 0.01 * a * a)}
            for a in ahead
        ],
        "seconds": 0.01 if kind == "trivial" else 3.0 + len(method),
        "stages_seconds": {"registration": 2.0 + len(method), "appearance": 0.6, "evaluate": 1.0} if fields else {},
        "stages_memory_mb": {"registration": 600.0, "appearance": 700.0, "evaluate": 2000.0} if fields else {},
        "evaluate_seconds": 1.0,
        "peak_memory_mb": 700.0 + 20 * len(method),
    }


def _write_results(folder: Path, summary: dict[str, Any]) -> None:
    with (folder / "results.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        for s in summary["per_case"]:
            for ahead in range(PHASES - s["observe"]):
                phase = f"T{10 * (s['observe'] + ahead)}"
                row = (s["case"], s["method"], s["observe"], phase)
                writer.writerow((*row, "body", "mae", f"{s['error']:.6g}", "HU"))
                writer.writerow((*row, "landmarks", "tre_mean", f"{0.1 * s['error']:.6g}", "mm"))


def _picture(case: int, error: float) -> Picture:
    facts = {
        "phase": "T80",
        "width": 160,
        "height": 120,
        "mm": [320.0, 240.0],
        "where": "where the images change most over the cycle",
        "tone": {"hu": TONE_HU, "level": TONE_LEVEL},
    }
    return Picture(facts, _chest(case, 0.0), _chest(case, error / 8))


@cache
def _chest(case: int, shift: float) -> bytes:
    """Two lungs over a dome that lies `shift` pixels too low."""
    from PIL import Image

    y, x = np.mgrid[:120, :160]
    levels = np.where(((x - 80) / 75) ** 2 + ((y - 60) / 66) ** 2 < 1, 160, 0)
    dome = 85 + case + shift - 14 * np.sin(np.pi * x / 80) ** 2
    lungs = (np.abs(np.abs(x - 80) - 35) < 26) & (y > 18) & (y < dome)
    levels[lungs] = 28
    texture = np.random.default_rng(case).integers(-12, 12, levels.shape) * (levels > 0)
    buffer = io.BytesIO()
    Image.fromarray((levels + texture).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=70, optimize=True)
    return buffer.getvalue()
