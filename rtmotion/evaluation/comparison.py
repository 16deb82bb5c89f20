"""Comparison of methods over cases and k, under one protocol."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import rtmotion
from rtmotion.errors import PhaseError, RtmotionError
from rtmotion.evaluation.cohort import (
    PROTOCOL_VERSION,
    Case,
    ForecastWriter,
    Plan,
    Result,
    describe,
    folder_name,
    result_folder,
    run_case,
    store_result,
    stored_result,
    write_json,
)
from rtmotion.evaluation.protocol import check_metrics
from rtmotion.evaluation.summary import ORACLE, SCHEMA, SCORED, TRIVIAL_WITH_FIELDS, summarise, write_results_csv
from rtmotion.methods import Method, available_forecasters, find_method

BOUNDS = ("closest-observed", ORACLE)
"""The bounds that every comparison runs where they are installed."""

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": 1 << 25, "MALLOC_TRIM_THRESHOLD_": 1 << 30}
"""For glibc in local workers: by Dask's own settings every volume goes back to the system and is mapped anew."""

Progress = Callable[[int, int, str], None]
"""Called with the number of finished results, their total, and what was finished last."""


def compare(
    cases: Sequence[Case],
    observe: Sequence[int],
    methods: Sequence[str],
    out: Path,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    device: str = "cpu",
    seed: int = 0,
    keep_volumes: bool = False,
    save_forecast: ForecastWriter | None = None,
    metrics: Sequence[str] | None = None,
    threads: int = 1,
    about: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Runs methods over cases, scores them against the true phases, and writes results.csv and summary.json.

    The trivial baselines and the installed ones of `BOUNDS` always run too: without them there is no skill (two of
    the trivial baselines, `rtmotion.evaluation.summary.TRIVIAL_WITH_FIELDS`, register the observed phases). Every
    result is in `out/cases/<case>/<k>/<method>/result.json` before the next is begun; a second call redoes what is
    missing, failed, or was made from other arguments, input or version. A method or case that fails does not stop the
    others. Only methods of the kind `bound` are given the true phases.

    Args:
        cases: The patients; their names must differ.
        observe: The numbers of observed phases.
        methods: Names of forecasters.
        out: Folder to write to; it is made.
        scheduler: Address of a Dask scheduler that shares the file system; None stays on this machine.
        workers: Processes on this machine; None takes one for one case, else one for every two cores, at least two
            where there are two cores.
        device: Torch device.
        seed: Of everything random.
        keep_volumes: Whether `save_forecast` is to keep volumes and fields.
        save_forecast: Writes the files of each forecast.
        metrics: Names of the metrics wanted, which must hold the one that skill is computed from; None takes all.
        threads: Of the numerical libraries in each process. The numbers do not depend on how many processes there are;
            with other threads, registrations may differ in their last bits.
        about: What else summary.json is to say of the comparison, JSON-compatible.
        progress: Told of each finished result.

    Returns:
        What summary.json holds (schema `rtmotion.compare/1`); see `rtmotion.evaluation.summary.summarise`.

    Raises:
        UnknownNameError: If a method is not installed, or a metric unknown.
        RtmotionError: If there are no cases, two of one name, no threads, or if the metric of the skill is not wanted.
        PhaseError: If a k is below 2, or there is none.
    """
    _check(cases, observe)
    _check_options(metrics, threads)
    cards = methods_to_run(methods)
    plan = Plan(
        tuple(dict.fromkeys(observe)),
        tuple(cards),
        Path(out),
        device,
        seed,
        keep_volumes,
        save_forecast,
        None if metrics is None else tuple(metrics),
        threads,
    )
    plan.out.mkdir(parents=True, exist_ok=True)
    total = len(cases) * len(plan.observe) * len(cards)
    results: list[Result] = []
    for result in _results(cases, plan, scheduler, _worker_count(len(cases), workers)):
        results.append(result)
        if progress is not None:
            progress(len(results), total, f"{result.case}, k={result.observe}, {result.method}")
    place = {(c.name, k, m.name): i for i, (c, k, m) in enumerate(_tasks(cases, plan))}
    results.sort(key=lambda r: place[r.case, r.observe, r.method])
    summary = {
        "schema": SCHEMA,
        **(about or {}),
        **_about(cases, plan, methods),
        **summarise(results, methods, seed),
    }
    write_results_csv(results, plan.out / "results.csv")
    write_json(summary, plan.out / "summary.json")
    return summary


def methods_to_run(names: Sequence[str]) -> list[Method]:
    """The cards of the trivial baselines, the bounds, and the methods asked for, each once.

    Raises:
        UnknownNameError: If a method is not installed.
    """
    asked = [find_method(name) for name in names]
    installed = available_forecasters()
    trivial = [m for m in installed.values() if m.kind == "trivial"]
    added = [installed[name] for name in (*TRIVIAL_WITH_FIELDS, *BOUNDS) if name in installed]
    return list({m.name: m for m in [*trivial, *added, *asked]}.values())


def _check(cases: Sequence[Case], observe: Sequence[int]) -> None:
    if not cases:
        raise RtmotionError("a comparison needs at least one case, got none")
    if not observe:
        raise PhaseError("a comparison needs at least one number of observed phases, got none")
    for k in observe:
        if k < 2:
            raise PhaseError(f"--observe must be at least 2, got {k}")
    seen: dict[str, str] = {}
    for case in cases:
        folder = folder_name(case.name).lower()
        if folder in seen:
            raise RtmotionError(
                f"the cases {seen[folder]!r} and {case.name!r} would share a folder: give each case its own name"
            )
        seen[folder] = case.name


def _check_options(metrics: Sequence[str] | None, threads: int) -> None:
    if threads < 1:
        raise RtmotionError(f"each process needs at least one thread, got --threads {threads}")
    if metrics is not None:
        check_metrics(metrics)
        if SCORED[1] not in metrics:
            raise RtmotionError(f"the metric {SCORED[1]!r} must be among those wanted: skill is computed from it")


def _tasks(cases: Sequence[Case], plan: Plan) -> Iterator[tuple[Case, int, Method]]:
    return ((case, k, method) for case in cases for k in plan.observe for method in plan.methods)


def _worker_count(cases: int, workers: int | None) -> int:
    if workers is not None:
        return max(1, min(workers, cases))
    cores = os.cpu_count() or 1
    return min(cases, max(min(2, cores), cores // 2))


def _results(cases: Sequence[Case], plan: Plan, scheduler: str | None, workers: int) -> Iterator[Result]:
    """The results of all cases, as they are finished."""
    if scheduler is None and workers == 1:
        for case in cases:
            yield from run_case(case, plan)
        return
    import dask
    from distributed import Client, LocalCluster, as_completed

    # one case a task: its volumes are read once, and what a worker holds is bounded
    local = partial(LocalCluster, n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    with (
        dask.config.set({f"distributed.nanny.pre-spawn-environ.{k}": v for k, v in ALLOCATOR.items()}),
        nullcontext(scheduler) if scheduler else local() as cluster,
        Client(cluster) as client,
    ):
        futures = {client.submit(_run_whole_case, case, plan, pure=False): case for case in cases}
        for future in as_completed(futures):
            case = futures[future]
            failure = future.exception()
            yield from future.result() if failure is None else _after_a_crash(case, plan, failure)


def _run_whole_case(case: Case, plan: Plan) -> list[Result]:
    return list(run_case(case, plan))


def _after_a_crash(case: Case, plan: Plan, failure: BaseException) -> Iterator[Result]:
    """What a case whose worker died left on disk, and a failure for what is missing."""
    for k in plan.observe:
        for method in plan.methods:
            result = stored_result(case, k, method, plan)
            if result is None:
                error = f"the worker stopped: {describe(failure)}"
                result = Result(case.name, method.name, method.kind, k, error=error)
                store_result(result, result_folder(plan.out, case.name, k, method.name))
            yield result


def _about(cases: Sequence[Case], plan: Plan, requested: Sequence[str]) -> dict[str, Any]:
    return {
        "cases": [case.name for case in cases],
        "observe": list(plan.observe),
        "requested": list(dict.fromkeys(requested)),
        "methods": [{"name": m.name, "kind": m.kind, "summary": m.summary} for m in plan.methods],
        "device": plan.device,
        "threads": plan.threads,
        "metrics": None if plan.metrics is None else list(plan.metrics),
        "protocol": PROTOCOL_VERSION,
        "seed": plan.seed,
        "versions": {"rtmotion": rtmotion.__version__, **{name: version(name) for name in ("torch", "numpy", "scipy")}},
    }
