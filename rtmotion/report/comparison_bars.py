"""The plots of a comparison with one row a method: differences with their intervals, seconds, memory.

The rows of a trace are named in its `meta`, so that the page can leave some out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rtmotion.report.figures import Figure, clean, layout

Entry = Mapping[str, Any]

STAGE_COLOURS = ("#3f7fd0", "#e4792b", "#1aa37a", "#a259c4", "#d1495b", "#8c6d46", "#2aa7c9", "#b8860b")
OTHER = "other"
SCORING = "evaluate"
SECONDS = "stages_seconds"
MEMORY = "stages_memory_mb"

LEAST_SECONDS = 0.01
"""Stages that no method spends more on are left out."""


def difference_figure(entries: Sequence[Entry], styles: Mapping[str, Figure]) -> Figure | None:
    """The difference to the best trivial baseline; only where there are patients enough."""
    competing = [e for e in entries if e["kind"] != "bound"]
    return _forest(competing, styles, "MAE minus that of the best trivial baseline, HU (left of 0 is better)")


def against_figure(against: Sequence[Entry], styles: Mapping[str, Figure]) -> Figure | None:
    """Every method held against the best predictor; only where there are patients enough."""
    best = next((name for name in styles if any(a["against"] == name for a in against)), None)
    rows = [a for a in against if a["against"] == best]
    return _forest(rows, styles, f"MAE minus that of {clean(best)}, HU (right of 0 is worse)")


def _forest(entries: Sequence[Entry], styles: Mapping[str, Figure], title: str) -> Figure | None:
    """Mean differences with their 95 % intervals, one row a method."""
    data = []
    for observe in sorted({e["observe"] for e in entries}):
        rows = [e for e in _rows(entries, styles, observe) if e["interval"] is not None]
        if not rows:
            continue
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [e["difference"] for e in rows],
                "y": [styles[e["method"]]["name"] for e in rows],
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [e["interval"][1] - e["difference"] for e in rows],
                    "arrayminus": [e["difference"] - e["interval"][0] for e in rows],
                    "color": "var:soft",
                    "thickness": 1.6,
                    "width": 4,
                },
                "marker": {"size": 10, "color": [styles[e["method"]]["marker"]["color"] for e in rows]},
                "customdata": [_interval_and_p(e) for e in rows],
                "hovertemplate": "%{y}: %{x:+.2f} HU, %{customdata}<extra></extra>",
                "showlegend": False,
                "meta": {"k": observe, "rows": [styles[e["method"]]["meta"] for e in rows]},
            }
        )
    line = {"color": "var:ink", "width": 1}
    zero = {"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper", "line": line}
    return {"data": data, "layout": layout(title, "", yaxis=_methods(), shapes=[zero])} if data else None


def stages_figure(entries: Sequence[Entry], styles: Mapping[str, Figure]) -> Figure | None:
    """Seconds of a forecast by stage, mean over cases; what belongs to no stage is `other`."""
    colours = _stage_colours(entries)
    data = []
    for observe in sorted({e["observe"] for e in entries}):
        rows = [e for e in _rows(entries, styles, observe) if e["seconds"] is not None]
        parts = {stage: [_stages(e, SECONDS).get(stage, 0.0) for e in rows] for stage in colours}
        rest = [e["seconds"] - sum(values[i] for values in parts.values()) for i, e in enumerate(rows)]
        parts[OTHER] = [max(0.0, r) for r in rest]
        for stage, values in parts.items():
            if all(v < LEAST_SECONDS for v in values):
                continue
            data.append(
                {
                    **_bars(rows, styles, observe, values),
                    "name": clean(stage),
                    "marker": {"color": colours.get(stage, "var:reference")},
                    "hovertemplate": f"%{{y}}: %{{x:.2f}} s<extra>{clean(stage)}</extra>",
                }
            )
    around = layout("seconds for a forecast, mean over cases", "", yaxis=_methods(), barmode="stack", bargap=0.3)
    around["legend"] = {**around["legend"], "traceorder": "normal"}
    return {"data": data, "layout": around} if data else None


def memory_figure(entries: Sequence[Entry], styles: Mapping[str, Figure]) -> Figure | None:
    """The largest resident memory of the process while it forecast, over cases; marks: in each stage."""
    colours = _stage_colours(entries)
    data = []
    for observe in sorted({e["observe"] for e in entries}):
        rows = [e for e in _rows(entries, styles, observe) if e["error"] is not None and e["peak_memory_mb"]]
        if not rows:
            continue
        data.append(
            {
                **_bars(rows, styles, observe, [e["peak_memory_mb"] for e in rows]),
                "name": "whole forecast",
                "marker": {"color": "var:reference"},
                "hovertemplate": "%{y}: %{x:.0f} MiB<extra>whole forecast</extra>",
            }
        )
        for stage, colour in colours.items():
            having = [e for e in rows if stage in _stages(e, MEMORY)]
            if having:
                marks = _bars(having, styles, observe, [_stages(e, MEMORY)[stage] for e in having])
                data.append(
                    {
                        **marks,
                        "type": "scatter",
                        "mode": "markers",
                        "name": clean(stage),
                        "marker": {
                            "color": colour,
                            "size": 9,
                            "symbol": "line-ns",
                            "line": {"color": colour, "width": 3},
                        },
                        "hovertemplate": f"%{{y}}: %{{x:.0f}} MiB<extra>{clean(stage)}</extra>",
                    }
                )
    around = layout("peak memory of the process, MiB", "", yaxis=_methods(), bargap=0.3)
    return {"data": data, "layout": around} if data else None


def _rows(entries: Sequence[Entry], styles: Mapping[str, Figure], observe: int) -> list[Entry]:
    """The entries of one k, last method first: plotly counts from below."""
    found = {str(e["method"]): e for e in entries if e["observe"] == observe}
    return [found[name] for name in reversed(list(styles)) if name in found]


def _bars(rows: Sequence[Entry], styles: Mapping[str, Figure], observe: int, values: Sequence[float]) -> Figure:
    return {
        "type": "bar",
        "orientation": "h",
        "x": list(values),
        "y": [styles[e["method"]]["name"] for e in rows],
        "meta": {"k": observe, "rows": [styles[e["method"]]["meta"] for e in rows]},
    }


def _stages(entry: Entry, quantity: str) -> dict[str, float]:
    """Seconds or memory by stage, where the summary has them; without the scoring, which is not the method's."""
    found = entry.get(quantity) or {}
    return {str(name): float(value) for name, value in found.items() if value is not None and name != SCORING}


def _stage_colours(entries: Sequence[Entry]) -> dict[str, str]:
    """The stages that take longest over all methods, as many as there are colours."""
    total: dict[str, float] = {}
    for entry in entries:
        for name, seconds in _stages(entry, SECONDS).items():
            total[name] = total.get(name, 0.0) + seconds
    longest = sorted(total, key=lambda name: -total[name])
    return dict(zip(longest, STAGE_COLOURS, strict=False))


def _interval_and_p(entry: Entry) -> str:
    interval = f"95 % interval {entry['interval'][0]:+.1f} to {entry['interval'][1]:+.1f}"
    return interval if entry["p_holm"] is None else f"{interval}, p = {entry['p_holm']:.3f} (Holm)"


def _methods() -> Figure:
    return {"type": "category", "showgrid": False, "ticklabelstandoff": 6}
