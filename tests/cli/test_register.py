"""`rtmotion register`: any engine, masks, weights, and what register.json says of itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from rtmotion_baselines.registration.engines import ENGINES
from tests.cli.breathing_case import SIZE, Run, write_case, write_image


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """End-inhale and end-exhale."""
    return write_case(tmp_path_factory.mktemp("patient") / "pair", [0, 50])


def whole_mask(path: Path, value: int = 1) -> Path:
    return write_image(path, np.full(SIZE[::-1], value, dtype=np.uint8))


@pytest.mark.parametrize(
    ("method", "mask"),
    [
        ("demons", "lung"),
        ("demons-diffeomorphic", "body"),
        ("svf", "FILE"),
        pytest.param("elastix", None, marks=pytest.mark.slow),  # 2000 steps on volumes of any size
    ],
)
def test_any_engine_registers_a_case(method: str, mask: str | None, pair: Path, run: Run, tmp_path: Path) -> None:
    chosen = [] if mask is None else ["--mask", whole_mask(tmp_path / "mask.nii.gz") if mask == "FILE" else mask]
    answer = run("register", pair, "--method", method, *chosen, "--out", "fields", "--device", "cpu", "--json")
    assert answer.code == 0, answer.err
    summary = json.loads(answer.out)
    assert json.loads(Path("fields/register.json").read_text(encoding="utf-8"))["fields"] == summary["fields"]
    assert summary["method"] == method
    assert summary["settings"].get("diffeomorphic", False) == (method == "demons-diffeomorphic")
    assert summary["mask"] == {None: "of the engine", "FILE": "file"}.get(mask, mask)
    assert "mm, LPS" in summary["conventions"]["displacement"]
    moved = next(row for row in summary["fields"] if row["phase"] == "T50")
    assert moved["mae"] < 0.9 * moved["mae_before"]
    # phase T50 to the reference T00: SimpleITK resamples the reference into the phase
    fixed, moving = (sitk.ReadImage(str(pair / f"phase_{p}.nii.gz"), sitk.sitkFloat32) for p in ("50", "00"))
    field = sitk.ReadImage(f"fields/{moved['displacement']}", sitk.sitkVectorFloat64)
    warped = sitk.Resample(moving, fixed, sitk.DisplacementFieldTransform(field), sitk.sitkLinear, -1000.0)
    # away from the ends, beyond which SimpleITK sees air
    before, after = (np.abs(sitk.GetArrayFromImage(i - fixed)[4:-4]).mean() for i in (moving, warped))
    assert after < 0.9 * before


def test_the_seed_reaches_the_engine(pair: Path, run: Run) -> None:
    answer = run("register", pair, "--method", "svf", "--seed", 7, "--out", "fields", "--device", "cpu", "--json")
    assert json.loads(answer.out)["settings"]["seed"] == 7


@pytest.mark.parametrize("name", sorted(name for name, card in ENGINES.items() if not card.installed))
def test_a_missing_extra_gets_its_pip_line(name: str, pair: Path, run: Run) -> None:
    for arguments in (
        ("register", pair, "--method", name),
        ("forecast", pair, "--observe", 2, "--method", f"{name}+linear"),
    ):
        answer = run(*arguments)
        assert answer.code == 2
        assert len(answer.complaints) == 1
        assert "pip install 'rtmotion[" in answer.err
    assert not list(Path().iterdir())


def test_masks_and_weights_that_are_of_no_use_are_refused(pair: Path, run: Run, tmp_path: Path) -> None:
    text = tmp_path / "mask.txt"
    text.write_text("no image")
    for options, words in (
        (("--mask", "liver"), ["--mask liver", "lung or body", "no such file"]),
        (("--mask", text), ["mask.txt", "cannot be read"]),
        (("--mask", whole_mask(tmp_path / "empty.nii.gz", 0)), ["empty.nii.gz", "nothing of this mask"]),
        (("--weights", text), ["--weights", "svf takes no file of weights"]),
        (("--method", "svf+closure"), ["svf+closure", "known: ", "demons"]),
    ):
        answer = run("register", pair, *options, "--out", "fields")
        assert answer.code == 2, answer.err
        assert len(answer.complaints) == 1
        assert all(word in answer.err for word in words), answer.err
        assert not Path("fields").exists()
