"""Landmarks at the command line: what inspect and register say of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.breathing_case import Run


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
