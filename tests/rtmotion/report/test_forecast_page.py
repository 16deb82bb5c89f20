"""The page of a forecast: complete, offline, safe and small."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from rtmotion.errors import GeometryError
from rtmotion.field import DisplacementField
from rtmotion.forecasting import Forecast
from rtmotion.grid import Grid
from rtmotion.report import (
    ReportData,
    collect_forecast,
    render_forecast_report,
    save_report_data,
    write_forecast_report,
)
from rtmotion.sequence import Phase, PhaseSequence, Volume
from tests.rtmotion.report import case

LARGEST_PAGE = 15_000_000
FROM_OUTSIDE = ('src="http', "src='http", 'href="http', "href='http", "cdn.plot", "url(http", "@import", "<iframe")


def embedded(page: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_nothing_comes_from_outside(scored: ReportData, bare: ReportData) -> None:
    for data in (scored, bare):
        page = render_forecast_report(data)
        assert [text for text in FROM_OUTSIDE if text in page] == []
        tags = re.findall(r"<[^>]*>", page.split("<script")[0])
        assert [t for t in tags if re.search(r"\b(?:src|href|srcset|action)=", t)] == [
            '<link rel="icon" href="data:,">'
        ]


def test_text_from_files_is_escaped(scored: ReportData) -> None:
    page = render_forecast_report(scored)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert" in page
    figures = embedded(page, "figures")
    assert "<" not in json.dumps([figures["seconds"]["data"][0][axis] for axis in "xy"])  # plotly reads tags in texts


def test_every_part_is_there(scored: ReportData) -> None:
    page = render_forecast_report(scored)
    assert set(embedded(page, "figures")) == {"error", "waveform", "diaphragm", "uncertainty", "seconds"}
    assert "Research use only" in page
    assert "What this forecast cannot know" in page
    for name in ("a warning with", "persistence", "T50", "not a medical device"):
        assert name in page
    facts = embedded(page, "facts")
    assert [p["label"] for p in facts["phases"]] == list(case.sequence().labels)
    assert [p["observed"] for p in facts["phases"]] == [True] * 3 + [False] * 3
    assert {v["name"]: v["letters"] for v in facts["views"]} == {
        "coronal": ["R", "L", "S", "I"],
        "sagittal": ["A", "P", "S", "I"],
        "axial": ["R", "L", "A", "P"],
    }
    overlays = embedded(page, "overlays")
    assert set(overlays) == {"body", "displacement", "uncertainty"}
    assert overlays["displacement"]["shape"][:2] == [3, 3]


def test_the_overlays_hold_the_motion(scored: ReportData) -> None:
    """Tissue rises: the motion from the reference phase is along superior, and positive."""
    step = scored.facts["ranges"]["displacement"]["step"]
    motion = scored.overlays["displacement"] * step
    for n, rise in enumerate(case.RISE_MM[case.OBSERVED :]):
        np.testing.assert_allclose(motion[n, 2], rise, atol=step)
        np.testing.assert_allclose(motion[n, :2], 0.0, atol=step)
    np.testing.assert_allclose(
        scored.overlays["uncertainty"] * scored.facts["ranges"]["uncertainty"]["step"], 0.5, atol=0.01
    )


def test_without_truth_nothing_is_scored(bare: ReportData) -> None:
    page = render_forecast_report(bare)
    assert "error" not in embedded(page, "figures")
    assert "The true phases are not known" in page
    assert 'data-column="difference"' not in page
    assert 'data-column="prediction"' in page
    assert set(embedded(page, "overlays")) == {"body"}


def test_a_truth_that_lacks_a_phase() -> None:
    observed, truth = case.sequence().observe(case.OBSERVED)
    some = truth.select([0, 2])
    data = collect_forecast(case.forecast_of(observed, truth), observed, some, case.rows_of(some), {})
    known = {p["label"]: p["truth"] is not None for p in data.facts["phases"]}
    assert [known[label] for label in truth.labels] == [True, False, True]
    assert {r["phase"] for r in data.facts["references"]["persistence"]} == set(some.labels)


def test_another_grid_is_refused() -> None:
    observed, truth = case.sequence().observe(case.OBSERVED)
    other = Volume(torch.zeros(4, 4, 4), Grid((4, 4, 4)))
    with pytest.raises(GeometryError, match="one grid"):
        collect_forecast(Forecast("x", truth.phases, (other,) * 3), observed, truth, (), {})


def test_folder_or_page(scored: ReportData, tmp_path: Path) -> None:
    assert write_forecast_report(tmp_path, scored) == tmp_path / "report.html"
    assert write_forecast_report(tmp_path / "other.html", scored).read_text(encoding="utf-8").endswith("</html>\n")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["other.html", "report.html"]


def test_a_large_case_stays_under_the_limit(tmp_path: Path) -> None:
    """Ten phases of 256×256×100 voxels with the texture of lung and the noise of CT, fields and uncertainty."""
    rng = np.random.default_rng(0)
    shape = (100, 256, 256)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    block = ndimage.gaussian_filter(rng.normal(size=(50, 64, 64)).astype(np.float32), 1.5, mode="wrap") * 1500
    texture = np.tile(block, (2, 4, 4))
    hu = np.where(x**2 + (y / 0.7) ** 2 < 0.9, 40.0, -1000.0) + np.where(x**2 + y**2 < 0.3, -800 + texture, 0.0)
    noise = np.tile(rng.normal(0, 20, (100, 64, 64)).astype(np.float32), (1, 4, 4))
    grid = Grid((256, 256, 100), (1.4, 1.4, 2.5))
    phases = tuple(Phase.of_percent(10 * i) for i in range(10))
    volumes = tuple(
        Volume(torch.from_numpy((np.roll(hu, i, axis=0) + np.roll(noise, 7 * i, axis=1)).astype(np.int16)), grid)
        for i in range(10)
    )
    observed, truth = PhaseSequence(phases, volumes).observe(5)
    field = torch.from_numpy(np.stack([x, y, 8 * z + 0.01 * texture]).astype(np.float32))
    forecast = Forecast(
        "m",
        truth.phases,
        observed.volumes,
        observed.phases[0],
        (DisplacementField(field, grid),) * 5,
        (field[2].abs(),) * 5,
    )
    data = collect_forecast(forecast, observed, truth, (), {})
    page = write_forecast_report(tmp_path, data)
    assert page.stat().st_size < LARGEST_PAGE
    assert save_report_data(tmp_path, data).stat().st_size < LARGEST_PAGE
    assert len(data.facts["views"][0]["slices"]) >= 12


def test_the_plot_of_errors_is_not_crowded_by_structures() -> None:
    from rtmotion.report.figures import error_figure

    names = ["airways", "liver", "lung", "spleen", "body", "tumour"]
    rows = [{"phase": "T50", "region": r, "metric": "mae", "value": 30.0, "unit": "HU"} for r in names]
    figure = error_figure(rows, {}, "video", "mae", "MAE, HU", ["T50"])
    assert figure is not None
    assert [d["name"] for d in figure["data"]] == ["body · video", "lung · video", "tumour · video"]
