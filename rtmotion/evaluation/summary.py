"""The tables of a comparison: results.csv and summary.json from the results of all cases."""

import csv
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rtmotion.evaluation.cohort import Result
from rtmotion.evaluation.paired import Key, against_each
from rtmotion.evaluation.protocol import ALL_PHASES, UNITS, skill
from rtmotion.evaluation.statistics import FEWEST_CASES, holm, paired_bootstrap, paired_permutation

SCHEMA = "rtmotion.compare/1"
COLUMNS = ("case", "method", "observe", "phase", "region", "metric", "value", "unit")
ORACLE = "oracle-svf"
"""The bound that skill counts as knowing the answer."""

TRIVIAL_WITH_FIELDS = ("svf+linear", "svf+closure")
"""Trivial baselines that need registration: the last fields extrapolated, or scaled back to the first phase."""

FAILED = "failed"
"""The metric of the one row of a case and method that failed."""

SECONDS = ("seconds", "s")
MEMORY = ("peak_memory_mb", "MiB")
"""Metric and unit of the rows of stages, in which the region is the stage."""

SCORED = ("body", "mae")
"""Region and metric that skill is computed from."""

AVERAGING = "over the future phases of a case, then over cases"


def write_results_csv(results: Iterable[Result], path: Path) -> None:
    """Writes all rows of all results, whole or not at all; a failed method has one row with the metric `failed`.

    After its metrics a result has a row a stage (in the column of the region) with its seconds and one with its largest
    resident memory.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in results:
        key = (result.case, result.method, result.observe)
        if result.error is not None:
            writer.writerow((*key, "", "", FAILED, 1, ""))
        for row in result.rows:
            writer.writerow((*key, row.phase, row.region, row.metric, f"{row.value:.6g}", row.unit))
        for metric, unit, stages in ((*SECONDS, result.stages), (*MEMORY, result.stages_memory_mb)):
            for stage, value in stages.items():
                writer.writerow((*key, ALL_PHASES, stage, metric, f"{value:.6g}", unit))
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text.getvalue(), encoding="utf-8")
    beside.replace(path)


def summarise(results: Sequence[Result], requested: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """What a comparison found.

    Args:
        results: The result of every case, k and method.
        requested: Names of the methods that the user asked for; the others were added for the skill.
        seed: Of the bootstrap and the permutations.

    Returns:
        JSON-compatible: `averaging`, `scored_on`, `units`; `summary`, one entry a method and k; `against`, every method
        held against each predictor (`rtmotion.evaluation.paired.against_each`); `per_case`, the error and skill of
        each case; `failures`.
    """
    scores = _case_scores(results)
    groups: dict[tuple[int, str], list[Result]] = defaultdict(list)
    for result in results:
        groups[result.observe, result.method].append(result)
    entries = [_entry(group, scores, name in requested) for (_, name), group in groups.items()]
    _add_statistics(entries, scores, seed)
    kinds = {r.method: r.kind for r in results}
    competing = [name for name, kind in kinds.items() if kind != "bound"]
    predictors = [name for name, kind in kinds.items() if kind == "predictor"]
    errors = {key: score["error"] for key, score in scores.items()}
    return {
        "averaging": AVERAGING,
        "scored_on": {"region": SCORED[0], "metric": SCORED[1], "unit": UNITS[SCORED[1]]},
        "units": UNITS,
        "summary": entries,
        "against": against_each(errors, competing, predictors, seed),
        "per_case": list(scores.values()),
        "failures": [
            {"case": r.case, "method": r.method, "observe": r.observe, "error": r.error}
            for r in results
            if r.error is not None
        ],
    }


def is_trivial(method: str, kind: str) -> bool:
    """Whether a method is one of those that every other has to beat."""
    return kind == "trivial" or method in TRIVIAL_WITH_FIELDS


def phase_mean(result: Result, region: str, metric: str) -> float | None:
    """The mean of a metric over the future phases of one result; None where it was not measured."""
    values = [r.value for r in result.rows if (r.region, r.metric) == (region, metric) and r.phase != ALL_PHASES]
    return float(np.mean(values)) if values else None


def _case_scores(results: Sequence[Result]) -> dict[Key, dict[str, Any]]:
    """Error, best trivial baseline, oracle and skill of each case, k and method."""
    errors = {(r.case, r.observe, r.method): phase_mean(r, *SCORED) for r in results}
    trivial: dict[tuple[str, int], tuple[float, str]] = {}
    for r in results:
        error = errors[r.case, r.observe, r.method]
        if is_trivial(r.method, r.kind) and error is not None:
            trivial[r.case, r.observe] = min(trivial.get((r.case, r.observe), (np.inf, "")), (error, r.method))
    scores = {}
    for r in results:
        error = errors[r.case, r.observe, r.method]
        best, best_name = trivial.get((r.case, r.observe), (None, None))
        oracle = errors.get((r.case, r.observe, ORACLE))
        known = error is not None and best is not None
        scores[r.case, r.observe, r.method] = {
            "case": r.case,
            "observe": r.observe,
            "method": r.method,
            "error": error,
            "trivial": best,
            "trivial_method": best_name,
            "oracle": oracle,
            "skill": skill(error, best, oracle) if known and oracle is not None else None,  # type: ignore[arg-type]
            "difference": error - best if known else None,  # type: ignore[operator]
        }
    return scores


def _entry(group: Sequence[Result], scores: Mapping[Key, Mapping[str, Any]], requested: bool) -> dict[str, Any]:
    """The summary of one method at one k."""
    done = [r for r in group if r.error is None]
    mine = [scores[r.case, r.observe, r.method] for r in done]
    return {
        "method": group[0].method,
        "kind": group[0].kind,
        "observe": group[0].observe,
        "requested": requested,
        "trivial": is_trivial(group[0].method, group[0].kind),
        "cases": len(done),
        "failed": len(group) - len(done),
        "error": _mean(s["error"] for s in mine),
        "trivial_error": _mean(s["trivial"] for s in mine),
        "oracle_error": _mean(s["oracle"] for s in mine),
        "skill": _mean(s["skill"] for s in mine),
        "difference": _mean(s["difference"] for s in mine),
        "interval": None,
        "p": None,
        "p_holm": None,
        "mean": _means(done),
        "horizon": _horizon(done),
        "seconds": _mean(r.seconds["forecast"] for r in done),
        "evaluate_seconds": _mean(r.seconds["evaluate"] for r in done),
        "peak_memory_mb": max((r.peak_memory_mb for r in done), default=None),
        "stages_seconds": _of_stages([r.stages for r in done], np.mean),
        "stages_memory_mb": _of_stages([r.stages_memory_mb for r in done], max),
    }


def _of_stages(found: Sequence[Mapping[str, float]], together: Callable[[list[float]], Any]) -> dict[str, float]:
    """One number a stage over the cases that have it, in the order of the stages."""
    stages = list(dict.fromkeys(stage for one in found for stage in one))
    return {stage: float(together([one[stage] for one in found if stage in one])) for stage in stages}


def _means(done: Sequence[Result]) -> dict[str, dict[str, float]]:
    """Region and metric to the mean over phases, then over cases."""
    of_case: dict[tuple[str, str], list[float]] = defaultdict(list)
    for result in done:
        of_phase: dict[tuple[str, str], list[float]] = defaultdict(list)
        for row in result.rows:
            of_phase[row.region, row.metric].append(row.value)
        for key, values in of_phase.items():
            of_case[key].append(float(np.mean(values)))
    means: dict[str, dict[str, float]] = defaultdict(dict)
    for (region, metric), values in of_case.items():
        means[region][metric] = float(np.mean(values))
    return dict(means)


HORIZON = (("body", "mae"), ("lung", "mae"), ("body", "ssim"), ("landmarks", "tre_mean"))


def _horizon(done: Sequence[Result]) -> list[dict[str, Any]]:
    """How the error grows with the number of phases ahead, mean over cases."""
    found: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for result in done:
        ahead = {label: i + 1 for i, label in enumerate(result.predicted)}
        for row in result.rows:
            if row.phase in ahead and (row.region, row.metric) in HORIZON:
                found[ahead[row.phase]][f"{row.region}_{row.metric}"].append(row.value)
    return [
        {"ahead": step, **{name: float(np.mean(values)) for name, values in found[step].items()}}
        for step in sorted(found)
    ]


def _add_statistics(entries: Sequence[dict[str, Any]], scores: Mapping[Key, Mapping[str, Any]], seed: int) -> None:
    """Interval and p of the difference to the best trivial baseline, where there are patients enough."""
    tested: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        differences = [
            s["difference"]
            for (_, observe, method), s in scores.items()
            if (observe, method) == (entry["observe"], entry["method"]) and s["difference"] is not None
        ]
        if len(differences) < FEWEST_CASES:
            continue
        interval = paired_bootstrap(differences, seed=seed)
        entry["interval"] = [interval.low, interval.high]
        if entry["kind"] != "bound" and not is_trivial(entry["method"], entry["kind"]):
            entry["p"] = paired_permutation(differences, seed=seed)
            tested[entry["observe"]].append(entry)
    for group in tested.values():
        for entry, adjusted in zip(group, holm([e["p"] for e in group]), strict=True):
            entry["p_holm"] = adjusted


def _mean(values: Iterable[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None
