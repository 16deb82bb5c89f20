"""The page of a comparison."""

import copy
import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from rtmotion.errors import ReadError
from rtmotion.evaluation.cohort import result_folder
from rtmotion.evaluation.protocol import UNITS
from rtmotion.report import render_comparison_report, write_comparison_report
from rtmotion.report.comparison_figures import comparison_figures
from rtmotion.report.gallery import find_pictures, gallery, missing_pictures
from rtmotion.report.method_styles import method_styles
from rtmotion.report.metric_names import METRIC_NAMES
from tests.rtmotion.report import cohort

LARGEST_PAGE = 8_000_000
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
    assert re.findall(r'href="([^"]*)"', page.split("<script")[0]) == ["data:,", "cases/b/5/video/report.html"]
    assert [t for t in ('src="http', 'href="http', "cdn.plot") if t in page] == []
    assert "b, k = 5, broken: ValueError" in page
    assert "(1 failed)" in page
    assert '<td data-value="2.75">2.75</td>' in page  # the mean TRE of case b over its two phases
    assert "-10.0 [-12.0, -3.0]" in page


def test_the_best_of_those_that_compete_is_marked(summary: dict[str, Any]) -> None:
    page = render_comparison_report(summary, [], {})
    winners = re.findall(r"<tr[^>]*><td>([\w-]+)</td>(?:(?!</tr>).)*class=\"best\"", page)
    assert winners == ["video", "video"]  # at k = 3 and 5; the bound has less error but knows the answer


def test_bounds_stand_apart_and_methods_by_kind(summary: dict[str, Any]) -> None:
    page = render_comparison_report(summary, [], {})
    table = page[page.index("<h2>Methods</h2>") :]
    competing, bounds = table[: table.index("</table>")].split('<tbody class="bounds">')
    assert "oracle-svf" not in competing
    assert "they know the answer" in bounds
    assert "persistence" not in bounds
    assert list(method_styles(summary["summary"])) == ["video", "broken", "persistence", "oracle-svf"]


def test_every_metric_of_the_protocol_has_a_name() -> None:
    assert set(METRIC_NAMES) == set(UNITS)


def test_figures(summary: dict[str, Any]) -> None:
    figures = comparison_figures(summary)
    assert set(figures) == {"observe", "horizon", "horizon_tre", "skill", "cost", "difference", "stages", "memory"}
    names = [t["name"] for t in figures["observe"]["data"]]
    assert names == ["video", "persistence (trivial)", "oracle-svf (bound)"]
    floor = figures["horizon_tre"]["layout"]["shapes"][0]
    assert floor["y0"] == 1.97
    assert [t["meta"]["k"] for t in figures["horizon"]["data"]] == [3, 5] * 3
    heat = figures["skill"]["data"][0]
    assert [row["method"] for row in heat["meta"]["rows"]] == ["oracle-svf", "persistence", "broken", "video"]
    assert heat["z"][3] == [0.3, 0.3]
    assert heat["z"][2] == [None, None]  # it has failed
    assert "<" not in json.dumps(heat["x"])


def test_the_front_of_error_and_time(summary: dict[str, Any]) -> None:
    """Persistence is quicker, the video model better; the bound is on no front."""
    entries = summary["summary"]
    for e in entries:
        e["seconds"] = {"persistence": 0.0002, "video": 4.0, "oracle-svf": 2.0, "broken": None}[e["method"]]
    front = next(t for t in comparison_figures(summary)["cost"]["data"] if "method" not in t["meta"])
    assert list(zip(front["x"], front["y"], strict=True)) == [(0.001, 50.0), (4.0, 40.0)]


def test_statistics_only_where_there_are_patients_enough(tmp_path: Path) -> None:
    for cases, enough in ((5, False), (6, True)):
        folder = tmp_path / str(cases)
        folder.mkdir()
        summary = cohort.make_comparison(folder, cases=cases, observe=(5,), pictures=False)
        assert ({"difference", "against"} <= set(comparison_figures(summary))) == enough
        page = render_comparison_report(summary, [], {})
        assert ("With fewer than 6 cases there are no intervals" in page) != enough
        assert "Error by number of observed phases" not in page  # there is one alone


def test_the_stages_of_a_method_add_up_to_its_seconds(tmp_path: Path) -> None:
    summary = cohort.make_comparison(tmp_path, cases=2, observe=(5,), pictures=False)
    figures = comparison_figures(summary)
    bars = {t["name"]: t for t in figures["stages"]["data"]}
    assert list(bars) == ["registration", "appearance", "other"]  # scoring is not the method's
    at = bars["registration"]["y"].index("video")
    seconds = next(e["seconds"] for e in summary["summary"] if e["method"] == "video")
    assert sum(t["x"][at] for t in bars.values()) == pytest.approx(seconds)
    marks = {t["name"] for t in figures["memory"]["data"]}
    assert marks == {"whole forecast", "registration", "appearance"}


def test_pictures_of_all_or_of_as_many_as_fit(tmp_path: Path) -> None:
    summary = cohort.make_comparison(tmp_path, cases=3, observe=(3, 5))
    everything = find_pictures(tmp_path, summary)
    assert len(everything) == 3 * 2 * len(cohort.METHODS)
    one_case = sum(len(p.prediction) for (case, k, _), p in everything.items() if (case, k) == ("case 1", 5))
    some = find_pictures(tmp_path, summary, budget=int(2.5 * one_case))
    assert {(case, k) for case, k, _ in some} == {("case 1", 5), ("case 2", 5)}
    sets = gallery(summary, some, {})
    assert [(s["case"], s["k"], len(s["shown"])) for s in sets] == [("case 1", 5, 25), ("case 2", 5, 25)]
    assert missing_pictures(sets, summary).startswith("2 of 6 pairs")
    assert [s["kind"] for s in sets[0]["shown"]][-2:] == ["bound", "bound"]


def test_a_picture_of_another_slice_is_left_out(tmp_path: Path) -> None:
    summary = cohort.make_comparison(tmp_path, cases=2, observe=(5,))
    source, target = (result_folder(tmp_path, case, 5, "video") for case in ("case 1", "case 2"))
    (target / "picture.npz").write_bytes((source / "picture.npz").read_bytes())
    sets = gallery(summary, find_pictures(tmp_path, summary), {})
    shown = {s["case"]: [x["method"] for x in s["shown"]] for s in sets}
    assert len(shown["case 1"]) == 25
    assert "video" not in shown["case 2"]
    assert len(shown["case 2"]) == 24


def test_a_large_comparison_has_a_moderate_page(tmp_path: Path) -> None:
    """10 cases, 25 methods, 3 numbers of observed phases."""
    summary = cohort.make_comparison(tmp_path)
    file = write_comparison_report(tmp_path)
    assert file.stat().st_size < LARGEST_PAGE
    page = file.read_text(encoding="utf-8")
    assert page.count('/report.html">open</a>') == len(summary["per_case"]) == 750


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
