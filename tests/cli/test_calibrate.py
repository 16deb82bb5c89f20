import json
from pathlib import Path

import pytest

from rtmotion_cli.main import main


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibration") / "my patient"
    assert main(["phantom", str(folder), "--phases", "6", "--size", "30", "24", "24", "--spacing", "11", "-q"]) == 0
    return folder


def test_the_uncertainty_is_stretched_and_the_report_says_after_what(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "calibration.json"
    assert main(["calibrate", str(case), "--observe", "3,4", "--out", str(file), "--json", "--device", "cpu"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert [row["observe"] for row in summary["cases"]] == [3, 4]
    assert set(summary["factors"]) == {"3", "4"}
    assert all(factor > 0 for factor in summary["factors"].values())
    out = tmp_path / "forecast"
    arguments = ["forecast", str(case), "--observe", "3", "--out", str(out), "-q", "--device", "cpu"]
    assert main([*arguments, "--calibration", str(file)]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "after 1 cases, registered displacements" in page
    assert main([*arguments, "--calibration", str(file), "--method", "persistence"]) == 2


def test_too_few_phases_and_other_weights_are_refused(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "calibration.json"
    assert main(["calibrate", str(case), "--observe", "6", "--out", str(file), "--device", "cpu"]) == 2
    assert "the case has 6" in capsys.readouterr().err
    assert not file.exists()
    learned = {"schema": "rtmotion.calibration/1", "factors": {"3": 1.5}, "cases": 1, "truth": "known", "weights": "x"}
    file.write_text(json.dumps(learned))
    assert (
        main(["forecast", str(case), "--observe", "3", "--out", str(tmp_path / "f"), "--calibration", str(file)]) == 2
    )
    assert "other weights" in capsys.readouterr().err
