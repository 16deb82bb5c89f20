"""`rtmotion compare`: looks at every case first, then runs the methods over all of them and writes the report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtmotion.errors import RtmotionError
from rtmotion.methods import find_method
from rtmotion_cli.comparison_cases import FIRST_SEED, look_at_cases, make_case, phantom_cases
from rtmotion_cli.forecast_files import SaveForecast
from rtmotion_cli.output_folder import check_output
from rtmotion_cli.terminal import Terminal


@dataclass(frozen=True)
class ComparisonRequest:
    """What the user asked for.

    Attributes:
        paths: The inputs, one case each; may be empty where there are phantoms.
        observe: Numbers of observed phases.
        methods: Names of forecasters.
        out: Output folder.
        scheduler: Address of a Dask scheduler, or None for this machine.
        keep_volumes: Whether every forecast's volumes and fields are kept.
        study: Which study, where a folder holds several.
        device: Torch device.
        seed: Of everything random.
        metrics: Names of the metrics; None takes all.
        preset: The name of the preset that the methods came from, or None.
        phantoms: Number of generated patients.
        phantom_seed: Seed of the first of them.
        phantom_spacing: Their voxel size, mm.
        workers: Processes on this machine; None decides by the cases and the cores.
        threads: Of the numerical libraries in each process.
    """

    paths: tuple[Path, ...]
    observe: tuple[int, ...]
    methods: tuple[str, ...]
    out: Path
    scheduler: str | None = None
    keep_volumes: bool = False
    study: str | None = None
    device: str = "cpu"
    seed: int = 0
    metrics: tuple[str, ...] | None = None
    preset: str | None = None
    phantoms: int = 0
    phantom_seed: int = FIRST_SEED
    phantom_spacing: float = 3.0
    workers: int | None = None
    threads: int = 1


def run_comparison(request: ComparisonRequest, terminal: Terminal) -> dict[str, Any]:
    """Compares the methods over the cases and writes tables and report.

    Returns:
        What summary.json holds.

    Raises:
        RtmotionError: If a path, an option or the output folder is of no use (nothing is written then), or if every
            case failed.
    """
    if not request.methods:
        raise RtmotionError("--methods names no method; rtmotion methods lists them")
    if not request.paths and not request.phantoms:
        raise RtmotionError("there is nothing to compare on: give a PATH for each case, or --phantoms N, or both")
    for name in request.methods:
        find_method(name)
    check_output(request.out)
    found = look_at_cases(request.paths, request.observe, request.out, request.study, terminal)

    from rtmotion.evaluation.cohort import folder_name
    from rtmotion.evaluation.comparison import compare
    from rtmotion.report import write_comparison_report

    generated = phantom_cases(request.phantoms, request.phantom_seed, request.phantom_spacing, request.observe)
    read = {n: make_case(n, path, f, request.study) for (n, f), path in zip(found.items(), request.paths, strict=True)}
    with terminal.progress("comparing") as step:
        summary = compare(
            [*read.values(), *generated.values()],
            request.observe,
            request.methods,
            request.out,
            scheduler=request.scheduler,
            workers=request.workers,
            device=request.device,
            seed=request.seed,
            keep_volumes=request.keep_volumes,
            save_forecast=SaveForecast(
                {folder_name(name): f for name, f in found.items()}, request.device, request.seed
            ),
            metrics=request.metrics,
            threads=request.threads,
            about=about(request, list(generated)),
            progress=lambda done, total, what: step(what, done, total),
        )
    with terminal.progress("building the report"):
        write_comparison_report(request.out, request.out / "report.html")
    report_failures(summary, request, terminal)
    return summary


def about(request: ComparisonRequest, generated: list[str]) -> dict[str, Any]:
    """What summary.json says of the request beyond what the evaluator knows."""
    facts: dict[str, Any] = {"preset": request.preset}
    if generated:
        first, spacing = request.phantom_seed, request.phantom_spacing
        facts["phantoms"] = {"cases": generated, "first_seed": first, "spacing_mm": spacing}
    return facts


def report_failures(summary: dict[str, Any], request: ComparisonRequest, terminal: Terminal) -> None:
    """Warns of what failed; an error where nothing was left.

    Raises:
        RtmotionError: If every result of the methods asked for is a failure.
    """
    failures = summary["failures"]
    if not failures:
        return
    terminal.warn([f"{f['case']}, k={f['observe']}, {f['method']} failed: {f['error']}" for f in failures])
    if not any(entry["cases"] for entry in summary["summary"] if entry["requested"]):
        first = failures[0]
        raise RtmotionError(f"no method finished; {first['method']} on {first['case']}: {first['error']}")
