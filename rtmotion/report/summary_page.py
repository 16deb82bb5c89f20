"""The light page of one forecast of a comparison: one slice a view, every predicted phase, all numbers."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rtmotion.forecasting import Forecast
from rtmotion.report.collect import check_grid, collect_forecast, gather_tiles
from rtmotion.report.data import PAGE, ReportData, plain, plain_rows, save_report_data, write_text
from rtmotion.report.forecast_page import write_forecast_report
from rtmotion.report.forecast_parts import CANNOT_KNOW, at_a_glance, metrics_card, parameters, seconds_card
from rtmotion.report.orientation import orientation_of
from rtmotion.report.page import bullets, card, page, pairs, tiles
from rtmotion.report.picture import Picture, save_picture, take_picture
from rtmotion.report.planes import choose_planes
from rtmotion.report.slices import SPRITE_COLUMNS, TONE_HU, TONE_LEVEL, VIEWS, describe_views, pack
from rtmotion.report.viewer import embedded, viewer
from rtmotion.sequence import PhaseSequence

SUMMARY_BUDGET = 150_000
"""Bytes of JPEG in a light page: 200 kB as base64, beside up to 90 kB of script, style and tables."""

SIZES = ((256, 84), (256, 74), (224, 70), (192, 66), (160, 62), (128, 56), (96, 50))
"""Longer side of an image in pixels and JPEG quality, best first; the first that fits the budget is taken."""

COMPARISON_PAGE = "../../../../report.html"
"""From `cases/<case>/<k>/<method>/report.html` to the comparison's page."""

LONGEST_VALUE = 400
"""Characters of a value in the table of parameters."""


def write_forecast_summary(
    folder: Path,
    forecast: Forecast,
    observed: PhaseSequence,
    truth: PhaseSequence | None,
    rows: Iterable[Any],
    info: Mapping[str, Any],
    *,
    full: bool = False,
) -> Path:
    """Writes what a comparison shows of one forecast: its page `report.html` and its `picture.npz`.

    Args:
        folder: Of the case, k and method; it exists.
        forecast: The forecast.
        observed: The phases that it was made from.
        truth: The true phases to come; None where they are not known (then there is no picture).
        rows: Its metrics: dataclasses or mappings of phase, region, metric, value and unit.
        info: As in `rtmotion.report.collect.collect_forecast`; also `kind` (of the method). No patient data.
        full: Whether the page is the full report of a forecast (up to 12 MB, with `report_data.npz`, from which it can
            be built again) and not the light one (at most 300 kB).

    Returns:
        The page.

    Raises:
        GeometryError: If the forecast does not lie on the grid of the observed phases.
        WriteError: If the system refuses to write.
    """
    found = plain_rows(rows)
    data, picture = collect_summary(forecast, observed, truth, found, info)
    if picture is not None:
        save_picture(folder, picture)
    if not full:
        return write_text(folder / PAGE, render_forecast_summary(data))
    whole = collect_forecast(forecast, observed, truth, found, info)
    save_report_data(folder, whole)
    return write_forecast_report(folder, whole)


def collect_summary(
    forecast: Forecast,
    observed: PhaseSequence,
    truth: PhaseSequence | None,
    metrics: Iterable[Any],
    info: Mapping[str, Any],
    *,
    budget: int = SUMMARY_BUDGET,
) -> tuple[ReportData, Picture | None]:
    """What the light page shows, and the picture for the comparison's page.

    Args:
        forecast: The forecast.
        observed: The phases that it was made from.
        truth: The true phases to come; None where they are not known.
        metrics: Rows of phase, region, metric, value and unit.
        info: As in `rtmotion.report.collect.collect_forecast`.
        budget: Bytes that the images of the page may take.

    Raises:
        GeometryError: If the forecast does not lie on the grid of the observed phases.
    """
    check_grid(forecast, observed)
    orientation = orientation_of(observed.grid)
    box, at, where = choose_planes([observed, *([] if truth is None else [truth])], orientation)
    phases, count, volumes = gather_tiles(forecast, observed, truth, orientation, box)
    slices = {name: [index] for name, index in at.items()}
    sprites: dict[str, tuple[bytes, ...]] = {}
    side, quality = SIZES[0]
    for side, quality in SIZES:
        sprites = {v.name: (pack(v, volumes, at[v.name], quality, side),) for v in VIEWS}
        if sum(len(image) for images in sprites.values() for image in images) <= budget:
            break
    views = describe_views(slices, volumes[0], box, orientation, observed.grid, dict.fromkeys(slices, 0), side)
    facts = {
        "single": where,
        "method": forecast.method,
        "reference": forecast.reference.label if forecast.reference else None,
        "hasTruth": any(p["truth"] is not None for p in phases if not p["observed"]),
        "phases": phases,
        "tiles": count,
        "spriteColumns": SPRITE_COLUMNS,
        "tone": {"hu": TONE_HU, "level": TONE_LEVEL},
        "jpegQuality": quality,
        "tilt": orientation.tilt_degrees,
        "grid": {"size": observed.grid.size, "spacing": observed.grid.spacing},
        "views": views,
        "ranges": {},
        "metrics": plain_rows(metrics),
        "references": {},
        "histogram": None,
        "seconds": dict(forecast.seconds),
        "warnings": list(dict.fromkeys([*info.get("warnings", ()), *forecast.warnings])),
        "details": dict(forecast.details),
        "info": {k: v for k, v in info.items() if k not in ("references", "warnings")},
    }
    picture = take_picture(phases, volumes, at["coronal"], views[0], where)
    return ReportData(plain(facts), sprites, {}), picture


def render_forecast_summary(data: ReportData, back: str = COMPARISON_PAGE) -> str:
    """The HTML of the light page: self-contained but for the link back, offline.

    Args:
        data: From `collect_summary`.
        back: Link to the comparison's page.
    """
    facts = data.facts
    info = facts["info"]
    observed = sum(1 for p in facts["phases"] if p["observed"])
    case = str(info.get("case", "case"))
    bound = " <b>It is a bound: it was given the true phases.</b>" if info.get("kind") == "bound" else ""
    header = (
        f'<div><p class="back"><a href="{escape(back, quote=True)}">← comparison</a></p><h1>{escape(case)}</h1>'
        f'<p class="sub">Respiratory motion forecast by <b>{escape(str(facts["method"]))}</b> from the first '
        f"{observed} of {len(facts['phases'])} phases.{bound}</p></div>"
    )
    body = "\n".join(
        [
            tiles(at_a_glance(facts, observed)),
            card("What to know of this forecast", bullets(facts["warnings"]), "warnings"),
            viewer(facts, data.overlays),
            metrics_card(facts),
            '<div class="two">',
            card("Method and parameters", pairs(_shortened(parameters(facts)))),
            seconds_card(facts["seconds"]),
            "</div>",
            card("What this forecast cannot know", bullets(CANNOT_KNOW), "cannot"),
        ]
    )
    title = f"{case} – {facts['method']} – k = {observed} – rtmotion"
    return page(title, header, body, {}, embedded(data), ("images.js", "viewer.js"))


def _shortened(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, long lists of them cut: the page has to stay small."""
    found = {}
    for name, value in values.items():
        text = str(value)
        shown: Any = value
        if len(text) > LONGEST_VALUE:
            length = f" … ({len(value)} values)" if isinstance(value, Sequence) and not isinstance(value, str) else " …"
            shown = text[:LONGEST_VALUE] + length
        found[name] = shown
    return found
