"""The light page of a compared forecast: small, whole, safe, the same slices for every method and k."""

import io
import re
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from rtmotion.forecasting import Forecast
from rtmotion.grid import Grid
from rtmotion.report import write_forecast_summary
from rtmotion.report.orientation import orientation_of
from rtmotion.report.picture import load_picture
from rtmotion.report.planes import choose_planes
from rtmotion.report.slices import VIEWS, plane
from rtmotion.sequence import Phase, PhaseSequence, Volume
from tests.rtmotion.report import case

LARGEST_PAGE = 300_000
LONGEST_SECONDS = 5.0
"""For a large volume; measured in about .2 s, and a busy machine is to pass."""


def written(folder: Path, *, full: bool = False) -> str:
    observed, truth = case.sequence().observe(case.OBSERVED)
    info = {**case.info(), "kind": "bound"}
    file = write_forecast_summary(
        folder, case.forecast_of(observed, truth), observed, truth, case.rows_of(truth), info, full=full
    )
    assert file == folder / "report.html"
    return file.read_text(encoding="utf-8")


def test_it_is_whole_small_and_safe(tmp_path: Path) -> None:
    page = written(tmp_path)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["picture.npz", "report.html"]
    assert len(page.encode()) < LARGEST_PAGE
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    tags = re.findall(r"<[^>]*>", page.split("<script")[0])
    assert [t for t in tags if re.search(r"\b(?:src|href|srcset|action)=", t)] == [
        '<link rel="icon" href="data:,">',
        '<a href="../../../../report.html">',
    ]
    for text in ("a warning with", "register", "T50", "MAE", "It is a bound", "Research use only", "cannot know"):
        assert text in page
    assert 'id="plotly"' not in page


def test_the_full_page_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    page = written(tmp_path, full=True)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["picture.npz", "report.html", "report_data.npz"]
    assert 'id="plotly"' in page


def test_the_slices_are_those_of_the_tumour_where_there_is_one() -> None:
    whole = case.sequence()
    mask = torch.zeros(whole.grid.shape, dtype=torch.uint8)
    mask[18:21, 9:12, 24:29] = 1
    marked = PhaseSequence(whole.phases, whole.volumes, {}, {"lungs": {}, "Tumour 1": {"T00": mask}})
    box, at, where = choose_planes([marked], orientation_of(whole.grid))
    assert {name: index + box[2 - v.normal].start for (name, index), v in zip(at.items(), VIEWS, strict=True)} == {
        "coronal": 10,
        "sagittal": 26,
        "axial": 19,
    }
    assert where == "through the centre of Tumour 1"


def test_without_a_tumour_the_slices_are_where_it_moves_and_the_same_for_every_k() -> None:
    whole = case.sequence()
    orientation = orientation_of(whole.grid)
    chosen = [choose_planes(whole.observe(k), orientation) for k in (2, 3, 5)]
    assert chosen[0] == chosen[1] == chosen[2]
    box, at, _ = chosen[0]
    height = (at["axial"] + box[0].start) * whole.grid.spacing[2]
    assert 36 <= height <= 48  # the floor of the lungs lies from 40 to 45 mm


@pytest.mark.parametrize("direction", case.every_direction()[::5])
def test_the_planes_are_upright_whatever_the_axes(direction: tuple[float, ...]) -> None:
    grid = Grid((20, 24, 28), (4.0, 4.0, 4.0), direction=direction)
    orientation = orientation_of(grid)
    upright_shape = tuple(reversed(orientation.size))
    levels = [np.full(upright_shape, 40.0, dtype=np.float32) for _ in range(2)]
    levels[1][3, 5, 7] = -500.0
    back = orientation.upright(np.arange(grid.voxels).reshape(grid.shape))
    volumes = []
    for values in levels:
        data = np.empty(grid.voxels, dtype=np.float32)
        data[back.reshape(-1)] = values.reshape(-1)
        volumes.append(Volume(torch.from_numpy(data.reshape(grid.shape)), grid))
    moved = PhaseSequence((Phase(0.0), Phase(0.5)), tuple(volumes))
    box, at, _ = choose_planes([moved], orientation)
    assert [at[v.name] + box[2 - v.normal].start for v in VIEWS] == [5, 7, 3]


def test_the_picture_is_the_phase_that_differs_most_from_the_last_observed(tmp_path: Path) -> None:
    from PIL import Image

    written(tmp_path)
    picture = load_picture(tmp_path)
    assert picture is not None
    # observed up to 4 mm; to come 5, 4 and 2
    assert picture.facts["phase"] == "T83"
    shown = np.asarray(Image.open(io.BytesIO(picture.truth)))[: picture.facts["height"], : picture.facts["width"]]
    observed, truth = case.sequence().observe(case.OBSERVED)
    box, at, _ = choose_planes([observed, truth], orientation_of(observed.grid))
    upright = orientation_of(observed.grid).upright(truth.volume("T83").data.numpy())[box]
    expected = plane(VIEWS[0], upright, at["coronal"])
    lung = expected < -600
    assert shown.shape == expected.shape
    assert shown[lung].mean() < 100 < shown[(expected > 0)].mean()


def test_no_picture_in_a_folder_without_one(tmp_path: Path) -> None:
    assert load_picture(tmp_path) is None
    (tmp_path / "picture.npz").write_bytes(b"something else")
    assert load_picture(tmp_path) is None


def test_a_large_case_stays_small_and_quick(tmp_path: Path) -> None:
    """Ten phases of 256×256×100 voxels of noise, which no JPEG likes."""
    rng = np.random.default_rng(0)
    grid = Grid((256, 256, 100), (1.4, 1.4, 2.5))
    noise = rng.normal(-300, 250, grid.shape).astype(np.int16)
    volumes = tuple(Volume(torch.from_numpy(np.roll(noise, i, axis=2)), grid) for i in range(10))
    observed, truth = PhaseSequence(tuple(Phase.of_percent(10 * i) for i in range(10)), volumes).observe(3)
    forecast = Forecast("m", truth.phases, (volumes[2],) * 7, details={"long": list(range(5000))})
    rows = [
        {"phase": p, "region": f"region {r}", "metric": m, "value": 1.234567, "unit": "HU"}
        for r in range(6)
        for m in ("mae", "rmse", "psnr", "ssim", "ncc", "dsc", "hd95")
        for p in truth.labels
    ]
    start = time.perf_counter()
    page = write_forecast_summary(tmp_path, forecast, observed, truth, rows, {})
    assert time.perf_counter() - start < LONGEST_SECONDS
    assert page.stat().st_size < LARGEST_PAGE
    assert "(5000 values)" in page.read_text(encoding="utf-8")


@pytest.mark.data
@pytest.mark.parametrize("case_name", ["lung_tumour_crop_4dct", "popi_4dct_dicom"])
def test_the_page_of_a_patient_stays_small(real_data: Path, case_name: str, tmp_path: Path) -> None:
    """Real texture, seven predicted phases: the images give way, not the limit."""
    from rtmotion_data.inspection import read

    observed, truth = read(real_data / case_name)[0].observe(3)
    copied = Forecast("persistence", truth.phases, (observed.volumes[-1],) * len(truth))
    page = write_forecast_summary(tmp_path, copied, observed, truth, [], {"case": "a patient"})
    assert 60_000 < page.stat().st_size < LARGEST_PAGE
    picture = load_picture(tmp_path)
    assert picture is not None
    assert len(picture.prediction) < 8_000
    assert "where the images change most" in picture.facts["where"]
