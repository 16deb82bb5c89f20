"""The line plots of a comparison, as plotly's dictionaries; colours are names that the page fills in.

Every trace says in `meta` what it shows (`method`, `kind`, and `k` where it is of one number of observed phases), so
that the page can choose.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rtmotion.report.comparison_bars import against_figure, difference_figure, memory_figure, stages_figure
from rtmotion.report.comparison_heat import skill_figure
from rtmotion.report.figures import Figure, layout
from rtmotion.report.method_styles import method_styles

Entry = Mapping[str, Any]

SHORTEST_SECONDS = 1e-3
"""Whatever is quicker is drawn here: a copy takes no time, and the axis has no end."""

REPEAT_4DCT_MM = 1.97
"""Tumour centre in two 4D CTs of one patient, in the literature: motion is not known better than this."""


def comparison_figures(summary: Mapping[str, Any]) -> dict[str, Figure]:
    """The plots that a comparison's summary allows, by name."""
    entries = summary["summary"]
    styles = method_styles(entries)
    steps = {"dtick": 1}
    landmarks = layout("phases ahead", "TRE, mean, mm", xaxis=steps, yaxis={"rangemode": "tozero"}, **_floor())
    found = {
        "observe": _over_observe(entries, styles),
        "horizon": _horizon(
            entries, styles, "body_mae", "HU", layout("phases ahead", "MAE in the body, HU", xaxis=steps)
        ),
        "horizon_tre": _horizon(entries, styles, "landmarks_tre_mean", "mm", landmarks),
        "skill": skill_figure(summary["per_case"], styles),
        "cost": _cost(entries, styles),
        "difference": difference_figure(entries, styles),
        "against": against_figure(summary.get("against", ()), styles),
        "stages": stages_figure(entries, styles),
        "memory": memory_figure(entries, styles),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def _over_observe(entries: Sequence[Entry], styles: Mapping[str, Figure]) -> Figure | None:
    """The error against the number of observed phases; nothing where there is one alone."""
    data = []
    for name, style in styles.items():
        points = sorted((e["observe"], e["error"]) for e in entries if e["method"] == name and e["error"] is not None)
        if points:
            data.append({**_line(points, "HU"), **style})
    if len({e["observe"] for e in entries}) < 2 or not data:
        return None
    return {
        "data": data,
        "layout": _legend_right(layout("observed phases (k)", "MAE in the body, HU", xaxis={"dtick": 1})),
    }


def _horizon(
    entries: Sequence[Entry], styles: Mapping[str, Figure], quantity: str, unit: str, around: Figure
) -> Figure | None:
    """A metric against the number of phases ahead."""
    data = []
    for name, style in styles.items():
        for entry in (e for e in entries if e["method"] == name):
            points = [(h["ahead"], h[quantity]) for h in entry["horizon"] if h.get(quantity) is not None]
            if points:
                data.append({**_line(points, unit), **_of(style, entry)})
    return {"data": data, "layout": _legend_right(around)} if data else None


def _cost(entries: Sequence[Entry], styles: Mapping[str, Figure]) -> Figure | None:
    """Error against computing time; a line joins what is beaten in both by no other method."""
    data: list[Figure] = []
    for observe in sorted({e["observe"] for e in entries}):
        shown = [e for e in entries if e["observe"] == observe and e["error"] is not None and e["seconds"]]
        front = _front([e for e in shown if e["kind"] != "bound"])
        if front:
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": [_drawn(e) for e in front],
                    "y": [e["error"] for e in front],
                    "line": {"color": "var:line", "width": 6, "shape": "hv"},
                    "name": "not beaten in both",
                    "hoverinfo": "skip",
                    "meta": {"k": observe},
                }
            )
        for entry in sorted(shown, key=lambda e: list(styles).index(e["method"])):
            style = styles[entry["method"]]
            size = style["marker"]["size"] + 4
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": [_drawn(entry)],
                    "y": [entry["error"]],
                    **_of(style, entry),
                    "marker": {**style["marker"], "size": size},
                    "customdata": [entry["seconds"]],
                    "hovertemplate": "%{customdata:.3g} s, %{y:.1f} HU<extra>%{fullData.name}</extra>",
                }
            )
    around = layout(
        "seconds for a forecast", "MAE in the body, HU", xaxis={"type": "log", "dtick": 1, "exponentformat": "none"}
    )
    return {"data": data, "layout": _legend_right(around)} if data else None


def _drawn(entry: Entry) -> float:
    return max(float(entry["seconds"]), SHORTEST_SECONDS)


def _front(entries: Sequence[Entry]) -> list[Entry]:
    """The entries that no other beats both in error and in seconds, quickest first."""
    front: list[Entry] = []
    for entry in sorted(entries, key=lambda e: (e["seconds"], e["error"])):
        if not front or entry["error"] < front[-1]["error"]:
            front.append(entry)
    return front


def _of(style: Figure, entry: Entry) -> Figure:
    """The looks of a method, for one number of observed phases."""
    return {**style, "meta": {**style["meta"], "k": entry["observe"]}}


def _line(points: Sequence[tuple[float, float]], unit: str) -> Figure:
    x, y = zip(*points, strict=True)
    hover = f"%{{x}}: %{{y:.2f}} {unit}<extra>%{{fullData.name}}</extra>"
    return {"type": "scatter", "mode": "lines+markers", "x": list(x), "y": list(y), "hovertemplate": hover}


def _floor() -> Figure:
    """The line below which nobody can tell: the repeat of the 4D CT itself."""
    line = {"color": "#d1495b", "dash": "dashdot", "width": 1.5}
    at = {"xref": "paper", "y0": REPEAT_4DCT_MM, "y1": REPEAT_4DCT_MM}
    text = {
        "text": f"repeat 4D CT {REPEAT_4DCT_MM} mm",
        "xref": "paper",
        "x": 1,
        "xanchor": "right",
        "showarrow": False,
    }
    return {
        "shapes": [{"type": "line", "x0": 0, "x1": 1, "line": line, **at}],
        "annotations": [{**text, "y": REPEAT_4DCT_MM, "yanchor": "bottom", "font": {"size": 11}}],
    }


def _legend_right(around: Figure) -> Figure:
    legend = {"orientation": "v", "x": 1.01, "y": 1, "yanchor": "top", "font": {"size": 11}}
    return {**around, "legend": legend, "hovermode": "closest"}
