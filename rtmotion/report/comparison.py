"""The page of a comparison: methods against each other over cases and numbers of observed phases."""

import csv
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rtmotion.errors import ReadError
from rtmotion.evaluation.cohort import result_folder
from rtmotion.report.comparison_figures import comparison_figures
from rtmotion.report.comparison_sections import (
    TOO_FEW,
    case_choice,
    chooser,
    line_plots,
    method_plots,
    metrics_card,
    side_by_side,
)
from rtmotion.report.comparison_tables import (
    Links,
    against_table,
    all_metrics,
    case_table,
    method_table,
    observe_table,
    summary_table,
)
from rtmotion.report.data import PAGE, page_path, write_text
from rtmotion.report.gallery import Pictures, find_pictures, gallery
from rtmotion.report.method_styles import first_observe, main_methods, ordered_methods
from rtmotion.report.page import bullets, card, json_script, page, pairs, tiles
from rtmotion.report.table_parts import Entry

SCHEMA = "rtmotion.compare/1"

MOST_NAMES = 6
"""More methods than this are counted in the heading, not named."""


def write_comparison_report(folder: Path, page_file: Path | None = None) -> Path:
    """Writes the report of a comparison from its `summary.json` and `results.csv`.

    Args:
        folder: What `rtmotion compare` wrote.
        page_file: The page; None takes `report.html` in the folder.

    Returns:
        The page.

    Raises:
        ReadError: If the summary or the results are missing or something else.
        WriteError: If the system refuses to write.
    """
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        if summary["schema"] != SCHEMA:
            raise ValueError("another schema")
        with (folder / "results.csv").open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        pictures = find_pictures(folder, summary)
        text = render_comparison_report(summary, rows, find_links(folder, summary), pictures)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReadError(
            f"{folder}: summary.json and results.csv of a comparison ({SCHEMA}) were expected, "
            f"they are missing or cannot be read ({type(error).__name__}: {error}); run rtmotion compare again"
        ) from error
    return write_text(page_path(page_file or folder), text)


def find_links(folder: Path, summary: Mapping[str, Any]) -> dict[tuple[str, int, str], str]:
    """The pages of single forecasts that lie in a comparison's folder, as links relative to it."""
    links = {}
    for score in summary["per_case"]:
        key = (str(score["case"]), int(score["observe"]), str(score["method"]))
        target = result_folder(folder, *key) / PAGE
        if target.is_file():
            links[key] = quote(target.relative_to(folder).as_posix())
    return links


def render_comparison_report(
    summary: Mapping[str, Any], rows: Sequence[Entry], links: Links, pictures: Pictures | None = None
) -> str:
    """The HTML of a comparison's report: interactive, offline; it holds all but the pages that it links to.

    Args:
        summary: What summary.json holds.
        rows: The lines of results.csv.
        links: Pages of the single forecasts, where there are any.
        pictures: Of the forecasts, where there are any.
    """
    figures = comparison_figures(summary)
    entries = summary["summary"]
    sets = gallery(summary, pictures or {}, links)
    kinds = {str(m["name"]): str(m["kind"]) for m in summary["methods"]}
    metrics = all_metrics(entries, summary["units"])
    body = "\n".join(
        [
            tiles(_at_a_glance(summary)),
            card("What went wrong", bullets(_failures(summary)), "warnings"),
            chooser(summary),
            card("Methods", summary_table(entries) + _table_hint(summary)),
            *line_plots(figures),
            side_by_side(sets, summary),
            *method_plots(figures, entries),
            card("Every method against each predictor", against_table(summary.get("against", ()), kinds)),
            card("Error by number of observed phases", observe_table(entries)),
            metrics_card(metrics),
            card("Every forecast", case_choice(summary["cases"]) + case_table(summary, rows, links)),
            '<div class="two">',
            card("What each method is", method_table(summary["methods"])),
            card("Parameters", pairs(_parameters(summary))),
            "</div>",
        ]
    )
    data = "\n".join(
        json_script(name, value)
        for name, value in {"comparison": _choices(entries), "metrics": metrics, "gallery": sets}.items()
    )
    scripts = ("images.js", "gallery.js", "comparison.js")
    return page("Comparison – rtmotion", _header(summary), body, figures, data, scripts)


def _header(summary: Mapping[str, Any]) -> str:
    cases, requested = summary["cases"], [str(m) for m in summary["requested"]]
    methods = ", ".join(requested) if len(requested) <= MOST_NAMES else f"{len(requested)} methods"
    return (
        "<div><h1>Comparison of respiratory motion forecasts</h1>"
        f'<p class="sub"><b>{escape(methods)}</b> against the trivial baselines and bounds on '
        f"{len(cases)} case{'s' if len(cases) != 1 else ''}, k = {escape(', '.join(map(str, summary['observe'])))}.</p>"
        "</div>"
    )


def _at_a_glance(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    shown = [
        ("cases", str(len(summary["cases"]))),
        ("methods", str(len(summary["methods"]))),
        ("device", str(summary["device"])),
    ]
    for observe in summary["observe"]:
        scored = [
            e for e in summary["summary"] if e["kind"] != "bound" and e["observe"] == observe and e["error"] is not None
        ]
        if scored:
            best = min(scored, key=lambda e: e["error"])
            shown.append((f"lowest MAE at k = {observe}: {best['error']:.1f} HU", str(best["method"])))
    return shown


def _failures(summary: Mapping[str, Any]) -> list[str]:
    return [f"{f['case']}, k = {f['observe']}, {f['method']}: {f['error']}" for f in summary["failures"]]


def _choices(entries: Sequence[Entry]) -> dict[str, Any]:
    """What the page chooses from, and what it begins with."""
    main = main_methods(entries)
    known = sorted({e["observe"] for e in entries})
    methods = [{"name": e["method"], "main": e["method"] in main} for e in ordered_methods(entries)]
    return {"ks": known, "first": first_observe(known) if known else None, "methods": methods}


def _table_hint(summary: Mapping[str, Any]) -> str:
    text = (
        f"Click a heading to sort. Averages: {summary['averaging']}. Green: the lowest error at that k of all but the "
        "bounds. Trivial baselines need no model; bounds know the true phases and cannot be used in practice."
    )
    if all(e["interval"] is None for e in summary["summary"]):
        text += f" {TOO_FEW}"
    return f'<p class="hint">{escape(text)}</p>'


def _parameters(summary: Mapping[str, Any]) -> dict[str, Any]:
    versions = {f"version: {name}": value for name, value in summary["versions"].items()}
    return {name: summary[name] for name in ("cases", "observe", "requested", "device", "seed")} | versions
