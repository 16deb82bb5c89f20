"""The part of a page that shows the images: the breathing patient, with what controls it."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from rtmotion.report.data import ReportData
from rtmotion.report.page import card, json_script, packed

OVERLAY_HINT = (
    "Displacement: motion of the tissue from the reference phase to the phase shown; an arrow ends where the tissue "
    "is now. Uncertainty: one standard deviation of displacement. Both are averaged to voxels of about 5 mm for "
    "display. Images are 8 bits and compressed: measure in the files, not here. Keys: ← → phase, space play, "
    "1 2 3 window, D displacement, U uncertainty, A arrows; click an image to move the crosshair, then scroll or ↑ ↓."
)

SINGLE_HINT = (
    "One slice a view, {where}. The dashed lines show where the other views lie. Images are 8 bits and compressed: "
    "measure in the data, not here. Keys: ← → phase, space play, 1 2 3 window."
)

ARROWS = (
    '<span class="group"><label class="check"><input type="checkbox" id="arrows" disabled '
    'data-needs="displacement"> Arrows</label><select id="scale" aria-label="Length of the arrows" disabled '
    'data-needs="displacement"><option value="1">×1</option><option value="2" selected>×2</option>'
    '<option value="4">×4</option></select></span>'
)


def embedded(data: ReportData) -> str:
    """The script elements that hold what the viewer shows."""
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


def viewer(facts: Mapping[str, Any], overlays: Mapping[str, Any]) -> str:
    """The section with the images and what controls them.

    Args:
        facts: Of a ReportData. With `single` in it, each view has one slice and there are no overlays: their controls
            are left out.
        overlays: Of a ReportData.
    """
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
    words = SINGLE_HINT.format(where=facts["single"]) if "single" in facts else OVERLAY_HINT
    hint = f"{words} Voxels {size}, {spacing} mm.{tilt}"
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
    last = len(view["slices"]) - 1
    return (
        f'<div class="view" data-view="{name}"><div class="bar"><b>{name.capitalize()}</b>'
        f'<input type="range" min="0" max="{last}" value="{view["start"]}" {"" if last else "hidden"} '
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
    kinds = [("none", "None"), ("displacement", "Displacement"), ("uncertainty", "Uncertainty")]
    overlay = (
        ""
        if "single" in facts
        else f'<span class="group"><span class="name">Overlay</span>{segments("overlay", kinds)}</span>{ARROWS}'
    )
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
        f"{overlay}"
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
