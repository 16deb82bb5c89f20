"""`rtmotion compare`: methods over cases, scored against the true phases."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rtmotion_cli.comparison_run import QUICK_METHODS, ComparisonRequest, run_comparison
from rtmotion_cli.options import (
    Cases,
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
from rtmotion_cli.terminal import Terminal, write_json, write_line, write_table


def compare(
    paths: Cases,
    observe: Annotated[
        str, typer.Option("--observe", metavar="K[,K2,...]", help="How many phases are given; several are run in turn.")
    ] = "5",
    methods: Annotated[
        str, typer.Option("--methods", metavar="A,B,...", help="Names from: rtmotion methods.")
    ] = ",".join(QUICK_METHODS),
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to write.")] = Path("comparison"),
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", metavar="ADDRESS", help="A Dask scheduler that runs the cases.")
    ] = None,
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
    request = ComparisonRequest(
        tuple(paths),
        tuple(parse_observe(observe)),
        tuple(parse_names(methods)),
        out,
        scheduler,
        keep_volumes,
        study,
        resolve_device(device),
        seed,
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
