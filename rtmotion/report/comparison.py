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
from rtmotion.report.data import PAGE, page_path, write_text
from rtmotion.report.page import bullets, card, number, page, pairs, plot_card, tiles

SCHEMA = "rtmotion.compare/1"
Entry = Mapping[str, Any]
Links = Mapping[tuple[str, int, str], str]
"""Case, k and method to the page of that forecast, relative to the comparison's page."""

SUMMARY_COLUMNS = (
    ("k", "observed phases"),
    ("MAE, HU", "mean absolute error in the body, over the future phases, then over cases"),
    ("skill", "0: no better than the best trivial baseline, 1: as good as knowing the answer"),
    ("difference, HU", "to the best trivial baseline of each case, with its 95 % interval where there are 6 cases"),
    ("p (Holm)", "paired permutation over cases, adjusted over the methods"),
    ("MAE lung, HU", "mean absolute error in the lung"),
    ("SSIM", "in the body, range 4000 HU"),
    ("TRE, mm", "mean target registration error of the landmarks"),
    ("seconds", "wall time of a forecast, mean over cases"),
    ("memory, MiB", "largest resident memory of the process, over cases"),
    ("cases", "forecast, and failed"),
)


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
        text = render_comparison_report(summary, rows, find_links(folder, summary))
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


def render_comparison_report(summary: Mapping[str, Any], rows: Sequence[Entry], links: Links) -> str:
    """The HTML of a comparison's report: self-contained, interactive, offline.

    Args:
        summary: What summary.json holds.
        rows: The lines of results.csv.
        links: Pages of the single forecasts, where there are any.
    """
    figures = comparison_figures(summary)
    cases, observe = summary["cases"], summary["observe"]
    methods = ", ".join(str(m) for m in summary["requested"])
    header = (
        "<div><h1>Comparison of respiratory motion forecasts</h1>"
        f'<p class="sub"><b>{escape(methods)}</b> against the trivial baselines and bounds on '
        f"{len(cases)} case{'s' if len(cases) != 1 else ''}, k = {escape(', '.join(map(str, observe)))}.</p></div>"
    )
    menu = "Choose k above the plot. Dotted grey: trivial baselines. Dashed: bounds, which know the answer."
    body = "\n".join(
        [
            tiles(_at_a_glance(summary)),
            card("What went wrong", bullets(_failures(summary)), "warnings"),
            card("Methods", _summary_table(summary["summary"]) + _table_hint(summary)),
            '<div class="plots">',
            plot_card("Error and number of observed phases", "observe", figures, "", "tall"),
            plot_card("Error and horizon", "horizon", figures, menu, "tall"),
            plot_card(
                "Landmark error and horizon",
                "horizon_tre",
                figures,
                f"{menu} Red: how far the tumour lies apart in two 4D CTs of one patient; a difference below it "
                "means little.",
                "tall",
            ),
            plot_card("Every case", "cases", figures, menu, "tall"),
            plot_card("Error and computing time", "cost", figures, menu, "tall"),
            "</div>",
            card("Cases", _case_table(summary["per_case"], rows, links)),
            '<div class="two">',
            card("What each method is", _method_table(summary["methods"])),
            card("Parameters", pairs(_parameters(summary))),
            "</div>",
        ]
    )
    return page("Comparison – rtmotion", header, body, figures, "", ("comparison.js",))


