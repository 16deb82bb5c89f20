"""The tables of a comparison's page. Rows say in `data-k`, `data-kind` and `data-method` when they are shown."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rtmotion.report.method_styles import kind_rank, ordered_methods
from rtmotion.report.metric_names import METRIC_NAMES
from rtmotion.report.page import cell, number, table
from rtmotion.report.table_parts import Entry, grouped_table, heads, kind_cell, p_text, row_of, signed, skill_text

Key = tuple[str, int, str]
Links = Mapping[Key, str]
"""Case, k and method to the page of that forecast, relative to the comparison's page."""

SUMMARY_COLUMNS = (
    ("k", "", "observed phases"),
    ("MAE", "HU", "mean absolute error in the body, over the future phases, then over cases"),
    ("skill", "", "0: no better than the best trivial baseline, 1: as good as knowing the answer"),
    ("difference", "HU", "to the best trivial baseline of each case, with its 95 % interval where there are 6 cases"),
    ("p (Holm)", "", "paired permutation over cases, adjusted over the methods"),
    ("MAE lung", "HU", "mean absolute error in the lung"),
    ("SSIM", "", "in the body, range 4000 HU"),
    ("TRE", "mm", "mean target registration error of the landmarks"),
    ("time", "s", "wall time of a forecast, mean over cases"),
    ("memory", "MiB", "largest resident memory of the process, over cases"),
    ("cases", "", "forecast, and failed"),
)


def summary_table(entries: Sequence[Entry]) -> str:
    """The methods at each k, bounds apart below."""
    best = {
        k: min((e["error"] for e in _competing(entries) if e["observe"] == k and e["error"] is not None), default=None)
        for k in {e["observe"] for e in entries}
    }
    head = heads([("method", "", "name of the forecaster"), ("kind", "", "what it is"), *SUMMARY_COLUMNS], left=2)
    lines: dict[bool, list[str]] = {False: [], True: []}
    for e in sorted(entries, key=lambda e: (e["observe"], e["error"] is None, e["error"])):
        winner = e["kind"] != "bound" and e["error"] is not None and e["error"] == best[e["observe"]]
        lines[e["kind"] == "bound"].append(_summary_line(e, winner))
    return grouped_table(head, lines[False], lines[True], len(SUMMARY_COLUMNS) + 2)


def _summary_line(e: Entry, winner: bool) -> str:
    mean = e["mean"]
    failed = f' <span class="failed">({int(e["failed"])} failed)</span>' if e["failed"] else ""
    count = int(e["cases"])
    cells = [
        cell(e["observe"], text=str(int(e["observe"]))),
        cell(e["error"], "best" if winner else ""),
        cell(e["skill"], text=skill_text(e["skill"])),
        cell(e["difference"], text=_difference(e)),
        cell(e["p_holm"], text=p_text(e["p_holm"])),
        cell(mean.get("lung", {}).get("mae")),
        cell(mean.get("body", {}).get("ssim")),
        cell(mean.get("landmarks", {}).get("tre_mean")),
        cell(e["seconds"], text=_seconds(e["seconds"])),
        cell(e["peak_memory_mb"]),
        f'<td data-value="{count}">{count}{failed}</td>',
    ]
    return (
        f"{row_of(str(e['method']), str(e['kind']), e['observe'])}<td>{escape(str(e['method']))}</td>"
        f"{kind_cell(e)}{''.join(cells)}</tr>"
    )


def observe_table(entries: Sequence[Entry]) -> str:
    """One row a method, one column a k: the error and in brackets the skill; nothing where there is one k alone."""
    known = sorted({e["observe"] for e in entries})
    if len(known) < 2:
        return ""
    found = {(str(e["method"]), e["observe"]): e for e in entries}
    columns = [("method", "", "name of the forecaster"), ("kind", "", "what it is")]
    columns += [
        (f"k = {k}", "HU (skill)", f"{k} observed phases: MAE in the body, in brackets the skill") for k in known
    ]
    columns += [("mean", "HU", "over these k, where all were forecast")]
    lines: dict[bool, list[str]] = {False: [], True: []}
    for e in ordered_methods(entries):
        name, kind = str(e["method"]), str(e["kind"])
        of_k = [found.get((name, k)) for k in known]
        errors = [None if f is None else f["error"] for f in of_k]
        cells = [
            cell(error, text="–" if f is None or error is None else f"{number(error)} ({skill_text(f['skill'])})")
            for f, error in zip(of_k, errors, strict=True)
        ]
        whole = [error for error in errors if error is not None]
        cells.append(cell(sum(whole) / len(whole) if len(whole) == len(known) else None, "mean"))
        lines[kind == "bound"].append(f"{row_of(name, kind)}<td>{escape(name)}</td>{kind_cell(e)}{''.join(cells)}</tr>")
    return grouped_table(heads(columns, left=2), lines[False], lines[True], len(columns))


