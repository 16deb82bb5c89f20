"""The page of one forecast."""

from html import escape
from pathlib import Path

from rtmotion.report.data import ReportData, page_path, write_text
from rtmotion.report.figures import forecast_figures
from rtmotion.report.forecast_parts import CANNOT_KNOW, at_a_glance, metrics_card, parameters
from rtmotion.report.page import bullets, card, page, pairs, plot_card, tiles
from rtmotion.report.viewer import embedded, viewer


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
            tiles(at_a_glance(facts, observed)),
            card("What to know of this forecast", bullets(facts["warnings"]), "warnings"),
            viewer(facts, data.overlays),
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
            metrics_card(facts),
            card("What this forecast cannot know", bullets(CANNOT_KNOW), "cannot"),
            '<div class="two">',
            card("Parameters", pairs(parameters(facts))),
            plot_card("Computing time", "seconds", figures),
            "</div>",
        ]
    )
    return page(
        f"{case} – {facts['method']} – rtmotion", header, body, figures, embedded(data), ("images.js", "viewer.js")
    )