def _at_a_glance(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    shown = [
        ("cases", str(len(summary["cases"]))),
        ("methods", str(len(summary["methods"]))),
        ("device", str(summary["device"])),
    ]
    for observe in summary["observe"]:
        scored = [e for e in _competing(summary["summary"]) if e["observe"] == observe and e["error"] is not None]
        if scored:
            best = min(scored, key=lambda e: e["error"])
            shown.append((f"lowest MAE at k = {observe}: {best['error']:.1f} HU", str(best["method"])))
    return shown


def _competing(entries: Sequence[Entry]) -> list[Entry]:
    return [e for e in entries if e["kind"] != "bound"]


def _failures(summary: Mapping[str, Any]) -> list[str]:
    return [f"{f['case']}, k = {f['observe']}, {f['method']}: {f['error']}" for f in summary["failures"]]


def _summary_table(entries: Sequence[Entry]) -> str:
    best = {
        k: min((e["error"] for e in _competing(entries) if e["observe"] == k and e["error"] is not None), default=None)
        for k in {e["observe"] for e in entries}
    }
    head = '<th title="name of the forecaster">method</th><th class="left" title="what it is">kind</th>'
    head += "".join(f'<th title="{escape(what, quote=True)}">{escape(name)}</th>' for name, what in SUMMARY_COLUMNS)
    lines = []
    for e in sorted(entries, key=lambda e: (e["observe"], e["error"] is None, e["error"])):
        mean = e["mean"]
        winner = e["kind"] != "bound" and e["error"] is not None and e["error"] == best[e["observe"]]
        failed = f' <span class="failed">({e["failed"]} failed)</span>' if e["failed"] else ""
        cells = [
            _cell(e["observe"], str(e["observe"])),
            _cell(e["error"], number(e["error"]), "best" if winner else ""),
            _cell(e["skill"], _skill(e["skill"])),
            _cell(e["difference"], _difference(e)),
            _cell(e["p_holm"], "–" if e["p_holm"] is None else f"{e['p_holm']:.3f}"),
            *(
                _cell(value, number(value))
                for value in (
                    mean.get("lung", {}).get("mae"),
                    mean.get("body", {}).get("ssim"),
                    mean.get("landmarks", {}).get("tre_mean"),
                    e["seconds"],
                    e["peak_memory_mb"],
                )
            ),
            f'<td data-value="{int(e["cases"])}">{int(e["cases"])}{failed}</td>',
        ]
        aside = ' class="aside"' if e["kind"] in ("trivial", "bound") else ""
        lines.append(f"<tr{aside}><td>{escape(str(e['method']))}</td>{_kind(e['kind'])}{''.join(cells)}</tr>")
    return _table(head, lines)


def _skill(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _difference(entry: Entry) -> str:
    if entry["difference"] is None:
        return "–"
    text = f"{entry['difference']:+.1f}"
    return text if entry["interval"] is None else f"{text} [{entry['interval'][0]:+.1f}, {entry['interval'][1]:+.1f}]"


def _table_hint(summary: Mapping[str, Any]) -> str:
    text = (
        f"Click a heading to sort. Averages: {summary['averaging']}. Green: the lowest error at that k of all but the "
        "bounds. Trivial baselines need no model; bounds know the true phases and cannot be used in practice."
    )
    if len(summary["cases"]) < 6:
        text += " With fewer than 6 cases there are no intervals and no p-values."
    return f'<p class="hint">{escape(text)}</p>'


def _case_table(per_case: Sequence[Entry], rows: Sequence[Entry], links: Links) -> str:
    means = _phase_means(rows)
    names = ("case", "method", "k", "MAE, HU", "skill", "best trivial", "its MAE, HU", "bound, HU", "TRE, mm", "report")
    head = "".join(f"<th{' class=left' if n in ('method', 'best trivial') else ''}>{escape(n)}</th>" for n in names)
    lines = []
    for c in per_case:
        key = (str(c["case"]), int(c["observe"]), str(c["method"]))
        tre = means.get((*key, "landmarks", "tre_mean"))
        link = f'<a href="{escape(links[key], quote=True)}">open</a>' if key in links else ""
        lines.append(
            f'<tr><td>{escape(key[0])}</td><td class="left">{escape(key[2])}</td>{_cell(key[1], str(key[1]))}'
            f"{_cell(c['error'], number(c['error']))}{_cell(c['skill'], _skill(c['skill']))}"
            f'<td class="left">{escape(str(c["trivial_method"] or "–"))}</td>'
            f"{_cell(c['trivial'], number(c['trivial']))}"
            f"{_cell(c['oracle'], number(c['oracle']))}{_cell(tre, number(tre))}<td>{link}</td></tr>"
        )
    return _table(head, lines, "long")


def _phase_means(rows: Sequence[Entry]) -> dict[tuple[str, int, str, str, str], float]:
    """The mean over the future phases of each metric of each case, k and method."""
    values: dict[tuple[str, int, str, str, str], list[float]] = {}
    for row in rows:
        if row["phase"] not in ("", "all"):
            key = (str(row["case"]), int(row["observe"]), str(row["method"]), str(row["region"]), str(row["metric"]))
            values.setdefault(key, []).append(float(row["value"]))
    return {key: sum(found) / len(found) for key, found in values.items()}


def _method_table(methods: Sequence[Entry]) -> str:
    lines = [
        f'<tr><td>{escape(str(m["name"]))}</td>{_kind(m["kind"])}<td class="wrap">{escape(str(m["summary"]))}</td></tr>'
        for m in methods
    ]
    return f"<table><tbody>{''.join(lines)}</tbody></table>"


def _parameters(summary: Mapping[str, Any]) -> dict[str, Any]:
    versions = {f"version: {name}": value for name, value in summary["versions"].items()}
    return {name: summary[name] for name in ("cases", "observe", "requested", "device", "seed")} | versions


def _kind(kind: str) -> str:
    return f'<td class="left"><span class="tag {escape(kind, quote=True)}">{escape(kind)}</span></td>'


def _cell(value: float | None, text: str, classes: str = "") -> str:
    sort = "" if value is None else repr(float(value))
    return f'<td class="{classes}" data-value="{sort}">{escape(text)}</td>'


def _table(head: str, lines: Sequence[str], classes: str = "") -> str:
    return (
        f'<div class="scroll {classes}"><table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )
