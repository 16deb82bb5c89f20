"""The sections that every page of a forecast has: figures at a glance, metrics, parameters."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rtmotion.report.metric_names import METRIC_NAMES
from rtmotion.report.page import card, cell, table

CANNOT_KNOW = (
    "One cycle is forecast. Changes from cycle to cycle, drift of the baseline, coughing and breath-holds are not in "
    "the data, so they are not in the forecast or in its uncertainty.",
    "A 4D CT is sorted from many cycles. Sorting artefacts of the observed phases go into the prediction as if they "
    "were anatomy.",
    "The waveform after the last observed phase comes from the cycles of other people. If this patient breathes "
    "unlike all of them, the forecast is wrong and its interval too narrow.",
    "Motion that the observed phases do not show, such as a part of the lung that moves late, can only be guessed.",
    "The uncertainty is that of the model. Unless this scanner's own cases were used to calibrate it, its coverage "
    "in patients is unknown.",
)

FIRST_REGIONS = ("body", "lung", "landmarks", "tumour")
MOST_LINES = 30
"""A longer table scrolls by itself."""


def at_a_glance(facts: Mapping[str, Any], observed: int) -> list[tuple[str, str]]:
    """What a reader looks for first: value and what it is."""
    shown = [("observed phases (k)", f"{observed} of {len(facts['phases'])}")]
    labels = {p["label"] for p in facts["phases"]}

    def mean(rows: Sequence[Mapping[str, Any]], region: str, metric: str) -> float | None:
        values = [
            r["value"]
            for r in rows
            if (r["region"], r["metric"]) == (region, metric) and r["phase"] in labels and r["value"] is not None
        ]
        return sum(values) / len(values) if values else None

    error = mean(facts["metrics"], "body", "mae")
    if error is not None:
        shown.append(("MAE in the body, HU", f"{error:.1f}"))
        copied = mean(facts["references"].get("persistence", ()), "body", "mae")
        if copied is not None:
            shown.append(("MAE of persistence, HU", f"{copied:.1f}"))
    tre = mean(facts["metrics"], "landmarks", "tre_mean")
    if tre is not None:
        shown.append(("TRE, mean, mm", f"{tre:.2f}"))
    if "displacement" in facts["ranges"]:
        shown.append(("displacement, 99 %, mm", f"{facts['ranges']['displacement']['p99']:.1f}"))
    if facts["histogram"] and facts["histogram"]["median"]:
        shown.append(("uncertainty, median, mm", f"{facts['histogram']['median'][0]:.2f}"))
    if facts["seconds"]:
        shown.append(("seconds", f"{sum(facts['seconds'].values()):.1f}"))
    if facts["info"].get("device"):
        shown.append(("device", str(facts["info"]["device"])))
    return shown


def region_rank(region: str) -> int:
    """Body, lung, landmarks and tumour come first, other regions as they are found."""
    return FIRST_REGIONS.index(region) if region in FIRST_REGIONS else len(FIRST_REGIONS)


def metrics_card(facts: Mapping[str, Any]) -> str:
    """The section with every metric of every predicted phase; nothing where nothing was scored."""
    rows = facts["metrics"]
    if not rows:
        return ""
    labels = [p["label"] for p in facts["phases"] if any(r["phase"] == p["label"] for r in rows)]
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for row in rows:
        key = (str(row["region"]), str(row["metric"]), str(row["unit"]))
        found.setdefault(key, {})[str(row["phase"])] = row["value"]
    head = "".join(f"<th>{escape(label)}</th>" for label in labels)
    lines = []
    for (region, metric, unit), values in sorted(found.items(), key=lambda item: region_rank(item[0][0])):
        name = METRIC_NAMES.get(metric, metric.replace("_", " "))
        cells = "".join(cell(values.get(label)) for label in labels)
        of_phases = [values[label] for label in labels if values.get(label) is not None]
        whole = values.get("all", sum(of_phases) / len(of_phases) if of_phases else None)
        lines.append(
            f'<tr><td>{escape(region)}</td><td class="left">{escape(name)}</td><td class="left">{escape(unit)}</td>'
            f"{cells}{cell(whole, 'mean')}</tr>"
        )
    head = (
        f'<th>Region</th><th class="left">Metric</th><th class="left">Unit</th>{head}'
        '<th title="mean over the phases, or of the whole forecast">Mean or whole</th>'
    )
    long = "long" if len(lines) > MOST_LINES else ""
    hint = "PSNR and SSIM are for a range of 4000 HU. Regions are those of the true phase."
    return card("Metrics", f'{table(head, lines, long)}<p class="hint">{hint}</p>')


def parameters(facts: Mapping[str, Any]) -> dict[str, Any]:
    """How the forecast was made: method, reference, options, details, versions."""
    info = dict(facts["info"])
    nested = {"options": info.pop("options", {}), "details": facts["details"], "versions": info.pop("versions", {})}
    shown: dict[str, Any] = {"method": facts["method"], "reference phase": facts["reference"] or "none", **info}
    for name, values in nested.items():
        if isinstance(values, Mapping):
            shown |= {f"{name.removesuffix('s')}: {key}": value for key, value in values.items()}
    return shown


def seconds_card(seconds: Mapping[str, float]) -> str:
    """The section with the wall time of each stage, as bars; nothing where none was measured."""
    if not seconds:
        return ""
    longest = max(max(seconds.values()), 1e-9)
    lines = [
        f'<tr><td class="wrap">{escape(str(name))}</td>{cell(value)}'
        f'<td class="meter" data-value="{float(value)!r}"><i style="width:{100 * value / longest:.1f}%"></i></td></tr>'
        for name, value in seconds.items()
    ]
    return card("Computing time", table("<th>stage</th><th>seconds</th><th></th>", lines))
