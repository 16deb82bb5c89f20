"""The plots of a comparison, as plotly's dictionaries; colours are names that the page fills in."""

from collections.abc import Mapping, Sequence
from typing import Any

from rtmotion.report.figures import Figure, clean, layout

Entry = Mapping[str, Any]

COLOURS = ("var:predicted", "#e4792b", "#1aa37a", "#a259c4", "#d1495b", "#8c6d46", "#2aa7c9", "#b8860b")
REPEAT_4DCT_MM = 1.97
"""Tumour centre in two 4D CTs of one patient, in the literature: motion is not known better than this."""

DASHES = {"trivial": "dot", "bound": "dash"}


def comparison_figures(summary: Mapping[str, Any]) -> dict[str, Figure]:
    """The plots that a comparison's summary allows, by name."""
    entries = summary["summary"]
    styles = _styles(entries)
    found = {
        "observe": _over_observe(entries, styles),
        "horizon": _menu(
            entries, styles, "body_mae", layout("phases ahead", "MAE in the body, HU", xaxis={"dtick": 1})
        ),
        "horizon_tre": _menu(
            entries,
            styles,
            "landmarks_tre_mean",
            layout("phases ahead", "TRE, mean, mm", xaxis={"dtick": 1}, yaxis={"rangemode": "tozero"}, **_floor()),
        ),
        "cases": _cases(summary["per_case"], styles),
        "cost": _cost(entries, styles),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def _styles(entries: Sequence[Entry]) -> dict[str, Figure]:
    """Method to the looks of its line: a colour where it competes, grey where it is trivial or a bound."""
    styles: dict[str, Figure] = {}
    competing = 0
    for entry in entries:
        name, kind = str(entry["method"]), entry["kind"]
        if name in styles:
            continue
        aside = kind in DASHES
        colour = "var:reference" if kind == "trivial" else "var:truth" if aside else COLOURS[competing % len(COLOURS)]
        competing += not aside
        label = f"{clean(name)} ({kind})" if aside else clean(name)
        styles[name] = {
            "name": label,
            "legendgroup": clean(name),
            "line": {"color": colour, "dash": DASHES.get(kind, "solid"), "width": 1.5 if aside else 2.6},
            "marker": {"color": colour, "size": 5 if aside else 8},
        }
    return styles


def _over_observe(entries: Sequence[Entry], styles: Mapping[str, Figure]) -> Figure | None:
    data = []
    for name, style in styles.items():
        points = [(e["observe"], e["error"]) for e in entries if e["method"] == name and e["error"] is not None]
        if points:
            x, y = zip(*sorted(points), strict=True)
            data.append(
                {"type": "scatter", "mode": "lines+markers", "x": list(x), "y": list(y), **style, **_hover("HU")}
            )
    more: Figure = {"hovermode": "closest", **_legend_right()}
    return (
        {"data": data, "layout": layout("observed phases (k)", "MAE, HU", xaxis={"dtick": 1}, **more)} if data else None
    )


def _menu(entries: Sequence[Entry], styles: Mapping[str, Figure], quantity: str, around: Figure) -> Figure | None:
    """Error versus horizon, with a menu that chooses k."""
    data, of_k = [], []
    for entry in entries:
        points = [(h["ahead"], h[quantity]) for h in entry["horizon"] if h.get(quantity) is not None]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        unit = "mm" if "tre" in quantity else "HU"
        line = {"type": "scatter", "mode": "lines+markers", "x": list(x), "y": list(y)}
        data.append({**line, **styles[entry["method"]], **_hover(unit)})
        of_k.append(entry["observe"])
    return _with_menu(data, of_k, around)


def _cases(per_case: Sequence[Entry], styles: Mapping[str, Figure]) -> Figure | None:
    """The error of every method on every case, with a menu that chooses k."""
    data, of_k = [], []
    for observe in sorted({c["observe"] for c in per_case}):
        for name, style in styles.items():
            of_method = [
                c for c in per_case if (c["observe"], c["method"]) == (observe, name) and c["error"] is not None
            ]
            if of_method:
                points = {"x": [clean(c["case"]) for c in of_method], "y": [c["error"] for c in of_method]}
                data.append({"type": "scatter", "mode": "markers", **points, **style, **_hover("HU")})
                of_k.append(observe)
    return _with_menu(
        data,
        of_k,
        layout("", "MAE in the body, HU", xaxis={"type": "category", "range": [-0.6, len(_names(per_case)) - 0.4]}),
    )


def _names(per_case: Sequence[Entry]) -> list[str]:
    return list(dict.fromkeys(str(c["case"]) for c in per_case))


def _cost(entries: Sequence[Entry], styles: Mapping[str, Figure]) -> Figure | None:
    """Error against computing time, with a menu that chooses k."""
    data, of_k = [], []
    for entry in entries:
        if entry["error"] is None or not entry["seconds"]:
            continue
        style = styles[entry["method"]]
        point = {"x": [entry["seconds"]], "y": [entry["error"]], "mode": "markers"}
        hover = {"hovertemplate": "%{x:.2f} s, %{y:.1f} HU<extra>%{fullData.name}</extra>"}
        marker = {**style["marker"], "size": 9 if style["marker"]["size"] == 5 else 13}
        data.append({"type": "scatter", **point, **style, "marker": marker, **hover})
        of_k.append(entry["observe"])
    return _with_menu(
        data, of_k, layout("seconds for a forecast", "MAE in the body, HU", xaxis={"type": "log", "dtick": 1})
    )


def _with_menu(data: list[Figure], of_k: Sequence[int], around: Figure) -> Figure | None:
    """The figure with one button a number of observed phases; the middle one is shown first."""
    if not data:
        return None
    known = sorted(set(of_k))
    first = 5 if 5 in known else known[len(known) // 2]
    for trace, k in zip(data, of_k, strict=True):
        trace["visible"] = k == first
    buttons = [
        {"label": f"k = {k}", "method": "restyle", "args": [{"visible": [other == k for other in of_k]}]} for k in known
    ]
    menu = {
        "type": "buttons",
        "direction": "right",
        "active": known.index(first),
        "buttons": buttons,
        "x": 0,
        "xanchor": "left",
        "y": 1.02,
        "yanchor": "bottom",
        "bgcolor": "var:card",
        "bordercolor": "var:line",
        "font": {"size": 12, "color": "var:ink"},
        "pad": {"b": 4, "t": 0, "l": 0, "r": 0},
    }
    more = {"updatemenus": [menu]} if len(known) > 1 else {}
    return {"data": data, "layout": {**around, **_legend_right(), "hovermode": "closest", **more}}


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


def _legend_right() -> Figure:
    return {"legend": {"orientation": "v", "x": 1.01, "y": 1, "yanchor": "top", "font": {"size": 11}}}


def _hover(unit: str) -> Figure:
    return {"hovertemplate": f"%{{x}}: %{{y:.2f}} {unit}<extra>%{{fullData.name}}</extra>"}
