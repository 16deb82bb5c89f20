"""The page of one forecast."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from rtmotion.report.data import ReportData, page_path, write_text
from rtmotion.report.figures import METRIC_NAMES, forecast_figures
from rtmotion.report.page import bullets, card, json_script, number, packed, page, pairs, plot_card, tiles

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

OVERLAY_HINT = (
    "Displacement: motion of the tissue from the reference phase to the phase shown; an arrow ends where the tissue "
    "is now. Uncertainty: one standard deviation of displacement. Both are averaged to voxels of about 5 mm for "
    "display. Images are 8 bits and compressed: measure in the files, not here. Keys: ← → phase, space play, "
    "1 2 3 window, D displacement, U uncertainty, A arrows; click an image to move the crosshair, then scroll or ↑ ↓."
)


def write_forecast_report(path: Path, data: ReportData) -> Path:
    """Writes the report of a forecast, beside and then renamed.

    Args:
        path: The page (`.html`), or the folder that gets `report.html`.
        data: What the page shows.

    Returns:
        The page.

    Raises:
        WriteError: If the system refuses.
    """
    return write_text(page_path(path), render_forecast_report(data))


def render_forecast_report(data: ReportData) -> str:
    """The HTML of a forecast's report: self-contained, interactive, offline."""
    facts = data.facts
    info = facts["info"]
    figures = forecast_figures(facts)
    observed = sum(1 for p in facts["phases"] if p["observed"])
    case = str(info.get("case", "case"))
    known = "" if facts["hasTruth"] else " The true phases are not known: nothing here is scored."
    header = (
        f"<div><h1>{escape(case)}</h1>"
        f'<p class="sub">Respiratory motion forecast by <b>{escape(str(facts["method"]))}</b> from the first '
        f"{observed} of {len(facts['phases'])} phases.{known}</p></div>"
    )
    body = "\n".join(
        [
            tiles(_at_a_glance(facts, observed)),
            card("What to know of this forecast", bullets(facts["warnings"]), "warnings"),
            _viewer(facts, data.overlays),
            '<div class="plots">',
            plot_card(
                "Error per phase",
                "error",
                figures,
                "Mean absolute error against the true phase. Dotted: the same phases forecast by copying the last "
                "observed one (persistence), or by other methods named in the legend.",
            ),
            plot_card("Landmark error per phase", "tre", figures, "Target registration error in world coordinates."),
            plot_card(
                "Breathing waveform",
                "waveform",
                figures,
                "The first motion mode over the cycle; 0 and 1 are its smallest and largest observed value. "
                "Shaded background: the observed part.",
            ),
            plot_card(
                "Diaphragm", "diaphragm", figures, facts["diaphragm"]["definition"] if facts["diaphragm"] else ""
            ),
            plot_card(
                "Uncertainty in the body", "uncertainty", figures, "All predicted phases together, body voxels only."
            ),
            "</div>",
            _metrics(facts),
            card("What this forecast cannot know", bullets(CANNOT_KNOW), "cannot"),
            '<div class="two">',
            card("Parameters", pairs(_parameters(facts))),
            plot_card("Computing time", "seconds", figures),
            "</div>",
        ]
    )
    return page(f"{case} – {facts['method']} – rtmotion", header, body, figures, _embedded(data), "viewer.js")


def _embedded(data: ReportData) -> str:
    kept = ("phases", "views", "tone", "spriteColumns", "ranges")
    sprites = {view: [base64.b64encode(i).decode() for i in images] for view, images in data.sprites.items()}
    overlays = {
        name: {
            "shape": list(values.shape),
            "step": 1 / 255 if name == "body" else data.facts["ranges"][name]["step"],
            "data": packed(np.ascontiguousarray(values).tobytes()),
        }
        for name, values in data.overlays.items()
    }
    parts = {"facts": {k: data.facts[k] for k in kept}, "sprites": sprites, "overlays": overlays}
    return "\n".join(json_script(name, value) for name, value in parts.items())


