from pathlib import Path

import pytest
import torch

from rtmotion.errors import ReadError, RtmotionError
from rtmotion.evaluation.calibration import radius_factor
from rtmotion.video.calibration import (
    SpreadCalibration,
    case_factor,
    conformal,
    load_calibration,
    save_calibration,
)


def test_normal_errors_of_the_stated_size_need_no_stretching() -> None:
    random = torch.Generator().manual_seed(0)
    sd = 0.5 + 2 * torch.rand(50_000, generator=random)
    error = torch.randn(3, 50_000, generator=random) * sd / 3**0.5
    truth = torch.zeros(3, 50_000)
    assert case_factor([error], [truth], [sd]) == pytest.approx(1.0, abs=0.01)
    assert case_factor(
        [2 * error[:, :100], 2 * error[:, 100:]], [truth[:, :100], truth[:, 100:]], [sd[:100], sd[100:]]
    ) == (pytest.approx(2.0, abs=0.02))


def test_stretched_intervals_hold_what_they_say() -> None:
    random = torch.Generator().manual_seed(1)
    sd = torch.ones(2000)
    error = torch.randn(3, 2000, generator=random).pow(3)
    factor = case_factor([error], [torch.zeros(3, 2000)], [sd])
    inside = error.norm(dim=0) <= factor * radius_factor(80) * sd
    assert float(inside.float().mean()) == pytest.approx(0.8, abs=0.002)


@pytest.mark.parametrize(("count", "wanted"), [(1, 1.0), (4, 4.0), (9, 8.0), (19, 16.0)])
def test_the_factor_is_the_conformal_quantile_over_cases(count: int, wanted: float) -> None:
    assert conformal([float(n) for n in range(count, 0, -1)]) == wanted


def test_a_calibration_is_written_and_read_again(tmp_path: Path) -> None:
    made = SpreadCalibration({3: 1.5, 7: 1.2}, 4, "registered", "abc")
    path = tmp_path / "new folder" / "calibration.json"
    save_calibration(made, path)
    assert load_calibration(path) == made
    assert [made.factor(k) for k in (2, 3, 5, 6, 9)] == [1.5, 1.5, 1.5, 1.2, 1.2]
    assert "4 cases" in made.description


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "rtmotion.calibration/1", "factors": {"3": -1}}', "[1]", '"x"'])
def test_what_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(ReadError, match="rtmotion calibrate"):
        load_calibration(path)


def test_a_case_without_lung_is_refused() -> None:
    with pytest.raises(RtmotionError, match="without lung"):
        case_factor([torch.zeros(3, 0)], [torch.zeros(3, 0)], [torch.zeros(0)])
