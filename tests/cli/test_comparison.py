"""`rtmotion compare` as its users run it: generated patients, presets, what fails, what is killed, who computes."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rtmotion.evaluation.protocol import UNITS
from rtmotion.methods import available_forecasters
from rtmotion_cli.presets import PRESETS
from tests.cli.breathing_case import Run, write_case

PHASES = range(0, 100, 25)
METHODS = "svf+closure"
PATIENCE_SECONDS = 120.0
"""For another process to start and do its work on a busy machine."""


def table(out: Path) -> list[dict[str, str]]:
    """The rows of results.csv without those of seconds and memory, which no two runs share."""
    with (out / "results.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if row["metric"] not in ("seconds", "peak_memory_mb")]


def numbers(out: Path) -> dict[str, Any]:
    """What summary.json says beside seconds and memory."""
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    for entry in summary["summary"]:
        for name in [n for n in entry if "seconds" in n or "memory" in n]:
            del entry[name]
    return summary


def results(out: Path) -> dict[Path, int]:
    """The finished results and when they were written."""
    return {path: path.stat().st_mtime_ns for path in out.rglob("result.json")}


def wait_for(what: Any) -> None:
    """Waits until a function says yes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not what():
        assert time.monotonic() < deadline, "nothing happened for too long"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two cases of four phases; read only."""
    folder = tmp_path_factory.mktemp("patients")
    return [write_case(folder / name, PHASES) for name in ("one", "two")]


def arguments(patients: list[Path], out: Path, *more: object) -> list[str]:
    options = ("--observe", 2, "--preset", "quick", "--methods", METHODS, "--device", "cpu", "--out", out, "-q")
    return [str(a) for a in ("compare", *patients, *options, *more)]


@contextmanager
def started(*command: object, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own, ended with the block."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, command)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **options,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_killed_run_goes_on_and_workers_change_nothing(patients: list[Path], tmp_path: Path, run: Run) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    with started("rtmotion_cli", *arguments(patients, killed, "--workers", 1)) as process:
        wait_for(lambda: len(results(killed)) >= 6 or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    done = results(killed)
    assert 6 <= len(done) < 18
    assert not (killed / "summary.json").exists()
    answer = run(*arguments(patients, killed, "--workers", 1))
    assert answer.code == 0, answer.err
    after = results(killed)
    # two cases, and nine methods: the one asked for, five copies, svf+linear, two bounds
    assert len(after) == 18
    assert {path: after[path] for path in done} == done
    # in two processes, from the start
    answer = run(*arguments(patients, whole, "--workers", 2))
    assert answer.code == 0, answer.err
    assert table(whole) == table(killed)
    assert numbers(whole) == numbers(killed)
    assert not numbers(whole)["failures"]
    assert numbers(whole)["preset"] == "quick"
    assert numbers(whole)["metrics"] == list(PRESETS["quick"].metrics or ())


def test_a_scheduler_of_ones_own_finds_the_same(patients: list[Path], tmp_path: Path, run: Run) -> None:
    told, where = tmp_path / "scheduler.json", ("--host", "127.0.0.1")
    local = tmp_path / "local"
    (tmp_path / "space").mkdir()
    with started("distributed.cli.dask_scheduler", *where, "--port", 0, "--no-dashboard", "--scheduler-file", told):
        wait_for(lambda: told.is_file() and told.read_text(encoding="utf-8").strip().endswith("}"))
        address = json.loads(told.read_text(encoding="utf-8"))["address"]
        worker = ("distributed.cli.dask_worker", address, *where, "--nthreads", 1, "--no-dashboard", "--no-nanny")
        with started(*worker, "--local-directory", tmp_path / "space"):
            answer = run(*arguments(patients, tmp_path / "afar", "--scheduler", address))
    assert answer.code == 0, answer.err
    assert run(*arguments(patients, local, "--workers", 1)).code == 0
    assert table(tmp_path / "afar") == table(local)


def test_a_broken_case_and_a_broken_method_are_rows(
    patients: list[Path], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rtmotion_baselines import trivial

    def no_luck(*arguments: object) -> None:
        raise ValueError("no such luck")

    monkeypatch.setitem(trivial.PREDICTIONS, "mirror", no_luck)
    broken = write_case(tmp_path / "broken", PHASES)
    voxels = gzip.decompress((broken / "phase_50.nii.gz").read_bytes())
    # its header is whole, so that only reading it shows what is missing
    (broken / "phase_50.nii.gz").write_bytes(gzip.compress(voxels[: len(voxels) // 2]))
    out = tmp_path / "out"
    cases = [broken, patients[0]]
    answer = run("compare", *cases, "--observe", 2, "--methods", "persistence", "--out", out, "--workers", 1)
    assert answer.code == 0, answer.err
    failures = json.loads((out / "summary.json").read_text(encoding="utf-8"))["failures"]
    assert {f["method"] for f in failures if f["case"] == "one"} == {"mirror"}
    assert {f["error"].split(" (")[0] for f in failures if f["case"] == "one"} == {"ValueError: no such luck"}
    assert {f["method"] for f in failures if f["case"] == "broken"} == {m["method"] for m in _summary(out)}
    assert all(f["error"].startswith("cannot load the case") for f in failures if f["case"] == "broken")
    rows = [row for row in table(out) if row["metric"] == "failed"]
    assert len(rows) == len(failures)
    assert {row["case"] for row in table(out)} == {"one", "broken"}
    assert answer.err.count("failed:") == len(failures)


def _summary(out: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads((out / "summary.json").read_text(encoding="utf-8"))["summary"]
    return entries


def test_generated_patients_are_cases(tmp_path: Path, run: Run) -> None:
    options = ("--phantom-spacing", 12, "--observe", 9, "--methods", "persistence")
    out = tmp_path / "out"
    answer = run(
        "compare", "--phantoms", 2, "--phantom-seed", 900_007, *options, "--out", out, "--workers", 1, "--json"
    )
    assert answer.code == 0, answer.err
    summary = json.loads(answer.out)
    assert summary["cases"] == ["phantom 900007", "phantom 900008"]
    assert summary["phantoms"] == {"cases": summary["cases"], "first_seed": 900_007, "spacing_mm": 12.0}
    assert summary["preset"] is summary["metrics"] is None
    assert not summary["failures"]
    still = next(e for e in summary["summary"] if e["method"] == "persistence")
    # landmarks and masks of the patient are known, and a copy does not move
    assert still["mean"]["landmarks"]["tre_mean"] == pytest.approx(still["mean"]["landmarks"]["tre_identity"])
    assert still["mean"]["heart"]["dsc"] > 0.5
    assert (out / "cases" / "phantom-900007" / "9" / "persistence" / "report.html").is_file()
    assert not list(out.rglob("*.nii.gz"))
    before = results(out)
    assert run("compare", "--phantoms", 3, "--phantom-seed", 900_006, *options, "--out", out, "--workers", 1).code == 0
    assert {path: results(out)[path] for path in before} == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "give a PATH for each case, or --phantoms N"),
        (("--phantoms", 1, "--preset", "slow"), "unknown --preset 'slow'; known: quick, standard"),
        (("--phantoms", 1, "--observe", 10), "--observe 10: a generated patient has 10 phases"),
        (("--phantoms", 1, "--phantom-spacing", 0.2), "--phantom-spacing takes 1 to 12 mm, got 0.2"),
    ],
)
def test_what_makes_no_comparison_is_refused(options: tuple[object, ...], said: str, run: Run) -> None:
    answer = run("compare", *options, "--out", "out")
    assert answer.code == 2
    assert said in answer.err
    assert len(answer.complaints) == 1
    assert not Path("out").exists()


def test_presets_name_methods_that_need_no_extra() -> None:
    cards = available_forecasters()
    for preset in PRESETS.values():
        assert set(preset.metrics or ()) <= set(UNITS)
        for name in preset.methods:
            assert cards[name].requires is None, f"{preset.name}: {name}"
    standard = PRESETS["standard"].methods
    assert set(PRESETS["quick"].methods) < set(standard)
    competing = [name for name in standard if cards[name].kind != "bound"]
    assert len(competing) >= 12
    assert {name.split("+")[0] for name in standard if "+" in name} >= {"svf", "elastix", "demons", "voxelmorph"}