def _at_a_glance(facts: Mapping[str, Any], observed: int) -> list[tuple[str, str]]:
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


def _viewer(facts: Mapping[str, Any], overlays: Mapping[str, Any]) -> str:
    columns = ["prediction"]
    if facts["hasTruth"]:
        columns = ["truth", "prediction", "difference"]
    titles = {
        "truth": "<div>Truth</div>",
        "prediction": f"<div>Prediction <small>{escape(str(facts['method']))}</small></div>",
        "difference": '<div id="difference-title">Prediction − truth</div>',
    }
    heads = f'<div class="columns">{"".join(titles[c] for c in columns)}</div>' if facts["hasTruth"] else ""
    views = "".join(_view_row(view, columns) for view in facts["views"])
    single = "" if facts["hasTruth"] else " single"
    spacing = " × ".join(f"{s:g}" for s in facts["grid"]["spacing"])
    size = " × ".join(str(n) for n in facts["grid"]["size"])
    tilt = ""
    if facts["tilt"] > 2:
        tilt = f" The volume is tilted by {facts['tilt']:.0f}°: its axes nearest to the patient's are shown."
    hint = f"{OVERLAY_HINT} Voxels {size}, {spacing} mm.{tilt}"
    return card(
        "The breathing patient",
        f"{_controls(facts, overlays)}{heads}"
        f'<div id="views" class="views{single}" style="--columns:{len(columns)}">{views}</div>'
        f"{_legends(facts)}"
        f'<p class="hint">{escape(hint)} <span id="overlay-note"></span></p>',
    ).replace('<div class="columns">', f'<div class="columns" style="--columns:{len(columns)}">')


def _view_row(view: Mapping[str, Any], columns: Sequence[str]) -> str:
    name = view["name"]
    panels = "".join(
        f'<figure class="panel" data-view="{name}" data-column="{column}">'
        f'<canvas role="img" aria-label="{name} {column}"></canvas></figure>'
        for column in columns
    )
    return (
        f'<div class="view" data-view="{name}"><div class="bar"><b>{name.capitalize()}</b>'
        f'<input type="range" min="0" max="{len(view["slices"]) - 1}" value="{view["start"]}" '
        f'aria-label="{name} slice"><output></output></div><div class="row">{panels}</div></div>'
    )


def _controls(facts: Mapping[str, Any], overlays: Mapping[str, Any]) -> str:
    chips = "".join(
        f'<button type="button" class="chip {"" if p["observed"] else "predicted"}" '
        f'title="{"observed" if p["observed"] else "predicted"}">{escape(str(p["label"]))}</button>'
        for p in facts["phases"]
    )
    count = len(facts["phases"])

    def segments(group: str, options: Sequence[tuple[str, str]]) -> str:
        buttons = "".join(
            f'<button type="button" data-value="{value}" aria-pressed="{str(i == 0).lower()}"'
            f"{_needs(value, overlays)}>{text}</button>"
            for i, (value, text) in enumerate(options)
        )
        return f'<span class="segments" data-group="{group}">{buttons}</span>'

    window = segments("preset", [("lung", "Lung"), ("soft", "Soft tissue"), ("bone", "Bone")])
    overlay = segments("overlay", [("none", "None"), ("displacement", "Displacement"), ("uncertainty", "Uncertainty")])
    difference = ""
    if facts["hasTruth"]:
        difference = (
            '<span class="group"><span class="name">Difference</span><select id="versus" aria-label="Difference of">'
            '<option value="prediction">prediction − truth</option>'
            '<option value="persistence">last observed − truth</option></select>'
            '<select id="range" aria-label="Range of the difference"><option value="100">±100 HU</option>'
            '<option value="200" selected>±200 HU</option><option value="400">±400 HU</option></select></span>'
        )
    return (
        '<div class="controls"><div class="cycle">'
        '<button type="button" class="round" id="play" aria-pressed="false" aria-label="Play">'
        '<svg viewBox="0 0 16 16" aria-hidden="true"><path id="play-shape" d="M3 1l11 7-11 7z"/></svg></button>'
        f'<div class="scale"><div class="chips">{chips}</div>'
        f'<input type="range" id="phase" min="0" max="{count - 1}" value="0" aria-label="Phase of the cycle" '
        f'style="width:calc({100 * (count - 1) / count:.3f}% + 16px)"></div>'
        '<select id="speed" aria-label="Speed"><option value="0.5">½×</option><option value="1" selected>1×</option>'
        '<option value="2">2×</option></select></div>'
        f'<div class="options"><span class="group"><span class="name">Window</span>{window}'
        '<label>L <input type="number" id="level" value="-450" step="10"></label>'
        '<label>W <input type="number" id="width" value="1500" step="50" min="10"></label></span>'
        f'<span class="group"><span class="name">Overlay</span>{overlay}</span>'
        '<span class="group"><label class="check"><input type="checkbox" id="arrows" disabled '
        'data-needs="displacement"> Arrows</label><select id="scale" aria-label="Length of the arrows" disabled '
        'data-needs="displacement"><option value="1">×1</option><option value="2" selected>×2</option>'
        '<option value="4">×4</option></select></span>'
        '<label class="check"><input type="checkbox" id="cross" checked> Crosshair</label>'
        f"{difference}</div></div>"
    )


