"""Landmarks at the command line: what inspect and register say of them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from rtmotion_data.readers.dirlab import CASES, DirlabCase
from rtmotion_data.readers.dirlab_landmarks import IDENTITY_MM
from tests.cli.breathing_case import SIZE, SPACING, Run, breathing_volume, write_case


def write_landmarks(folder: Path, size: tuple[int, int, int], up: tuple[int, int], share: float = 0.5) -> None:
    """300 as DIR-Lab has them; to T50 a share moves up by the second number of slices, the others by the first."""
    generator = np.random.default_rng(0)
    rows = generator.integers([3, 3, 5], np.array(size) - 2, size=(300, 3))
    slices = np.where(np.arange(300) < round(300 * share), up[1], up[0])
    moved = rows - np.stack([0 * slices, 0 * slices, slices], axis=1)
    folder.mkdir(parents=True, exist_ok=True)
    for label, points in (("T00", rows), ("T50", moved)):
        text = "".join(f"{x}\t{y}\t{z} \r\n" for x, y, z in points)
        (folder / f"Case1_300_{label}_xyz.txt").write_text(text)


def sparse_case(root: Path) -> Path:
    """Case 1 in its real size, without voxels."""
    images = root / "Images"
    images.mkdir(parents=True)
    for percent in (0, 50):
        with (images / f"case1_T{percent:02d}_s.img").open("wb") as file:
            file.truncate(2 * 256 * 256 * 94)
    return root


def test_inspect_shows_the_self_check_of_a_dirlab_case(tmp_path: Path, run: Run) -> None:
    root = sparse_case(tmp_path / "Case1Pack")
    write_landmarks(root / "ExtremePhases", (256, 256, 94), (1, 2), share=0.556)  # 2.5 mm (1 + .556) = 3.89 mm
    answer = run("inspect", root, "--quick")
    assert answer.code == 0
    assert (
        "landmarks: DIR-Lab case 1, 300 landmarks in T00, T50: the landmarks lie 3.89 mm apart in T00 and T50, "
        "published are 3.89 mm: they agree"
    ) in answer.out.splitlines()
    assert "warning: DIR-Lab" not in answer.out
    found = json.loads(run("inspect", root, "--quick", "--json").out)["sequences"][0]
    (check,) = found["landmarks"][0]["identity_checks"]
    assert check["published_mm"] == 3.89
    assert check["agrees"] is True
    assert check["measured_mm"] == check["superior_mm"] == pytest.approx(3.89, abs=0.005)


def test_inspect_warns_loudly_of_another_cases_landmarks(tmp_path: Path, run: Run) -> None:
    root = sparse_case(tmp_path / "Case1Pack")
    write_landmarks(root / "ExtremePhases", (256, 256, 94), (3, 4))
    warning = [line for line in run("inspect", root, "--quick").out.splitlines() if line.startswith("warning: DIR-Lab")]
    assert len(warning) == 1
    assert "published are 3.89 mm: wrong landmark files, another case" in warning[0]


def dirlab_case(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small breathing chest as a DIR-Lab case, landmarks as they move in its tissue: two slices up to T50."""
    monkeypatch.setitem(CASES, 1, DirlabCase(SIZE, SPACING))
    monkeypatch.setitem(IDENTITY_MM, 1, 2 * SPACING[2])
    (root / "Images").mkdir(parents=True)
    for percent, inhale in ((0, 1.0), (50, 0.0)):
        stored = breathing_volume(inhale)[::-1] + 1024  # slices from superior to inferior
        (root / "Images" / f"case1_T{percent:02d}.img").write_bytes(stored.astype("<i2").tobytes())
    write_landmarks(root / "ExtremePhases", SIZE, (2, 2))
    return root


def test_register_measures_both_directions_of_a_dirlab_case(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = dirlab_case(tmp_path / "Case1Pack", monkeypatch)
    answer = run("register", root, "--out", "fields", "--device", "cpu", "--json")
    assert answer.code == 0, answer.err
    printed = json.loads(answer.out)
    (entry,) = printed["landmarks"]
    assert (entry["convention"], entry["count"], entry["fixed"], entry["moving"]) == ("dirlab-300", 300, "T50", "T00")
    assert "on the grid of the fixed phase T50" in entry["direction"]
    assert entry["identity_check"]["agrees"] is True
    assert entry["identity"]["mean_mm"] == pytest.approx(10.0)
    assert entry["tre"]["mean_mm"] < 10.0
    assert json.loads(Path("fields/register.json").read_text(encoding="utf-8"))["landmarks"] == [entry]
    with open("fields/landmarks.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    errors = [float(row["error_mm"]) for row in rows]
    assert np.mean(errors) == pytest.approx(entry["tre"]["mean_mm"], abs=1e-3)
    assert np.median(errors) == pytest.approx(entry["tre"]["median_mm"], abs=1e-3)
    row = rows[7]
    mapped, target = (np.array([float(row[f"{what}_{a}_mm"]) for a in "xyz"]) for what in ("mapped", "target"))
    assert np.linalg.norm(mapped - target) == pytest.approx(float(row["error_mm"]), abs=1e-3)


def test_register_shows_the_table_of_given_landmarks(tmp_path: Path, run: Run) -> None:
    folder = write_case(tmp_path / "patient", [0, 50])
    table = tmp_path / "points.csv"
    table.write_text("id,phase,x,y,z\na,0,5,5,40\na,50,5,5,46\nb,0,9,5,50\nb,50,9,5,54\n")
    answer = run("register", folder, "--landmarks", table, "--out", "fields", "--device", "cpu")
    assert answer.code == 0, answer.err
    assert "landmark errors (mm)" in answer.out
    (line,) = (words for words in answer.out.splitlines() if words.strip().startswith("lps-mm "))
    assert line.split()[:5] == ["lps-mm", "T50", "→", "T00", "5.00"]
    assert "fields/landmarks.csv" in answer.out.replace("\\", "/")


def test_landmarks_without_the_reference_are_said_to_be_of_no_use(tmp_path: Path, run: Run) -> None:
    folder = write_case(tmp_path / "patient", [0, 30, 50])
    table = tmp_path / "points.csv"
    table.write_text("id,phase,x,y,z\na,0,5,5,40\na,50,5,5,46\n")
    answer = run("register", folder, "--landmarks", table, "--reference", "T30", "--out", "fields", "--device", "cpu")
    assert answer.code == 0, answer.err
    assert "none in the reference phase T30, so they measure nothing; take --reference T00 or T50" in answer.err
    assert not Path("fields/landmarks.csv").exists()


def test_landmarks_that_cannot_be_read_stop_before_the_long_work(tmp_path: Path, run: Run) -> None:
    folder = write_case(tmp_path / "patient", [0, 50])
    table = tmp_path / "points.csv"
    table.write_text("id,phase,x,y,z\na,0,5,5,forty\n")
    answer = run("register", folder, "--landmarks", table, "--out", "fields", "--device", "cpu")
    assert answer.code == 2
    assert "points.csv, line 2: numbers were expected" in answer.complaints[-1]
    assert not Path("fields").exists()
