"""The plots of a forecast's report, as plotly's dictionaries; colours are names that the page fills in."""

from collections.abc import Mapping, Sequence
from typing import Any

Figure = dict[str, Any]
Row = Mapping[str, Any]

REGION_COLOURS = ("var:predicted", "#e4792b", "#1aa37a", "#a259c4", "#d1495b", "#8c6d46")


def layout(x: str, y: str, **more: Any) -> Figure:
    """The layout that all plots share, with the titles of its axes."""
    axis = {"gridcolor": "var:line", "zerolinecolor": "var:line", "linecolor": "var:line", "automargin": True}
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "var:ink", "size": 13, "family": "system-ui, DejaVu Sans, Arial, sans-serif"},
        "margin": {"l": 60, "r": 16, "t": 34, "b": 50},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "var:soft", "activecolor": "var:ink"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 12}},
        "hoverlabel": {"font": {"size": 13}},
        "xaxis": {**axis, "title": {"text": x}, **more.pop("xaxis", {})},
        "yaxis": {**axis, "title": {"text": y}, **more.pop("yaxis", {})},
        **more,
    }


def forecast_figures(facts: Mapping[str, Any]) -> dict[str, Figure]:
    """The plots that the facts of a forecast allow, by name."""
    metrics, references = facts["metrics"], facts["references"]
    labels = [p["label"] for p in facts["phases"]]
    found = {
        "error": error_figure(metrics, references, facts["method"], "mae", "MAE, HU", labels),
        "tre": error_figure(metrics, references, facts["method"], "tre_mean", "TRE, mean, mm", labels),
        "waveform": waveform_figure(facts),
        "diaphragm": diaphragm_figure(facts),
        "uncertainty": histogram_figure(facts),
        "seconds": seconds_figure(facts["seconds"]),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


FIRST_REGIONS = ("body", "lung", "tumour")
PLOTTED_REGIONS = 3


def error_figure(
    rows: Sequence[Row],
    references: Mapping[str, Sequence[Row]],
    method: str,
    metric: str,
    title: str,
    labels: Sequence[str],
) -> Figure | None:
    """A metric per predicted phase: one colour a region, the method solid, other methods dashed.

    Body, lung and tumour come first, and no more than `PLOTTED_REGIONS` are drawn: the table has them all.
    """
    found = dict.fromkeys(r["region"] for r in rows if r["metric"] == metric and r["phase"] in labels)
    regions = sorted(found, key=lambda r: FIRST_REGIONS.index(r) if r in FIRST_REGIONS else len(FIRST_REGIONS))
    regions = regions[:PLOTTED_REGIONS]
    data = []
    for region, colour in zip(regions, _cycled(REGION_COLOURS, len(regions)), strict=True):
        for name, of_method in {method: rows, **references}.items():
            points = [(r["phase"], r["value"]) for r in of_method if (r["region"], r["metric"]) == (region, metric)]
            points = sorted((p for p in points if p[0] in labels), key=lambda p: labels.index(p[0]))
            if not points:
                continue
            own = name == method
            data.append(
                {
                    "type": "scatter",
                    "mode": "lines+markers",
                    "name": f"{clean(region)} · {clean(name)}",
                    "x": [p for p, _ in points],
                    "y": [v for _, v in points],
                    "line": {"color": colour, "dash": "solid" if own else "dot", "width": 2.5 if own else 1.6},
                    "marker": {"size": 8 if own else 5},
                    "opacity": 1.0 if own else 0.75,
                    "hovertemplate": "%{x}: %{y:.1f}",
                }
            )
    if not data:
        return None
    return {"data": data, "layout": layout("predicted phase", title, yaxis={"rangemode": "tozero"})}


def waveform_figure(facts: Mapping[str, Any]) -> Figure | None:
    """The expected waveform with its 80 % interval; what was observed is marked."""
    waveform = facts["waveform"]
    if waveform is None:
        return None
    percent = [100 * f for f in waveform["fraction"]]
    at, amplitude = zip(*waveform["observed"], strict=True) if waveform["observed"] else ((), ())
    band = {"type": "scatter", "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    data = [
        {**band, "x": percent, "y": waveform["high"], "showlegend": False},
        {
            **band,
            "x": percent,
            "y": waveform["low"],
            "fill": "tonexty",
            "fillcolor": "var:band",
            "name": "80 % interval",
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "expected",
            "x": percent,
            "y": waveform["mean"],
            "line": {"color": "var:predicted", "width": 2.5},
            "hovertemplate": "%{x:.0f} %: %{y:.2f}",
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "observed",
            "x": [100 * f for f in at],
            "y": list(amplitude),
            "marker": {"color": "var:truth", "size": 10, "line": {"color": "var:card", "width": 2}},
            "hovertemplate": "%{x:.0f} %: %{y:.2f}",
        },
    ]
    shapes = []
    if at:
        shapes.append(
            {
                "type": "rect",
                "xref": "x",
                "yref": "paper",
                "x0": 100 * min(at),
                "x1": 100 * max(at),
                "y0": 0,
                "y1": 1,
                "fillcolor": "var:track",
                "line": {"width": 0},
                "layer": "below",
            }
        )
    return {
        "data": data,
        "layout": layout("phase of the cycle, %", "amplitude of the first mode", shapes=shapes, xaxis={"dtick": 10}),
    }


def diaphragm_figure(facts: Mapping[str, Any]) -> Figure | None:
    """The SI displacement of the diaphragm in every phase."""
    motion = facts["diaphragm"]
    if motion is None:
        return None
    labels = [p["label"] for p in facts["phases"]]

    def points(values: Mapping[str, float]) -> tuple[list[str], list[float]]:
        shown = [label for label in labels if label in values]
        return shown, [values[label] for label in shown]

    data = []
    series = (
        ("observed", "observed", {"color": "var:observed", "size": 10, "symbol": "circle"}),
        ("truth", "true", {"color": "var:truth", "size": 10, "symbol": "circle-open", "line": {"width": 2}}),
        ("predicted", "predicted", {"color": "var:predicted", "size": 8, "symbol": "diamond"}),
    )
    for key, name, marker in series:
        x, y = points(motion[key])
        if not x:
            continue
        line = {"color": marker["color"], "width": 2.2 if key == "predicted" else 1.4}
        entry: Figure = {"type": "scatter", "mode": "lines+markers", "name": name, "x": x, "y": y}
        entry |= {"marker": marker, "line": line, "hovertemplate": "%{x}: %{y:.1f} mm"}
        if key == "truth":
            entry["line"] = {**line, "dash": "dot"}
        if key == "predicted" and motion["interval"]:
            sizes = [motion["interval"].get(label, 0.0) for label in x]
            entry["error_y"] = {"type": "data", "array": sizes, "color": "var:predicted", "thickness": 1.4, "width": 5}
        data.append(entry)
    title = "SI position, mm (+ superior)"
    return {
        "data": data,
        "layout": layout("phase", title, xaxis={"categoryorder": "array", "categoryarray": labels}),
    }


def histogram_figure(facts: Mapping[str, Any]) -> Figure | None:
    """How often each uncertainty of displacement occurs in the body."""
    found = facts["histogram"]
    if not found or not found["mm"]:
        return None
    bars = {
        "type": "bar",
        "x": found["mm"],
        "y": found["percent"],
        "marker": {"color": "var:predicted"},
        "hovertemplate": "%{x:.2f} mm: %{y:.1f} %",
        "showlegend": False,
    }
    marks = [(found["median"][0], "median"), (found["p95"][0], "95 %")]
    lines = [
        {
            "type": "line",
            "x0": v,
            "x1": v,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": {"color": "var:ink", "dash": "dot"},
        }
        for v, _ in marks
    ]
    texts = [
        {"x": v, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False, "text": f"{name} {v:.2f}"}
        for v, name in marks
    ]
    return {
        "data": [bars],
        "layout": layout(
            "one standard deviation of displacement, mm",
            "body voxels, %",
            bargap=0.05,
            shapes=lines,
            annotations=texts,
        ),
    }


def seconds_figure(seconds: Mapping[str, float]) -> Figure | None:
    """The wall time of each stage."""
    if not seconds:
        return None
    names = [clean(name) for name in seconds]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": list(seconds.values()),
        "text": [f"{s:.1f} s" if s >= 1 else f"{1000 * s:.0f} ms" for s in seconds.values()],
        "textposition": "auto",
        "marker": {"color": "var:reference"},
        "hovertemplate": "%{y}: %{x:.2f} s",
    }
    return {"data": [bars], "layout": layout("seconds", "", yaxis={"autorange": "reversed"}, showlegend=False)}


def _cycled(colours: Sequence[str], count: int) -> list[str]:
    return [colours[i % len(colours)] for i in range(count)]


def clean(text: object) -> str:
    """Text as plotly shows it: it reads a few HTML tags, so none may come from outside."""
    return str(text).replace("<", "‹").replace(">", "›")