def case_table(summary: Mapping[str, Any], rows: Sequence[Entry], links: Links) -> str:
    """Every case, k and method, with the way to its own page; what failed says so."""
    means = phase_means(rows)
    kinds = {str(m["name"]): str(m["kind"]) for m in summary["methods"]}
    failed = {(str(f["case"]), int(f["observe"]), str(f["method"])): str(f["error"]) for f in summary["failures"]}
    columns = (
        ("case", "", ""),
        ("method", "", ""),
        ("k", "", "observed phases"),
        ("MAE", "HU", "in the body, over the future phases"),
        ("skill", "", "0: no better than the best trivial baseline, 1: as good as knowing the answer"),
        ("best trivial", "", "the trivial baseline with the smallest error on this case and k"),
        ("its MAE", "HU", ""),
        ("oracle", "HU", "the warp fitted to the true phases"),
        ("TRE", "mm", "mean over the landmarks and future phases"),
        ("forecast", "", "its own page"),
    )
    lines = []
    for c in summary["per_case"]:
        key = (str(c["case"]), int(c["observe"]), str(c["method"]))
        tre = means.get((*key, "landmarks", "tre_mean"))
        link = f'<a href="{escape(links[key], quote=True)}">open</a>' if key in links else ""
        if key in failed:
            link = f'<span class="failed" title="{escape(failed[key])}">failed</span>'
        lines.append(
            f"{row_of(key[2], kinds.get(key[2], ''), key[1], key[0])}<td>{escape(key[0])}</td>"
            f'<td class="left">{escape(key[2])}</td>{cell(key[1], text=str(key[1]))}'
            f"{cell(c['error'])}{cell(c['skill'], text=skill_text(c['skill']))}"
            f'<td class="left">{escape(str(c["trivial_method"] or "–"))}</td>'
            f"{cell(c['trivial'])}{cell(c['oracle'])}{cell(tre)}<td>{link}</td></tr>"
        )
    return table(heads(columns, left=2, also=("best trivial",)), lines, "long")


def against_table(against: Sequence[Entry], kinds: Mapping[str, str]) -> str:
    """Every method against each predictor; nothing where there is none."""
    columns = (
        ("method", "", ""),
        ("kind", "", ""),
        ("against", "", "the predictor that it is held against"),
        ("k", "", "observed phases"),
        ("difference", "HU", "error of the method minus that of the predictor, mean over the cases that both have"),
        ("95 % from", "HU", "paired bootstrap over patients, where there are 6 of them"),
        ("to", "HU", "paired bootstrap over patients, where there are 6 of them"),
        ("p", "", "paired permutation over patients"),
        ("p (Holm)", "", "adjusted over the methods held against the same predictor at the same k"),
        ("cases", "", "that both have"),
    )
    lines = []
    for a in sorted(against, key=lambda a: (a["observe"], str(a["against"]), a["difference"])):
        name, kind = str(a["method"]), kinds.get(str(a["method"]), "")
        low, high = a["interval"] or (None, None)
        lines.append(
            f"{row_of(name, kind, a['observe'])}<td>{escape(name)}</td>{kind_cell({'kind': kind})}"
            f'<td class="left">{escape(str(a["against"]))}</td>{cell(a["observe"], text=str(int(a["observe"])))}'
            f"{cell(a['difference'], text=signed(a['difference']))}"
            f"{cell(low, text=signed(low))}{cell(high, text=signed(high))}"
            f"{cell(a['p'], text=p_text(a['p']))}{cell(a['p_holm'], text=p_text(a['p_holm']))}"
            f"{cell(a['cases'], text=str(int(a['cases'])))}</tr>"
        )
    return table(heads(columns, left=3), lines, "long") if lines else ""


def method_table(methods: Sequence[Entry]) -> str:
    """What each method is, by kind."""
    lines = [
        f"{row_of(str(m['name']), str(m['kind']))}<td>{escape(str(m['name']))}</td>{kind_cell(m)}"
        f'<td class="wrap">{escape(str(m["summary"]))}</td></tr>'
        for m in sorted(methods, key=lambda m: kind_rank(str(m["kind"])))
    ]
    return table(heads([("method", "", ""), ("kind", "", ""), ("what it is", "", "")], left=3), lines, "long")


def all_metrics(entries: Sequence[Entry], units: Mapping[str, str]) -> dict[str, Any]:
    """Every metric of every region, for the table that the page builds.

    Returns:
        `regions`: region to its columns (`name`, `unit`); `rows`: one a method and k, with `values` by region in the
        order of the columns.
    """
    regions: dict[str, list[str]] = {}
    for entry in entries:
        for region, metrics in entry["mean"].items():
            known = regions.setdefault(str(region), [])
            known += [m for m in metrics if m not in known]
    place = {str(e["method"]): i for i, e in enumerate(ordered_methods(entries))}
    rows = []
    for entry in sorted((e for e in entries if e["mean"]), key=lambda e: (e["observe"], place[str(e["method"])])):
        values = {
            region: [_digits(entry["mean"].get(region, {}).get(metric)) for metric in columns]
            for region, columns in regions.items()
        }
        rows.append({"method": entry["method"], "kind": entry["kind"], "k": entry["observe"], "values": values})
    columns = {
        region: [{"name": METRIC_NAMES.get(m, m.replace("_", " ")), "unit": units.get(m, "")} for m in metrics]
        for region, metrics in regions.items()
    }
    return {"regions": columns, "rows": rows}


def phase_means(rows: Sequence[Entry]) -> dict[tuple[str, int, str, str, str], float]:
    """The mean over the future phases of each metric of each case, k and method."""
    values: dict[tuple[str, int, str, str, str], list[float]] = {}
    for row in rows:
        if row["phase"] not in ("", "all"):
            key = (str(row["case"]), int(row["observe"]), str(row["method"]), str(row["region"]), str(row["metric"]))
            values.setdefault(key, []).append(float(row["value"]))
    return {key: sum(found) / len(found) for key, found in values.items()}


def _competing(entries: Sequence[Entry]) -> list[Entry]:
    return [e for e in entries if e["kind"] != "bound"]


def _difference(entry: Entry) -> str:
    if entry["difference"] is None:
        return "–"
    text = f"{entry['difference']:+.1f}"
    return text if entry["interval"] is None else f"{text} [{entry['interval'][0]:+.1f}, {entry['interval'][1]:+.1f}]"


def _seconds(value: float | None) -> str:
    return "<0.01" if value is not None and value < 0.01 else number(value)


def _digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
