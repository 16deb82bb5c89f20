"""What the tables of a comparison are made of: headings with units, rows that can be filtered, bounds apart."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rtmotion.report.method_styles import KINDS, kind_rank
from rtmotion.report.page import table

Entry = Mapping[str, Any]

ANSWER_KNOWN = "Bounds: they know the answer, and show what is left to gain. Not to be compared with the methods above."


def grouped_table(head: str, lines: Sequence[str], bounds: Sequence[str], width: int) -> str:
    """A table whose bounds stay below, whatever it is sorted by."""
    below = ""
    if bounds:
        title = f'<tr class="apart"><td colspan="{width}">{ANSWER_KNOWN}</td></tr>'
        below = f'<tbody class="bounds">{title}{"".join(bounds)}</tbody>'
    return table(head, lines).replace("</tbody></table>", f"</tbody>{below}</table>")


def heads(columns: Sequence[tuple[str, str, str]], left: int = 1, also: Sequence[str] = ()) -> str:
    """The header's cells of columns (name, unit, what it is), the first ones set to the left."""
    found = []
    for i, (name, unit, what) in enumerate(columns):
        side = ' class="left"' if i < left or name in also else ""
        title = f' title="{escape(what, quote=True)}"' if what else ""
        small = f" <small>{escape(unit)}</small>" if unit else ""
        found.append(f"<th{side}{title}>{escape(name)}{small}</th>")
    return "".join(found)


def row_of(method: str, kind: str, observe: int | None = None, case: str | None = None) -> str:
    """The opening tag of a row, with what the page filters by."""
    known = {"k": observe, "kind": kind, "method": method, "case": case}
    data = "".join(f' data-{name}="{escape(str(v), quote=True)}"' for name, v in known.items() if v is not None)
    return f"<tr{' class=aside' if kind in ('trivial', 'bound') else ''}{data}>"


def kind_cell(entry: Entry) -> str:
    """The cell that says what kind a method is, and that it counts as trivial where its kind does not say so."""
    kind = str(entry["kind"])
    tag = f'<span class="tag {escape(kind)}" title="{escape(KINDS.get(kind, ""))}">{escape(kind)}</span>'
    if entry.get("trivial") and kind != "trivial":
        tag += ' <span class="tag" title="one of those that every method has to beat">trivial</span>'
    return f'<td class="left" data-value="{kind_rank(kind)}">{tag}</td>'


def skill_text(value: float | None) -> str:
    """The skill with two digits; a dash where there is none."""
    return "–" if value is None else f"{value:.2f}"


def signed(value: float | None) -> str:
    """The value with its sign and two digits; a dash where there is none."""
    return "–" if value is None else f"{value:+.2f}"


def p_text(value: float | None) -> str:
    """A p-value with three digits; a dash where there is none."""
    return "–" if value is None else f"{value:.3f}" if value >= 0.001 else "<0.001"
