"""The page of a comparison."""

import copy
import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from rtmotion.errors import ReadError
from rtmotion.report import render_comparison_report, write_comparison_report
from rtmotion.report.comparison_figures import comparison_figures

EVIL = "<script>alert(1)</script>"
COLUMNS = ("case", "method", "observe", "phase", "region", "metric", "value", "unit")


def entry(method: str, kind: str, observe: int, error: float | None) -> dict[str, Any]:
    return {
        "method": method,
        "kind": kind,
        "observe": observe,
        "requested": kind == "predictor",
        "cases": 2 if error else 1,
        "failed": 0 if error else 1,
        "error": error,
        "trivial_error": 50.0,
        "oracle_error": 20.0,
        "skill": None if error is None else (50 - error) / 30,
        "difference": None if error is None else error - 50,
        "interval": [-12.0, -3.0] if kind == "predictor" else None,
        "p": None,
        "p_holm": 0.031 if kind == "predictor" else None,
        "mean": {"body": {"mae": error, "ssim": 0.9}, "landmarks": {"tre_mean": 2.5}} if error else {},
        "horizon": [{"ahead": 1, "body_mae": error, "landmarks_tre_mean": 2.5}] if error else [],
        "seconds": 3.0 if error else None,
        "evaluate_seconds": 1.0,
        "peak_memory_mb": 900.0,
    }


@pytest.fixture
def summary() -> dict[str, Any]:
    methods = (("video", "predictor"), ("persistence", "trivial"), ("oracle-svf", "bound"))
    errors = {"video": 40.0, "persistence": 50.0, "oracle-svf": 20.0}
    return {
        "schema": "rtmotion.compare/1",
        "cases": [f"a {EVIL}", "b"],
        "observe": [3, 5],
        "requested": ["video"],
        "methods": [{"name": m, "kind": kind, "summary": f"what {m} is"} for m, kind in methods],
        "device": "cpu",
        "seed": 0,
        "versions": {"rtmotion": "0.1.0"},
        "averaging": "over the future phases of a case, then over cases",
        "scored_on": {"region": "body", "metric": "mae", "unit": "HU"},
        "units": {"mae": "HU"},
        "summary": [
            *(entry(m, kind, k, errors[m]) for k in (3, 5) for m, kind in methods),
            entry("broken", "dvf", 5, None),
        ],
        "per_case": [
            {
                "case": case,
                "observe": k,
                "method": m,
                "error": errors[m],
                "trivial": 50.0,
                "trivial_method": "persistence",
                "oracle": 20.0,
                "skill": 0.3,
                "difference": errors[m] - 50,
            }
            for case in (f"a {EVIL}", "b")
            for k in (3, 5)
            for m, _ in methods
        ],
        "failures": [{"case": "b", "method": "broken", "observe": 5, "error": f"ValueError: {EVIL}"}],
    }


@pytest.fixture
def folder(summary: dict[str, Any], tmp_path: Path) -> Path:
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    with (tmp_path / "results.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerow(("b", "video", 5, "T50", "landmarks", "tre_mean", 2.0, "mm"))
        writer.writerow(("b", "video", 5, "T60", "landmarks", "tre_mean", 3.5, "mm"))
        writer.writerow(("b", "broken", 5, "", "", "failed", 1, ""))
    return tmp_path


def test_the_page_is_complete_and_safe(folder: Path) -> None:
    forecast = folder / "cases" / "b" / "5" / "video"
    forecast.mkdir(parents=True)
    (forecast / "report.html").write_text("x")
    page = write_comparison_report(folder).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert re.findall(r'href="([^"]*)"', page.split("<script>")[0]) == ["data:,", "cases/b/5/video/report.html"]
    assert [t for t in ('src="http', 'href="http', "cdn.plot") if t in page] == []
    assert "b, k = 5, broken: ValueError" in page
    assert "(1 failed)" in page
    assert '<td class="" data-value="2.75">2.75</td>' in page  # the mean TRE of case b over its two phases
    assert "-10.0 [-12.0, -3.0]" in page
    assert "With fewer than 6 cases" in page


def test_the_best_of_those_that_compete_is_marked(summary: dict[str, Any]) -> None:
    page = render_comparison_report(summary, [], {})
    winners = re.findall(r"<tr[^>]*><td>([\w-]+)</td>(?:(?!</tr>).)*class=\"best\"", page)
    assert winners == ["video", "video"]  # at k = 3 and 5; the bound has less error but knows the answer


def test_figures(summary: dict[str, Any]) -> None:
    figures = comparison_figures(summary)
    assert set(figures) == {"observe", "horizon", "horizon_tre", "cases", "cost"}
    names = [t["name"] for t in figures["observe"]["data"]]
    assert names == ["video", "persistence (trivial)", "oracle-svf (bound)"]
    floor = figures["horizon_tre"]["layout"]["shapes"][0]
    assert floor["y0"] == 1.97
    shown = [t["visible"] for t in figures["horizon"]["data"]]
    assert shown == [False] * 3 + [True] * 3  # k = 5 first
    buttons = figures["horizon"]["layout"]["updatemenus"][0]["buttons"]
    assert [b["label"] for b in buttons] == ["k = 3", "k = 5"]
    assert buttons[0]["args"][0]["visible"] == [True] * 3 + [False] * 3
    assert "<" not in json.dumps([[t["x"], t["name"]] for t in figures["cases"]["data"]])


def test_a_comparison_of_failures_alone(summary: dict[str, Any]) -> None:
    failed = copy.deepcopy(summary)
    failed["summary"] = [entry("broken", "dvf", 5, None)]
    failed["per_case"] = []
    page = render_comparison_report(failed, [], {})
    assert "broken" in page
    assert comparison_figures(failed) == {}


@pytest.mark.parametrize("content", ["", "[]", '{"schema": "other/1"}', '{"schema": "rtmotion.compare/1"}'])
def test_another_file_is_refused(folder: Path, content: str) -> None:
    (folder / "summary.json").write_text(content)
    with pytest.raises(ReadError, match="run rtmotion compare again"):
        write_comparison_report(folder)
    assert not (folder / "report.html").exists()
