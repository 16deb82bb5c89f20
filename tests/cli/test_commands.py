"""Each command, run as a user runs it."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

import rtmotion_cli.forecasting_run
from rtmotion_cli import commands
from tests.cli.breathing_case import Answer, Run, breathing_volume, write_case, write_image

HELP_SECONDS = 0.5
"""What the interface promises for `rtmotion --help`: processor time, the start of Python included."""


@pytest.mark.parametrize("name", sorted(commands.EXAMPLES))
def test_every_command_has_help_with_an_example_and_the_common_options(name: str, run: Run) -> None:
    answer = run(name, "--help")
    assert answer.code == 0
    assert commands.EXAMPLES[name] in " ".join(answer.out.split())
    for option in ("--json", "--quiet", "--verbose"):
        assert option in answer.out


@pytest.mark.parametrize("name", sorted(commands.EXAMPLES))
@pytest.mark.parametrize("option", [("--device", "cpu"), ("--seed", "1"), ("-q",), ("-v",), ("--json",)])
def test_every_command_takes_the_common_options(name: str, option: tuple[str, ...], run: Run) -> None:
    assert run(name, *option, "--help").code == 0


def test_help_and_version_without_arguments(run: Run) -> None:
    import rtmotion

    assert "forecast" in run().out
    assert run("--version").out == f"rtmotion {rtmotion.__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["forecast", "--help"]])
def test_help_comes_at_once(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "rtmotion_cli", *arguments]
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) < HELP_SECONDS


def test_methods_lists_the_predictors_and_the_baselines(run: Run) -> None:
    listed = json.loads(run("methods", "--json").out)
    methods = {m["name"]: m for m in listed["methods"]}
    assert methods["video"]["kind"] == "predictor"
    assert methods["persistence"]["kind"] == "trivial"
    assert methods["svf+closure"]["installed"] is True
    table = run("methods").out
    # the registration baselines are shown as their engines and their temporal models
    assert all(part in table for name in methods for part in name.split("+"))
    assert len(table.splitlines()) < 60


def test_inspect_shows_phases_in_order(case: Path, run: Run) -> None:
    answer = run("inspect", case)
    assert answer.code == 0
    positions = [answer.out.index(f"T{p:02d}") for p in range(0, 100, 10)]
    assert positions == sorted(positions)


def test_inspect_json_is_one_object_and_nothing_else(case: Path, run: Run) -> None:
    answer = run("inspect", case, "--json")
    found = json.loads(answer.out)
    assert answer.err == ""
    assert found["schema"] == "rtmotion.inspect/1"
    (sequence,) = found["sequences"]
    assert [p["label"] for p in sequence["phases"]] == [f"T{p:02d}" for p in range(0, 100, 10)]
    assert sequence["grid"]["size"] == [28, 24, 20]
    assert sequence["grid"]["spacing"] == pytest.approx([4, 4, 5])


def persist(run: Run, path: Path, *more: object) -> Answer:
    return run("forecast", path, "--method", "persistence", "--device", "cpu", *more)


def test_forecast_writes_what_the_interface_says(case: Path, run: Run) -> None:
    answer = persist(run, case, "--observe", 4, "--out", "result", "--json")
    assert answer.code == 0, answer.err
    printed = json.loads(answer.out)
    written = json.loads(Path("result/forecast.json").read_text(encoding="utf-8"))
    assert printed == {"folder": "result", **written}
    assert written["schema"] == "rtmotion.forecast/1"
    assert written["observe"] == 4
    assert written["observed"] == ["T00", "T10", "T20", "T30"]
    assert written["predicted"] == ["T40", "T50", "T60", "T70", "T80", "T90"]
    assert written["device"] == "cpu"
    assert written["versions"]["rtmotion"]
    assert {row["metric"] for row in written["metrics"]} >= {"mae", "rmse", "psnr", "ssim", "ncc"}
    for output in written["outputs"]:
        image = sitk.ReadImage(str(Path("result") / output["volume"]))
        assert image.GetPixelID() == sitk.sitkInt16
        assert image.GetSize() == (28, 24, 20)
    assert Path("result/report.html").stat().st_size > 10_000


def test_persistence_copies_the_last_observed_phase_where_it_was(case: Path, run: Run) -> None:
    persist(run, case, "--observe", 4, "--out", "result", "-q")
    truth, copied = sitk.ReadImage(str(case / "phase_30.nii.gz")), sitk.ReadImage("result/phase_60.nii.gz")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(copied), sitk.GetArrayFromImage(truth))
    assert copied.GetOrigin() == pytest.approx(truth.GetOrigin())
    assert copied.GetSpacing() == pytest.approx(truth.GetSpacing())
    assert copied.GetDirection() == pytest.approx(truth.GetDirection())


def test_forecast_goes_beside_the_current_folder_by_default(case: Path, run: Run) -> None:
    answer = persist(run, case, "--observe", 8)
    assert answer.code == 0, answer.err
    assert Path("breathing_case_forecast/forecast.json").is_file()
    assert "breathing_case_forecast" in answer.out


def test_an_input_that_ends_with_the_last_observed_phase_is_forecast_without_a_score(
    short_case: Path, run: Run
) -> None:
    answer = persist(run, short_case, "--observe", 4, "--out", "result", "--json")
    assert answer.code == 0, answer.err
    written = json.loads(answer.out)
    assert written["predicted"] == ["T40", "T50", "T60", "T70", "T80", "T90"]
    assert not written.get("metrics")


def test_a_second_run_with_another_count_leaves_no_stale_file(case: Path, run: Run) -> None:
    persist(run, case, "--observe", 3, "--out", "result", "-q")
    assert Path("result/phase_30.nii.gz").is_file()
    persist(run, case, "--observe", 8, "--out", "result", "-q")
    assert sorted(p.name for p in Path("result").glob("phase_*")) == ["phase_80.nii.gz", "phase_90.nii.gz"]


def test_names_with_blanks_and_markup_are_only_text(tmp_path: Path, run: Run) -> None:
    folder = write_case(tmp_path / "a <b>bold<b> [red]case ünïcode", range(0, 100, 20))
    assert persist(run, folder, "--observe", 3, "--out", "out <script>alert(1)</script>").code == 0
    page = Path("out <script>alert(1)</script>/report.html").read_text(encoding="utf-8")
    assert "<b>bold" not in page
    assert "<script>alert(1)" not in page
    shown = run("inspect", folder)
    assert "<b>bold<b> [red]case ünïcode" in shown.out


def test_report_is_built_again_from_the_files(case: Path, run: Run) -> None:
    persist(run, case, "--observe", 8, "--out", "result", "-q")
    page = Path("result/report.html")
    page.unlink()
    answer = run("report", "result")
    assert answer.code == 0, answer.err
    assert page.stat().st_size > 10_000


def test_compare_writes_tables_and_does_only_what_is_missing(tmp_path: Path, run: Run) -> None:
    case = write_case(tmp_path / "patient", range(0, 100, 25))
    arguments = ("compare", case, "--observe", "2,3", "--methods", "persistence,mean", "--device", "cpu", "--json")
    first = run(*arguments)
    assert first.code == 0, first.err
    summary = json.loads(first.out)
    assert summary["schema"] == "rtmotion.compare/1"
    table = Path("comparison/results.csv").read_text(encoding="utf-8").splitlines()
    assert table[0] == "case,method,observe,phase,region,metric,value,unit"
    assert Path("comparison/report.html").stat().st_size > 10_000
    results = {p: p.stat().st_mtime_ns for p in Path("comparison").rglob("result.json")}
    assert results
    assert run(*arguments).code == 0
    assert {p: p.stat().st_mtime_ns for p in Path("comparison").rglob("result.json")} == results


def test_two_cases_of_one_name_are_told_apart(tmp_path: Path, run: Run) -> None:
    cases = [write_case(tmp_path / patient / "ct", [0, 30, 60]) for patient in ("ann", "bob")]
    answer = run("compare", *cases, "--observe", "2", "--methods", "persistence", "--device", "cpu", "--json")
    assert answer.code == 0, answer.err
    assert len(set(json.loads(answer.out)["cases"])) == 2


def test_phantom_is_reproducible_and_can_be_forecast(run: Run) -> None:
    size = ("--size", 24, 24, 20, "--spacing", 12, 12, 12, "--phases", 5)
    for name in ("one", "two"):
        assert run("phantom", name, *size, "--seed", 3, "--device", "cpu").code == 0
    one, two = (sitk.GetArrayFromImage(sitk.ReadImage(f"{name}/phase_20.nii.gz")) for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)
    assert Path("one/landmarks.csv").read_text(encoding="utf-8").startswith("id,phase,x,y,z")
    assert persist(run, Path("one"), "--observe", 3, "--out", "result").code == 0


def test_phantom_does_not_write_over_something_else(run: Run) -> None:
    Path("mine").mkdir()
    (Path("mine") / "thesis.txt").write_text("years of work")
    answer = run("phantom", "mine", "--size", 24, 24, 20, "--spacing", 12)
    assert answer.code == 2
    assert "mine" in answer.err


def test_register_writes_fields_that_itk_understands(tmp_path: Path, run: Run) -> None:
    folder = write_case(tmp_path / "patient", [0, 50])
    answer = run("register", folder, "--reference", "T50", "--out", "fields", "--device", "cpu", "--json")
    assert answer.code == 0, answer.err
    printed = json.loads(answer.out)
    assert printed["schema"] == "rtmotion.register/1"
    assert printed["reference"] == "T50"
    moved = next(row for row in printed["fields"] if row["phase"] == "T00")
    assert moved["folding"] == 0
    fixed, moving = (sitk.ReadImage(str(folder / f"phase_{p}.nii.gz"), sitk.sitkFloat32) for p in ("00", "50"))
    field = sitk.ReadImage(f"fields/{moved['displacement']}", sitk.sitkVectorFloat64)
    warped = sitk.Resample(moving, fixed, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, -1000.0)
    before, after = (np.abs(sitk.GetArrayFromImage(i - fixed)).mean() for i in (moving, warped))
    assert after < 0.85 * before


def test_an_interrupt_says_one_line_and_leaves_nothing_half_written(
    case: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rtmotion_cli.forecasting_run, "make_forecast", interrupt)
    answer = persist(run, case, "--observe", 3, "--out", "result")
    assert answer.code == 130
    assert len(answer.complaints) == 1
    assert not Path("result").exists()


def test_an_unexpected_fault_is_one_line_and_a_traceback_only_with_v(
    case: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("the moon\nfell")

    monkeypatch.setattr(rtmotion_cli.forecasting_run, "make_forecast", fail)
    answer = persist(run, case, "--observe", 3, "--out", "result")
    assert answer.code == 1
    assert answer.complaints == [
        "rtmotion: unexpected fault: ZeroDivisionError: the moon fell; run again with -v to see where"
    ]
    assert "Traceback" in persist(run, case, "--observe", 3, "--out", "result", "-v").err


def test_a_full_disk_is_the_users_to_mend(case: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise OSError(28, "No space left on device", "result/phase_30.nii.gz")

    monkeypatch.setattr(rtmotion_cli.forecasting_run, "write", fill)
    answer = persist(run, case, "--observe", 3, "--out", "result")
    assert answer.code == 2
    assert len(answer.complaints) == 1
    assert "No space left" in answer.err


def test_warnings_of_a_forecast_are_on_stderr_and_quiet_hides_them(tmp_path: Path, run: Run) -> None:
    folder = write_case(tmp_path / "gap", [0, 10, 20, 40, 50, 60, 70, 80, 90])
    loud = persist(run, folder, "--observe", 3, "--out", "result")
    assert loud.code == 0
    assert "warning: " in loud.err
    assert persist(run, folder, "--observe", 3, "--out", "result", "-q").err == ""


def test_files_without_numbers_are_read_with_phases(tmp_path: Path, run: Run) -> None:
    images = [
        write_image(tmp_path / f"{name}.nii.gz", breathing_volume(inhale))
        for name, inhale in (("exhale", 0.0), ("inhale", 1.0), ("middle", 0.5))
    ]
    answer = run("inspect", *images, "--phases", "50,0,25", "--json")
    assert answer.code == 0, answer.err
    (sequence,) = json.loads(answer.out)["sequences"]
    files = {p["label"]: Path(p["files"][0]).name for p in sequence["phases"]}
    assert files == {"T00": "inhale.nii.gz", "T25": "middle.nii.gz", "T50": "exhale.nii.gz"}
