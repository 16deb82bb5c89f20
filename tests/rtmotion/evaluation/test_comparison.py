import csv
import json
from copy import copy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rtmotion import methods as registry
from rtmotion.errors import PhaseError, RtmotionError, UnknownNameError
from rtmotion.evaluation import cohort, comparison
from rtmotion.evaluation.cohort import Case, folder_name, result_folder
from rtmotion.evaluation.comparison import methods_to_run
from rtmotion.evaluation.protocol import UNITS, MetricRow
from rtmotion.evaluation.scores import REGISTERED
from rtmotion.evaluation.true_phase import region_masks
from rtmotion.sequence import PhaseSequence, Volume
from tests.rtmotion.evaluation.doubles import METHODS, digest, save_digest, unreadable
from tests.rtmotion.evaluation.tiny import GRID, breathing

TRIVIAL = ["persistence", "first-phase", "mean", "mirror", "cyclic-nearest"]
ALWAYS = [*TRIVIAL, "closest-observed", "oracle-svf"]
METRICS = tuple(name for name in UNITS if name not in REGISTERED)
"""Most of the time of these tests would go into the registrations of the others, which have tests of their own."""

compare = partial(comparison.compare, metrics=METRICS)


@pytest.fixture(autouse=True)
def _cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doubles beside the trivial baselines, and no method that takes seconds."""
    installed = registry.available_forecasters()
    cards = {name: installed[name] for name in [*TRIVIAL, "closest-observed"]} | METHODS
    monkeypatch.setattr(registry, "available_forecasters", lambda: cards)
    monkeypatch.setattr(comparison, "available_forecasters", lambda: cards)


def case(name: str, sequence: PhaseSequence) -> Case:
    return Case(name, partial(copy, sequence))


def read_rows(out: Path) -> list[dict[str, str]]:
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def numbers(out: Path) -> list[dict[str, str]]:
    """The rows of results.csv without those of seconds and memory."""
    return [row for row in read_rows(out) if row["metric"] not in ("seconds", "peak_memory_mb")]


def entry(summary: dict[str, Any], method: str, observe: int = 5) -> dict[str, Any]:
    (found,) = [e for e in summary["summary"] if (e["method"], e["observe"]) == (method, observe)]
    return dict(found)


def body_mae(sequence: PhaseSequence, observed: int, future: int) -> float:
    truth = sequence.volumes[future]
    return float((sequence.volumes[observed].hu - truth.hu).abs()[region_masks(truth)["body"]].double().mean())


def test_a_comparison_writes_its_tables(sequence: PhaseSequence, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    summary = compare([case("one", sequence)], [5], ["shifted"], tmp_path, progress=lambda *what: told.append(what))
    assert summary == json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))
    assert summary["schema"] == "rtmotion.compare/1"
    assert [m["name"] for m in summary["methods"]] == [*ALWAYS, "shifted"]
    assert told[0] == (1, 8, "one, k=5, persistence")
    assert told[-1] == (8, 8, "one, k=5, shifted")
    rows = read_rows(tmp_path)
    assert list(rows[0]) == ["case", "method", "observe", "phase", "region", "metric", "value", "unit"]
    found = {
        r["phase"]: float(r["value"])
        for r in rows
        if (r["method"], r["region"], r["metric"]) == ("persistence", "body", "mae")
    }
    expected = {sequence.labels[j]: body_mae(sequence, 4, j) for j in range(5, 10)}
    assert found == pytest.approx(expected, rel=1e-5)
    assert not list(tmp_path.rglob(".*"))


def test_skill_is_against_the_best_trivial_baseline_and_the_oracle(sequence: PhaseSequence, tmp_path: Path) -> None:
    summary = compare([case("one", sequence)], [3, 5], ["shifted"], tmp_path)
    for k in (3, 5):
        errors = {name: entry(summary, name, k)["error"] for name in [*ALWAYS, "shifted"]}
        last = np.mean([body_mae(sequence, k - 1, j) for j in range(k, 10)])
        assert errors["persistence"] == pytest.approx(last)
        # the stand-in for the oracle goes nine tenths of the way from the last phase to the truth
        assert errors["oracle-svf"] == pytest.approx(last / 10, rel=1e-3)
        assert errors["closest-observed"] <= min(errors[n] for n in TRIVIAL if n != "mean") + 1e-9
        best = min(errors[name] for name in TRIVIAL)
        expected = 1 - (errors["shifted"] - errors["oracle-svf"]) / (best - errors["oracle-svf"])
        assert entry(summary, "shifted", k)["skill"] == pytest.approx(expected)
        assert entry(summary, "oracle-svf", k)["skill"] == pytest.approx(1.0)
        assert max(entry(summary, name, k)["skill"] for name in TRIVIAL) == pytest.approx(0.0)
    mine, third = entry(summary, "shifted"), ("T70", "body", "mae")
    assert mine["requested"]
    assert not entry(summary, "mean")["requested"]
    assert [h["ahead"] for h in mine["horizon"]] == [1, 2, 3, 4, 5]
    assert mine["horizon"][2]["body_mae"] == pytest.approx(
        next(r.value for r in _result(tmp_path, "shifted").rows if (r.phase, r.region, r.metric) == third)
    )
    assert mine["mean"]["landmarks"]["tre_mean"] == pytest.approx(0.0, abs=1e-3)
    assert mine["seconds"] > 0
    assert mine["peak_memory_mb"] > 50
    assert set(mine["stages_seconds"]) == {"shift", "evaluate"}
    assert set(mine["stages_memory_mb"]) == {"forecast", "evaluate"}
    assert all(
        peak <= mine["peak_memory_mb"] for stage, peak in mine["stages_memory_mb"].items() if stage != "evaluate"
    )
    # one patient is no sample of patients
    assert summary["against"]
    assert all(e["p"] is e["p_holm"] is e["interval"] is None for e in summary["against"])
    assert mine["interval"] is None
    assert mine["p"] is None


def test_trivial_baselines_with_fields_run_too_and_count(
    sequence: PhaseSequence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closure = replace(METHODS["shifted"], name="svf+closure", kind="dvf")
    cards = {**registry.available_forecasters(), closure.name: closure}
    monkeypatch.setattr(comparison, "available_forecasters", lambda: cards)
    summary = compare([case("one", sequence)], [3], ["shifted"], tmp_path)
    assert entry(summary, "svf+closure", 3)["trivial"]
    assert not entry(summary, "shifted", 3)["trivial"]
    mine = next(s for s in summary["per_case"] if s["method"] == "shifted")
    errors = {name: entry(summary, name, 3)["error"] for name in [*TRIVIAL, "svf+closure"]}
    assert mine["trivial_method"] == min(errors, key=lambda name: errors[name])
    assert mine["trivial"] == pytest.approx(min(errors.values()))


def _result(out: Path, method: str, observe: int = 5) -> cohort.Result:
    path = result_folder(out, "one", observe, method) / cohort.RESULT_FILE
    content = json.loads(path.read_text(encoding="utf-8"))
    content.pop("schema")
    return cohort.Result(**{**content, "rows": tuple(MetricRow(**row) for row in content["rows"])})


def test_six_patients_have_an_interval_and_a_p(tmp_path: Path) -> None:
    grid_cases = [case(f"patient {i}", breathing(5, seed=i)) for i in range(6)]
    summary = compare(grid_cases, [3], ["shifted", "nosy"], tmp_path)
    mine = entry(summary, "shifted", 3)
    assert mine["cases"] == 6
    low, high = mine["interval"]
    assert low <= mine["difference"] <= high
    assert 0 < mine["p"] <= mine["p_holm"] <= 1
    # both methods predict the same: two tests of one p
    assert mine["p_holm"] == pytest.approx(min(1.0, 2 * mine["p"]))
    against = {(e["against"], e["method"]): e for e in summary["against"]}
    assert set(against) == {(p, m) for p in ("shifted", "nosy") for m in [*TRIVIAL, "shifted", "nosy"] if m != p}
    pair = against["shifted", "mean"]
    assert pair["difference"] == pytest.approx(entry(summary, "mean", 3)["error"] - mine["error"])
    assert pair["interval"][0] <= pair["difference"] <= pair["interval"][1]
    assert pair["p"] <= pair["p_holm"] <= 6 * pair["p"] + 1e-9
    assert against["shifted", "nosy"]["p"] == 1.0
    differences = [s["difference"] for s in summary["per_case"] if s["method"] == "shifted"]
    assert mine["difference"] == pytest.approx(np.mean(differences))
    assert entry(summary, "oracle-svf", 3)["p"] is None
    assert entry(summary, "mean", 3)["p_holm"] is None


def test_a_killed_run_goes_on_where_it_stopped(sequence: PhaseSequence, tmp_path: Path) -> None:
    def kill(done: int, total: int, what: str) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare([case("one", sequence)], [5], ["shifted"], tmp_path, progress=kill)
    stored = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("result.json")}
    assert len(stored) == 4
    assert not (tmp_path / "summary.json").exists()
    resumed = compare([case("one", sequence)], [5], ["shifted"], tmp_path)
    assert {p: p.stat().st_mtime_ns for p in stored} == stored
    whole = compare([case("one", sequence)], [5], ["shifted"], tmp_path / "again")
    assert [s["error"] for s in resumed["per_case"]] == [s["error"] for s in whole["per_case"]]


def test_a_second_call_reads_no_case_again(sequence: PhaseSequence, tmp_path: Path) -> None:
    first = compare([case("one", sequence)], [5], ["shifted"], tmp_path)
    second = compare([Case("one", unreadable)], [5], ["shifted"], tmp_path)
    assert second == first


def test_other_arguments_input_or_a_damaged_file_are_redone(sequence: PhaseSequence, tmp_path: Path) -> None:
    compare([case("one", sequence)], [5], ["shifted"], tmp_path)
    paths = sorted(tmp_path.rglob("result.json"))

    def changed(**arguments: Any) -> set[Path]:
        before = {p: p.read_bytes() for p in paths}
        options = {"cases": [case("one", sequence)], "observe": [5], "methods": ["shifted"], "out": tmp_path}
        compare(**{**options, **arguments})
        # the seconds differ whenever a result is made again
        return {p for p in paths if p.read_bytes() != before[p]}

    assert changed() == set()
    assert changed(seed=1) == set(paths)
    assert changed(seed=1, cases=[Case("one", partial(copy, sequence), "other files")]) == set(paths)
    assert changed() == set(paths)
    paths[3].write_text('{"schema": "rtmo', encoding="utf-8")
    assert changed() == {paths[3]}


def test_results_know_the_weights_that_made_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = cohort.Plan((5,), (), tmp_path)
    weights = tmp_path / "network.safetensors"
    method = replace(METHODS["shifted"], weights="$RTMOTION_TEST_WEIGHTS")
    monkeypatch.setenv("RTMOTION_TEST_WEIGHTS", str(weights))
    states = [cohort.fingerprint(Case("one", unreadable), 5, method, plan)]
    for content in (b"first", b"other"):
        weights.write_bytes(content)
        states.append(cohort.fingerprint(Case("one", unreadable), 5, method, plan))
    assert len(set(states)) == 3
    weights.touch()
    assert cohort.fingerprint(Case("one", unreadable), 5, method, plan) == states[-1]


def test_what_fails_is_told_and_stops_nothing(sequence: PhaseSequence, tmp_path: Path) -> None:
    cases = [case("good", sequence), Case("bad", unreadable), case("short", breathing(4))]
    summary = compare(cases, [3, 5], ["broken", "shifted"], tmp_path, workers=1)
    errors = {(f["case"], f["observe"], f["method"]): f["error"] for f in summary["failures"]}
    assert errors["good", 5, "broken"].startswith("ValueError: no such luck (doubles.py:")
    assert "log" not in errors["good", 5, "broken"]
    assert errors["bad", 3, "shifted"].startswith("cannot load the case: ValueError: a broken file")
    assert errors["short", 5, "shifted"].startswith("--observe must be between 2 and 3")
    assert ("short", 3, "shifted") not in errors
    assert ("good", 5, "shifted") not in errors
    assert (entry(summary, "shifted")["cases"], entry(summary, "shifted")["failed"]) == (1, 2)
    assert entry(summary, "broken")["error"] is None
    failed = [r for r in read_rows(tmp_path) if r["metric"] == "failed"]
    assert len(failed) == len(errors)


def test_what_failed_is_tried_again(sequence: PhaseSequence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compare([case("one", sequence)], [5], ["broken"], tmp_path)["failures"]
    from tests.rtmotion.evaluation import doubles

    monkeypatch.setattr(doubles, "broken", doubles.shifted)
    summary = compare([case("one", sequence)], [5], ["broken"], tmp_path)
    assert summary["failures"] == []
    assert entry(summary, "broken")["cases"] == 1


def noise_after(sequence: PhaseSequence, observe: int) -> PhaseSequence:
    generator = torch.Generator().manual_seed(9)
    noise = [torch.randint(-1000, 1000, GRID.shape, generator=generator).to(torch.int16) for _ in sequence.phases]
    volumes = tuple(v if i < observe else Volume(noise[i], GRID) for i, v in enumerate(sequence.volumes))
    return PhaseSequence(sequence.phases, volumes)


def test_no_method_but_a_bound_sees_the_future(sequence: PhaseSequence, tmp_path: Path) -> None:
    digests = []
    for name, input_sequence in (("true", sequence), ("noise", noise_after(sequence, 5))):
        compare([case("one", input_sequence)], [5], ["shifted", "nosy"], tmp_path / name, save_forecast=save_digest)
        found = {p.parent.name: p.read_text(encoding="utf-8").split() for p in (tmp_path / name).rglob("digest.txt")}
        assert all(rest == ["False", "True", "5", "5"] for _, *rest in found.values())
        digests.append({method: hash_ for method, (hash_, *_) in found.items()})
    same = {method for method in digests[0] if digests[0][method] == digests[1][method]}
    assert same == {*TRIVIAL, "shifted", "nosy"}
    assert set(digests[0]) - same == {"closest-observed", "oracle-svf"}


def test_volumes_that_are_wanted_later_are_made_again(sequence: PhaseSequence, tmp_path: Path) -> None:
    for keep in (False, True, False):
        compare([case("one", sequence)], [5], ["shifted"], tmp_path, save_forecast=save_digest, keep_volumes=keep)
    texts = {p.read_text(encoding="utf-8").split()[1] for p in tmp_path.rglob("digest.txt")}
    # made with volumes the second time, and kept the third
    assert texts == {"True"}


def test_a_cluster_finds_what_one_process_finds(tmp_path: Path) -> None:
    cases = [case("one", breathing(5)), case("two", breathing(5, seed=4))]
    arguments: dict[str, Any] = {"observe": [3], "methods": ["shifted", "broken"]}
    alone = compare(cases, out=tmp_path / "alone", workers=1, **arguments)
    cluster = compare(cases, out=tmp_path / "cluster", workers=2, **arguments)
    assert [(f["case"], f["method"], f["error"]) for f in cluster["failures"]] == [
        (f["case"], f["method"], f["error"]) for f in alone["failures"]
    ]
    assert numbers(tmp_path / "cluster") == numbers(tmp_path / "alone")
    assert cluster["per_case"] == alone["per_case"]


def test_a_scheduler_may_be_given(sequence: PhaseSequence, tmp_path: Path) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0") as cluster:
        summary = compare([case("one", sequence)], [5], ["shifted"], tmp_path, scheduler=cluster.scheduler_address)
    assert entry(summary, "shifted")["cases"] == 1


def test_names_are_checked_before_anything_is_done(sequence: PhaseSequence, tmp_path: Path) -> None:
    out = tmp_path / "out"
    one = case("one", sequence)
    with pytest.raises(UnknownNameError, match="unknown method 'vidio'; known: broken"):
        compare([one], [5], ["vidio"], out)
    with pytest.raises(RtmotionError, match="would share a folder"):
        compare([one, case("One", sequence)], [5], ["shifted"], out)
    with pytest.raises(RtmotionError, match="at least one case"):
        compare([], [5], ["shifted"], out)
    with pytest.raises(PhaseError, match="must be at least 2, got 1"):
        compare([one], [5, 1], ["shifted"], out)
    with pytest.raises(UnknownNameError, match="unknown metric 'mea'"):
        compare([one], [5], ["shifted"], out, metrics=["mae", "mea"])
    with pytest.raises(RtmotionError, match="'mae' must be among those wanted"):
        compare([one], [5], ["shifted"], out, metrics=["rmse"])
    with pytest.raises(RtmotionError, match="at least one thread, got --threads 0"):
        compare([one], [5], ["shifted"], out, threads=0)
    with pytest.raises(PhaseError, match="at least one number"):
        compare([one], [], ["shifted"], out)
    assert not out.exists()


def test_a_method_asked_for_twice_runs_once() -> None:
    assert [m.name for m in methods_to_run(["shifted", "mean", "shifted"])] == [*ALWAYS, "shifted"]


@pytest.mark.parametrize(("name", "folder"), [("a/b\\c: d", "a-b-c-d"), ("../..", "case"), ("Fall 7.ü", "Fall-7")])
def test_folders_have_names_that_every_system_takes(name: str, folder: str) -> None:
    assert folder_name(name) == folder


def test_digests_tell_forecasts_apart(sequence: PhaseSequence) -> None:
    from tests.rtmotion.evaluation.tiny import Shifted

    observed, truth = sequence.observe(5)
    forecast = Shifted().forecast(observed, truth.phases)
    assert digest(forecast) == digest(Shifted().forecast(observed, truth.phases))
    assert digest(forecast) != digest(Shifted().forecast(observed, truth.phases[1:]))
