"""The heat map of a comparison: the skill of every method on every case."""

from collections.abc import Mapping, Sequence
from typing import Any

from rtmotion.report.figures import Figure, clean, layout

Entry = Mapping[str, Any]

SHOWN_SKILL = 1.0
"""Colours end at -1 and 1: what is worse than that is as dark."""

MOST_TEXT_CASES = 24
"""With more cases the numbers do not fit into the cells."""


def skill_figure(per_case: Sequence[Entry], styles: Mapping[str, Figure]) -> Figure | None:
    """One row a method, one column a case, one trace a number of observed phases.

    The rows of a trace are named in its `meta`, so that the page can leave some out.
    """
    cases = list(dict.fromkeys(str(c["case"]) for c in per_case))
    # plotly counts from below
    names = list(styles)[::-1]
    found = {(str(c["case"]), c["observe"], str(c["method"])): c for c in per_case}
    data = []
    for observe in sorted({c["observe"] for c in per_case}):
        cells = [[found.get((case, observe, name)) for case in cases] for name in names]
        skills = [[None if c is None else c["skill"] for c in row] for row in cells]
        if not any(s is not None for row in skills for s in row):
            continue
        data.append(
            {
                "type": "heatmap",
                "x": [clean(c) for c in cases],
                "y": [styles[name]["name"] for name in names],
                "z": skills,
                "text": [["" if s is None else f"{s:.2f}" for s in row] for row in skills],
                "customdata": [[_error(c) for c in row] for row in cells],
                "texttemplate": "%{text}" if len(cases) <= MOST_TEXT_CASES else "",
                "hovertemplate": "%{y}<br>%{x}: skill %{text}, %{customdata}<extra></extra>",
                "zmin": -SHOWN_SKILL,
                "zmax": SHOWN_SKILL,
                "colorscale": [
                    [0, "#b4552d"],
                    [0.25, "#e3a98a"],
                    [0.5, "var:track"],
                    [0.75, "#86b4ea"],
                    [1, "#1c5fc0"],
                ],
                "colorbar": {"title": {"text": "skill"}, "thickness": 12, "outlinewidth": 0},
                "xgap": 2,
                "ygap": 2,
                "meta": {"k": observe, "rows": [styles[name]["meta"] for name in names]},
            }
        )
    axis = {"type": "category", "showgrid": False}
    return {"data": data, "layout": layout("", "", xaxis={**axis, "tickangle": -30}, yaxis=axis)} if data else None


def _error(score: Entry | None) -> str:
    return "no error" if score is None or score["error"] is None else f"MAE {score['error']:.1f} HU"