def _needs(value: str, overlays: Mapping[str, Any]) -> str:
    if value not in ("displacement", "uncertainty"):
        return ""
    return f' disabled data-needs="{value}"' + ("" if value in overlays else ' title="this method gives none"')


def _legends(facts: Mapping[str, Any]) -> str:
    entries = [("displacement", f"displacement from {facts['reference']}"), ("uncertainty", "uncertainty (1 SD)")]
    shown = [(f'id="legend-{n}" hidden', n, text) for n, text in entries if n in facts["ranges"]]
    if facts["hasTruth"]:
        shown.append(("", "difference", "difference: blue too low, red too high"))
    return (
        '<div class="legends">'
        + "".join(
            f'<div class="colourbar" {attributes} data-scale="{name}"><span class="what">{escape(text)}</span>'
            '<span class="end"></span><canvas aria-hidden="true"></canvas><span class="end"></span></div>'
            for attributes, name, text in shown
        )
        + "</div>"
    )


def _metrics(facts: Mapping[str, Any]) -> str:
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
    for (region, metric, unit), values in found.items():
        name = METRIC_NAMES.get(metric, metric.replace("_", " "))
        cells = "".join(f"<td>{number(values.get(label))}</td>" for label in labels)
        of_phases = [values[label] for label in labels if values.get(label) is not None]
        whole = values.get("all", sum(of_phases) / len(of_phases) if of_phases else None)
        lines.append(
            f'<tr><td>{escape(region)}</td><td class="left">{escape(name)}</td><td class="left">{escape(unit)}</td>'
            f"{cells}<td><b>{number(whole)}</b></td></tr>"
        )
    table = (
        f'<table><thead><tr><th>Region</th><th class="left">Metric</th><th class="left">Unit</th>{head}'
        f"<th>Mean or whole</th></tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )
    hint = "PSNR and SSIM are for a range of 4000 HU. Regions are those of the true phase."
    return card("Metrics", f'<div class="scroll">{table}</div><p class="hint">{hint}</p>')


def _parameters(facts: Mapping[str, Any]) -> dict[str, Any]:
    info = dict(facts["info"])
    nested = {"options": info.pop("options", {}), "details": facts["details"], "versions": info.pop("versions", {})}
    shown: dict[str, Any] = {"method": facts["method"], "reference phase": facts["reference"] or "none", **info}
    for name, values in nested.items():
        if isinstance(values, Mapping):
            shown |= {f"{name.removesuffix('s')}: {key}": value for key, value in values.items()}
    return shown
