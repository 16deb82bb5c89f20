"""Puts a page together: one file with its style, script, data and plotly inside, that asks nothing of a network."""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import rtmotion
from rtmotion.report.figures import Figure

RESEARCH_ONLY = "Research use only – not a medical device"


def page(title: str, header: str, body: str, figures: Mapping[str, Figure], data: str, scripts: Sequence[str]) -> str:
    """The HTML of a page.

    Args:
        title: Text of the window's title.
        header: HTML of the header, its texts escaped.
        body: HTML of the page's content, its texts escaped.
        figures: Plots by name; they go where an element has that name in `data-figure`.
        data: HTML of the script elements that hold the page's data.
        scripts: Names of the scripts in `static/` that run the page, in their order.
    """
    running = "".join(f"<script>{static(name)}</script>\n" for name in ("common.js", *scripts))
    plots = f'<script type="text/plain" id="plotly">{plotly_library()}</script>' if figures else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="rtmotion {escape(rtmotion.__version__)}">
<link rel="icon" href="data:,">
<title>{escape(title)}</title>
<style>{static("page.css")}</style>
</head>
<body>
<header class="top">{header}<div class="notice" role="note">{RESEARCH_ONLY}</div></header>
<main>
{body}
</main>
<footer>rtmotion {escape(rtmotion.__version__)}. {RESEARCH_ONLY}. This page holds everything it shows and works without
a network.</footer>
{data}
{json_script("figures", figures)}
{plots}
{running}</body>
</html>
"""


def json_script(name: str, value: Any) -> str:
    """A script element that holds JSON; no text in it can end the element."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script type="application/json" id="{name}">{safe}</script>'


def static(name: str) -> str:
    """A file of the package's `static` folder."""
    return files("rtmotion.report").joinpath("static", name).read_text(encoding="utf-8")


@cache
def plotly_library() -> str:
    """plotly.min.js of the installed plotly, gzip and base64: 2 MB instead of 5, unpacked by the browser."""
    import plotly

    source = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    return packed(source.read_bytes())


def packed(content: bytes) -> str:
    """Bytes as gzip in base64, the same every time."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def card(title: str, content: str, classes: str = "") -> str:
    """A section with a heading (text) and its content (HTML); nothing where there is no content."""
    return f'<section class="card {classes}"><h2>{escape(title)}</h2>{content}</section>' if content else ""


def plot_card(title: str, name: str, figures: Mapping[str, Figure], hint: str = "", classes: str = "") -> str:
    """A section with a plot and a hint (text) under it; nothing where there is no such plot."""
    if name not in figures:
        return ""
    note = f'<p class="hint">{escape(hint)}</p>' if hint else ""
    label = escape(title, quote=True)
    return card(title, f'<div class="plot {classes}" data-figure="{name}" role="img" aria-label="{label}"></div>{note}')


def bullets(texts: Sequence[str]) -> str:
    """A list of texts."""
    return f"<ul>{''.join(f'<li>{escape(str(t))}</li>' for t in texts)}</ul>" if texts else ""


def pairs(values: Mapping[str, Any]) -> str:
    """A table of names and values; a list of plain values is joined by commas, other lists and mappings are JSON."""
    rows = []
    for name, value in values.items():
        simple = isinstance(value, list) and not any(isinstance(v, (dict, list)) for v in value)
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
        text = ", ".join(map(str, value)) if simple else text
        rows.append(f'<tr><td class="left">{escape(str(name))}</td><td class="wrap">{escape(text)}</td></tr>')
    return f"<table><tbody>{''.join(rows)}</tbody></table>" if rows else ""


def tiles(values: Sequence[tuple[str, str]]) -> str:
    """Figures at a glance: value and what it is."""
    shown = "".join(f'<div class="tile"><b>{escape(v)}</b><span>{escape(n)}</span></div>' for n, v in values)
    return f'<div class="tiles">{shown}</div>'


def cell(value: float | None, classes: str = "", text: str | None = None) -> str:
    """A cell of a sortable table.

    Args:
        value: What it is sorted by, to six digits; None comes last, whichever way the table is sorted.
        classes: CSS classes.
        text: What is shown; None shows the number.
    """
    sort = "" if value is None else f"{value:.6g}"
    shown = number(value) if text is None else text
    names = f' class="{escape(classes, quote=True)}"' if classes else ""
    return f'<td{names} data-value="{sort}">{escape(shown)}</td>'


def table(head: str, lines: Sequence[str], classes: str = "") -> str:
    """A table that is sorted by a click on its header.

    Args:
        head: HTML of the header's cells.
        lines: HTML of the rows.
        classes: Of the box that scrolls: `long` keeps it low.
    """
    return (
        f'<div class="scroll {classes}"><table class="sortable"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def number(value: float | None) -> str:
    """A number with three to four significant digits; a dash where there is none.

    >>> number(42.26), number(0.91234), number(None)
    ('42.3', '0.912', '–')
    """
    if value is None:
        return "–"
    digits = next((d for d, limit in ((0, 1000), (1, 10), (2, 1)) if abs(value) >= limit), 3)
    return f"{value:.{digits}f}"
