"""`rtmotion compare`: methods over cases, scored against the true phases."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rtmotion.errors import UnknownNameError
from rtmotion_cli.comparison_cases import FIRST_SEED
from rtmotion_cli.comparison_run import ComparisonRequest, run_comparison
from rtmotion_cli.options import (
    PATH_HELP,
    Device,
    Json,
    Quiet,
    Seed,
    Study,
    Verbose,
    parse_names,
    parse_observe,
    resolve_device,
)
from rtmotion_cli.presets import PRESETS, QUICK
from rtmotion_cli.terminal import Terminal, write_json, write_line, write_table


def compare(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH", help=f"One case each; none is needed with --phantoms. {PATH_HELP}", show_default=False
        ),
    ] = None,
    observe: Annotated[
        str, typer.Option("--observe", metavar="K[,K2,...]", help="How many phases are given; several are run in turn.")
    ] = "5",
    methods: Annotated[
        str | None,
        typer.Option("--methods", metavar="A,B,...", help="In place of the preset's; from: rtmotion methods."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="|".join(PRESETS),
            help=f"{'; '.join(f'{p.name}: {p.summary}' for p in PRESETS.values())}. Without --methods: {QUICK.name}.",
        ),
    ] = None,
    phantoms: Annotated[
        int, typer.Option("--phantoms", metavar="N", min=0, help="This many generated patients are cases too.")
    ] = 0,
    phantom_seed: Annotated[
        int, typer.Option("--phantom-seed", metavar="S", min=0, help="The seed of the first one; the others follow.")
    ] = FIRST_SEED,
    phantom_spacing: Annotated[
        float, typer.Option("--phantom-spacing", metavar="MM", help="Their voxels; they always show the whole chest.")
    ] = 3.0,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = Path("comparison"),
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ADDRESS", help="A Dask scheduler that runs the cases.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="Processes; else one for every two cores, at least two."),
    ] = None,
    threads: Annotated[
        int, typer.Option("--threads", metavar="N", min=1, help="Of each process; last bits of fields depend on it.")
    ] = 1,
    keep_volumes: Annotated[bool, typer.Option("--keep-volumes", help="Keep every forecast's volumes.")] = False,
    study: Study = None,
    json: Json = False,
    device: Device = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Runs methods over cases, scores them against the true phases, and writes tables, statistics and the report.

    A second call with the same arguments does only what is missing.
    """
    if preset is not None and preset not in PRESETS:
        raise UnknownNameError("--preset", preset, list(PRESETS))
    chosen = PRESETS[preset] if preset is not None else QUICK if methods is None else None
    request = ComparisonRequest(
        tuple(paths or ()),
        tuple(parse_observe(observe)),
        tuple(parse_names(methods or "")) if chosen is None or methods is not None else chosen.methods,
        out,
        scheduler,
        keep_volumes,
        study,
        resolve_device(device),
        seed,
        metrics=None if chosen is None else chosen.metrics,
        preset=None if chosen is None else chosen.name,
        phantoms=phantoms,
        phantom_seed=phantom_seed,
        phantom_spacing=phantom_spacing,
        workers=workers,
        threads=threads,
    )
    summary = run_comparison(request, Terminal(quiet, verbose))
    write_json(summary) if json else show(summary, out)


def show(summary: dict[str, Any], out: Path) -> None:
    """The mean error, skill and time of every method and k as a table, and where the report is."""
    rows = [
        (e["observe"], e["method"], e["kind"], number(e["error"], 1), number(e["skill"], 2), number(e["seconds"], 1))
        for e in sorted(summary["summary"], key=lambda e: (e["observe"], e["error"] is None, e["error"]))
    ]
    scored = summary["scored_on"]
    error = f"{scored['region']} {scored['metric']} ({scored['unit']})"
    write_table(("k", "method", "kind", error, "skill", "seconds"), rows, ("k", error, "skill", "seconds"))
    write_line(f"report: {out / 'report.html'}")


def number(value: float | None, decimals: int) -> str:
    """The number, or a dash where there is none."""
    return "–" if value is None else f"{value:.{decimals}f}"
