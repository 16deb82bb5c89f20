"""The sections of a comparison's page that its reader chooses in: what is shown, pictures, plots, metrics."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from rtmotion.report.figures import Figure
from rtmotion.report.forecast_parts import region_rank
from rtmotion.report.gallery import missing_pictures
from rtmotion.report.method_styles import KINDS, kind_rank
from rtmotion.report.page import card, plot_card
from rtmotion.report.table_parts import Entry

LINES = "Dotted grey: trivial baselines. Dashed: bounds, which know the answer. Click a name to hide or show its line."
TOO_FEW = (
    "With fewer than 6 cases there are no intervals and no p-values: the patient is the unit. The numbers of each case "
    "stand below."
)


def chooser(summary: Mapping[str, Any]) -> str:
    """The bar that says which k and which methods the whole page shows."""
    known = sorted({e["observe"] for e in summary["summary"]})
    kinds = sorted({str(e["kind"]) for e in summary["summary"]}, key=kind_rank)
    ks = "".join(f'<button type="button" data-value="{int(k)}">{int(k)}</button>' for k in known)
    ks += (
        '<button type="button" data-value="all" title="tables show all, plots the one before">all</button>'
        if len(known) > 1
        else ""
    )
    toggles = "".join(
        f'<label class="check" title="{escape(KINDS.get(kind, ""))}"><input type="checkbox" data-kind="{escape(kind)}" '
        f'checked><span class="tag {escape(kind)}">{escape(kind)}</span></label>'
        for kind in kinds
    )
    return (
        '<div class="chooser" role="toolbar" aria-label="What is shown"><span class="group"><span class="name">'
        f'Observed phases k</span><span class="segments" data-group="k">{ks}</span></span>'
        f'<span class="group">{toggles}</span><span class="group"><input type="search" id="filter" '
        'placeholder="method name" aria-label="Show methods whose name contains"></span>'
        '<span class="group"><span class="name">Lines in plots</span><span class="segments" data-group="lines">'
        '<button type="button" data-value="main">main</button><button type="button" data-value="all">all</button>'
        "</span></span></div>"
    )


def side_by_side(sets: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> str:
    """The section where the forecasts of all methods stand beside the true phase; nothing without pictures."""
    if not sets:
        return ""
    cases = list(dict.fromkeys(str(s["case"]) for s in sets))
    options = "".join(f'<option value="{escape(c, quote=True)}">{escape(c)}</option>' for c in cases)
    controls = (
        f'<div class="options"><label>Case <select id="gallery-case">{options}</select></label>'
        '<label>Show <select id="gallery-show"><option value="both">forecast and difference</option>'
        '<option value="prediction">forecast</option><option value="difference">difference</option></select></label>'
        '<label>Difference <select id="gallery-range"><option value="100">±100 HU</option>'
        '<option value="200" selected>±200 HU</option><option value="400">±400 HU</option></select></label>'
        '<span id="gallery-what" class="hint"></span></div>'
    )
    hint = (
        "The same coronal slice of the true phase and of each forecast, in the future phase that differs most from the "
        "last observed one; difference: prediction − truth, blue too low, red too high. Lung window (level −450, width "
        f"1500 HU), 8 bits and compressed. A click opens the forecast. {missing_pictures(sets, summary)}"
    )
    return card("Side by side", f'{controls}<div id="gallery-shown"></div><p class="hint">{escape(hint)}</p>')


def line_plots(figures: Mapping[str, Figure]) -> list[str]:
    """The sections of the plots with a line or mark a method, with what each means."""
    floor = "Red: how far the tumour lies apart in two 4D CTs of one patient; a difference below it means little."
    front = "Broad line: methods that no other beats both in error and in time."
    return [
        '<div class="plots">',
        plot_card("Error and number of observed phases", "observe", figures, LINES, "tall every"),
        plot_card("Error and horizon", "horizon", figures, LINES, "tall"),
        plot_card("Landmark error and horizon", "horizon_tre", figures, f"{LINES} {floor}", "tall"),
        plot_card("Error and computing time", "cost", figures, front, "tall"),
        "</div>",
    ]


def method_plots(figures: Mapping[str, Figure], entries: Sequence[Entry]) -> list[str]:
    """The sections of the plots with a row a method: skill, statistics (or why there are none), time, memory."""
    skill = (
        "0: no better than the best trivial baseline of that case, 1: as good as the warp fitted to the true phases."
    )
    beside = "Mean over cases with its 95 % bootstrap interval over patients; p by paired permutation, Holm-adjusted."
    statistics = plot_card("Difference to the best trivial baseline", "difference", figures, beside, "rows")
    if not statistics and any(e["error"] is not None for e in entries):
        statistics = card("Statistics", f"<p>{escape(TOO_FEW)}</p>")
    return [
        plot_card("Skill on every case", "skill", figures, skill, "rows"),
        statistics,
        plot_card("Difference to the best predictor", "against", figures, beside, "rows"),
        '<div class="plots">',
        plot_card(
            "Computing time", "stages", figures, "Wall time on the machine of this comparison, without scoring.", "rows"
        ),
        plot_card(
            "Memory",
            "memory",
            figures,
            "Of the whole process, the case's volumes included. Marks: in each stage.",
            "rows",
        ),
        "</div>",
    ]


def metrics_card(metrics: Mapping[str, Any]) -> str:
    """The section whose table the page builds for the region that is chosen."""
    if not metrics["rows"]:
        return ""
    regions = sorted(metrics["regions"], key=lambda r: (region_rank(r), r))
    options = "".join(
        f'<option value="{escape(r, quote=True)}">{escape(r.replace("_", " "))}</option>' for r in regions
    )
    choice = f'<div class="options"><label>Region <select id="metrics-region">{options}</select></label></div>'
    hint = "Means over the future phases of a case, then over cases. PSNR and SSIM are for a range of 4000 HU."
    return card("Every metric", f'{choice}<div id="metrics-shown"></div><p class="hint">{hint}</p>')


def case_choice(cases: Sequence[Any]) -> str:
    """What chooses the case of the table of every forecast; nothing where there is one case."""
    if len(cases) < 2:
        return ""
    options = "".join(f'<option value="{escape(str(c), quote=True)}">{escape(str(c))}</option>' for c in cases)
    return (
        '<div class="options"><label>Case <select id="case"><option value="">all cases</option>'
        f"{options}</select></label></div>"
    )
