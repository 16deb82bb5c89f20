"""What is written: whole or not at all, and the same to the libraries that read it."""

import errno
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from scipy.spatial.transform import Rotation

from rtmotion.errors import WriteError
from rtmotion.field import DisplacementField
from rtmotion.forecasting import Forecast, Waveform
from rtmotion.grid import Grid
from rtmotion.interop import field_from_sitk, volume_from_nibabel, volume_from_sitk
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion_data.found import FoundPhase, FoundSequence
from rtmotion_data.writers.atomic import plain, replacing, together, write_json, write_text
from rtmotion_data.writers.dicom_ct import dicom_uid, write_ct_series
from rtmotion_data.writers.forecast import to_int16, write_forecast
from rtmotion_data.writers.metaimage import write_displacement
from rtmotion_data.writers.nifti import write_nifti

NIFTI_MM = 1e-4
"""mm; NIfTI stores its geometry in single precision."""

DICOM_MM = 1e-4
"""mm; a decimal string of DICOM has 16 characters."""

OBLIQUE = tuple(Rotation.from_euler("xyz", [12, -25, 40], degrees=True).as_matrix().reshape(-1).tolist())
GRID = Grid((6, 5, 4), (1.1, 0.7, 2.5), (-10.5, 220.25, -31.125), OBLIQUE)
GRIDS = pytest.mark.parametrize(
    "grid",
    [
        GRID,
        Grid((6, 5, 4), (1.1, 0.7, 2.5)),
        Grid((6, 5, 4), (1.1, 0.7, 2.5), direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)),
        Grid((6, 5, 4), (1.1, 0.7, 2.5), direction=(0.0, 0.0, 1.0, 0.0, -1.0, 0.0, 1.0, 0.0, 0.0)),
    ],
    ids=["oblique", "axial", "left-handed", "sagittal"],
)


CURVE = np.array([0.0, math.nan])


def volume(grid: Grid = GRID, seed: int = 0) -> Volume:
    data = torch.randint(-1024, 3000, grid.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.int16)
    return Volume(data, grid)


def left_in(folder: Path) -> list[str]:
    return sorted(f.name for f in folder.rglob("*"))


# --- atomic


def test_replacing_renames_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.nii.gz"
    with replacing(target) as beside:
        beside.write_text("whole")
        assert not target.exists()
        assert beside.parent == target.parent
        assert beside.name.endswith(".nii.gz")
        assert beside.name.startswith(".")
    assert target.read_text() == "whole"
    assert left_in(target.parent) == ["a.nii.gz"]


def fail(file: Path, fault: type[BaseException]) -> None:
    file.write_text("half")
    raise fault


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_after_an_exception(tmp_path: Path, fault: type[BaseException]) -> None:
    (tmp_path / "a.txt").write_text("before")
    with pytest.raises(fault), replacing(tmp_path / "a.txt") as beside:
        fail(beside, fault)
    assert (tmp_path / "a.txt").read_text() == "before"
    assert left_in(tmp_path) == ["a.txt"]
    with pytest.raises(fault), together(tmp_path / "run") as staging:
        fail(staging / "b.txt", fault)
    assert left_in(tmp_path) == ["a.txt"]


def test_a_full_disk_is_a_write_error(tmp_path: Path) -> None:
    with (
        pytest.raises(WriteError, match=r"a\.txt: cannot be written \(No space left on device\)"),
        replacing(tmp_path / "a.txt"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert left_in(tmp_path) == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(WriteError, match="cannot be written"):
        write_text(tmp_path / "out" / "a.txt", "x")
    with pytest.raises(WriteError, match="cannot be written"), together(tmp_path / "out"):
        pass


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(WriteError, match="Permission denied"):
        write_text(tmp_path / "a.txt", "x")


def test_together_moves_the_last_file_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = os.replace

    def note(source: Path, target: Path) -> None:
        order.append(target.name)
        replace(source, target)

    monkeypatch.setattr(os, "replace", note)
    with together(tmp_path / "out", last="a.json") as staging:
        for name in ("a.json", "b.mha", "c.nii.gz"):
            (staging / name).write_text(name)
    assert order == ["b.mha", "c.nii.gz", "a.json"]
    assert left_in(tmp_path / "out") == ["a.json", "b.mha", "c.nii.gz"]


def test_plain_values_for_json(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Row:
        value: float

    value = {
        1: (np.float32(0.5), np.array([1, 2]), torch.tensor([math.inf])),
        "row": Row(math.nan),
        "path": Path("a/b"),
    }
    assert plain(value) == {"1": [0.5, [1, 2], [None]], "row": {"value": None}, "path": str(Path("a/b"))}
    write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["row"] == {"value": None}


# --- volumes and fields


@GRIDS
def test_nifti_is_read_alike_by_nibabel_and_itk(tmp_path: Path, grid: Grid) -> None:
    made = volume(grid)
    write_nifti(tmp_path / "v.nii.gz", made.data, made.grid)
    image: Any = nib.load(tmp_path / "v.nii.gz")
    for back in (volume_from_nibabel(image), volume_from_sitk(sitk.ReadImage(str(tmp_path / "v.nii.gz")))):
        assert torch.equal(back.data, made.data)
        assert back.data.dtype is torch.int16
        assert back.grid.is_close(grid, NIFTI_MM)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert np.allclose(image.get_qform(coded=True)[0], image.get_sform(coded=True)[0], atol=NIFTI_MM)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        (torch.bool, np.uint8),
        (torch.float64, np.float32),
        (torch.float16, np.float32),
        (torch.int64, np.int32),
        (torch.uint8, np.uint8),
    ],
)
def test_nifti_number_types(tmp_path: Path, given: torch.dtype, stored: type) -> None:
    data = torch.ones(GRID.shape).to(given)
    write_nifti(tmp_path / "v.nii", data, GRID)
    image: Any = nib.load(tmp_path / "v.nii")
    assert image.get_data_dtype() == stored
    assert np.asanyarray(image.dataobj).max() == 1


@GRIDS
def test_displacement_is_float32_mm_and_compressed(tmp_path: Path, grid: Grid) -> None:
    data = torch.randn(3, *grid.shape, generator=torch.Generator().manual_seed(1))
    write_displacement(tmp_path / "dvf_50.mha", DisplacementField(data, grid))
    image = sitk.ReadImage(str(tmp_path / "dvf_50.mha"))
    assert image.GetPixelID() == sitk.sitkVectorFloat32
    back = field_from_sitk(image)
    assert torch.equal(back.data, data)
    assert back.grid.is_close(grid, 1e-6)
    assert b"CompressedData = True" in (tmp_path / "dvf_50.mha").read_bytes()[:1000]
    assert left_in(tmp_path) == ["dvf_50.mha"]


def test_displacement_that_itk_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="cannot be written"):
        write_displacement(tmp_path / "field.unknown", DisplacementField(torch.zeros(3, *GRID.shape), GRID))
    assert left_in(tmp_path) == []


# --- DICOM


@GRIDS
@pytest.mark.parametrize("intercept", [-1024, 0])
def test_dicom_series_is_the_volume(tmp_path: Path, grid: Grid, intercept: int) -> None:
    made = volume(grid)
    files = write_ct_series(
        tmp_path,
        made,
        Phase(0.3),
        study_uid=dicom_uid("study", 1),
        frame_of_reference_uid=dicom_uid("frame", 1),
        series_number=4,
        positions=10,
        intercept=intercept,
    )
    back = volume_from_sitk(sitk.ReadImage([str(f) for f in files], sitk.sitkInt16))
    assert torch.equal(back.data, made.data)
    # ITK takes the third axis from the positions and drops a mirroring; the slices must lie where they lay
    for index, file in enumerate(files):
        header = pydicom.dcmread(file)
        here = made.grid.index_to_world(torch.tensor([[0.0, 0.0, index]]).double())[0].tolist()
        assert header.ImagePositionPatient == pytest.approx(here, abs=DICOM_MM)
        assert header.ImageOrientationPatient == pytest.approx(
            [*grid.direction_matrix[:, 0], *grid.direction_matrix[:, 1]], abs=1e-6
        )
        assert header.PixelSpacing == pytest.approx([grid.spacing[1], grid.spacing[0]])
        hu = header.pixel_array.astype(int) * int(header.RescaleSlope) + int(header.RescaleIntercept)
        assert np.array_equal(hu, made.data[index].numpy())


def test_dicom_names_no_patient_and_is_reproducible(tmp_path: Path) -> None:
    def write(folder: Path) -> list[bytes]:
        files = write_ct_series(
            folder,
            volume(),
            Phase(0.0),
            study_uid=dicom_uid("study", 1),
            frame_of_reference_uid=dicom_uid("frame", 1),
            series_number=1,
            description="0%",
        )
        return [f.read_bytes() for f in files]

    assert write(tmp_path / "a") == write(tmp_path / "b")
    header = pydicom.dcmread(tmp_path / "a" / "CT_0000.dcm")
    assert str(header.PatientName) == header.PatientID == "PHANTOM"
    assert header.PatientBirthDate == ""
    uids = [pydicom.dcmread(f).SOPInstanceUID for f in sorted((tmp_path / "a").iterdir())]
    assert len(set(uids)) == 4
    assert all(u.is_valid for u in uids)
    assert (header.Modality, header.SOPClassUID.name) == ("CT", "CT Image Storage")


def test_dicom_refuses_what_16_bits_do_not_hold(tmp_path: Path) -> None:
    for bad in (40000.0, math.nan):
        with pytest.raises(WriteError, match="16 bits"):
            write_ct_series(
                tmp_path / "out",
                Volume(torch.full(GRID.shape, bad), GRID),
                Phase(0.0),
                study_uid="1.2",
                frame_of_reference_uid="1.3",
                series_number=1,
            )
    assert left_in(tmp_path) == []


# --- forecast


def observed(lowest: int = -1000) -> PhaseSequence:
    data = [volume(seed=i).data.clamp(lowest, 3000) for i in range(2)]
    data[0][0, 0, 0] = lowest
    return PhaseSequence((Phase(0.0), Phase(0.1)), tuple(Volume(d, GRID) for d in data))


def forecast(**changes: Any) -> Forecast:
    generator = torch.Generator().manual_seed(5)
    n = 2
    parts: dict[str, Any] = {
        "method": "test",
        "targets": (Phase(0.5), Phase(0.6)),
        "volumes": tuple(Volume(1500 * torch.randn(GRID.shape, generator=generator), GRID) for _ in range(n)),
        "reference": Phase(0.1),
        "displacements": tuple(
            DisplacementField(torch.randn(3, *GRID.shape, generator=generator), GRID) for _ in range(n)
        ),
        "uncertainty": tuple(torch.rand(GRID.shape, generator=generator) for _ in range(n)),
        "waveform": Waveform(CURVE, CURVE, CURVE, CURVE, np.zeros((2, 2))),
        "seconds": {"registration": 1.5},
        "warnings": ("twice", "once"),
        "details": {"weights": torch.tensor([0.5, 0.5])},
    }
    return Forecast(**{**parts, **changes})


def found() -> FoundSequence:
    phases = tuple(
        FoundPhase(f"T{p:02d}", p / 100, "a name", 0.9, (Path(f"phase_{p:02d}.nii"),)) for p in (0, 10, 50, 60)
    )
    return FoundSequence("nifti", GRID, phases, ("twice",), "case")


def write(folder: Path, made: Forecast, given: PhaseSequence | None = None, metrics: Any = ()) -> Mapping[str, Any]:
    path = write_forecast(
        folder, made, given or observed(), found(), metrics=metrics, device="cpu", seed=3, versions={"rtmotion": "0"}
    )
    assert path == folder / "forecast.json"
    parsed: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return parsed


def test_forecast_files_are_the_contract(tmp_path: Path) -> None:
    made = forecast()
    rows = [{"phase": "T50", "region": "body", "metric": "mae", "value": math.nan, "unit": "HU"}]
    summary = write(tmp_path / "out", made, metrics=rows)
    assert left_in(tmp_path / "out") == [
        "dvf_50.mha",
        "dvf_60.mha",
        "forecast.json",
        "phase_50.nii.gz",
        "phase_60.nii.gz",
        "uncertainty_50.nii.gz",
        "uncertainty_60.nii.gz",
    ]
    assert summary["schema"] == "rtmotion.forecast/1"
    assert summary["input"] == json.loads(json.dumps(found().to_json()))
    assert (summary["method"], summary["observe"], summary["reference"]) == ("test", 2, "T10")
    assert (summary["observed"], summary["predicted"]) == (["T00", "T10"], ["T50", "T60"])
    assert summary["metrics"] == [{**rows[0], "value": None}]
    assert summary["seconds"] == {"registration": 1.5}
    assert (summary["device"], summary["seed"], summary["versions"]) == ("cpu", 3, {"rtmotion": "0"})
    assert summary["warnings"] == ["twice", "once"]
    assert summary["waveform"]["mean"] == [0.0, None]
    assert summary["details"] == {"weights": [0.5, 0.5]}
    for i, entry in enumerate(summary["outputs"]):
        assert entry["phase"] == summary["predicted"][i]
        image = sitk.ReadImage(str(tmp_path / "out" / entry["volume"]))
        assert image.GetPixelID() == sitk.sitkInt16
        predicted = volume_from_sitk(image)
        assert predicted.grid.is_close(GRID, NIFTI_MM)
        assert torch.equal(predicted.data, made.volumes[i].data.round().clamp(-1024, 3071).to(torch.int16))
        field = field_from_sitk(sitk.ReadImage(str(tmp_path / "out" / entry["displacement"])))
        assert made.displacements is not None
        assert torch.equal(field.data, made.displacements[i].data)
        spread = sitk.ReadImage(str(tmp_path / "out" / entry["uncertainty"]))
        assert spread.GetPixelID() == sitk.sitkFloat32
        assert made.uncertainty is not None
        assert torch.equal(volume_from_sitk(spread).data, made.uncertainty[i])


def test_forecast_without_fields_says_so(tmp_path: Path) -> None:
    summary = write(tmp_path, forecast(reference=None, displacements=None, uncertainty=None, waveform=None))
    assert summary["reference"] is None
    assert summary["waveform"] is None
    assert summary["outputs"] == [
        {"phase": "T50", "volume": "phase_50.nii.gz"},
        {"phase": "T60", "volume": "phase_60.nii.gz"},
    ]


def test_hu_is_cut_off_and_never_wraps_around() -> None:
    assert to_int16(torch.tensor([-5e9, -1024.6, 0.5, 1.5, 40000.0, 3071.4])).tolist() == [
        -1024,
        -1024,
        0,
        2,
        3071,
        3071,
    ]
    assert to_int16(torch.tensor([-50000.0, 50000.0]), -99999, 99999).tolist() == [-32768, 32767]


def test_hu_may_go_as_far_as_the_input(tmp_path: Path) -> None:
    made = forecast(volumes=tuple(Volume(torch.full(GRID.shape, v), GRID) for v in (-5000.0, 5000.0)))
    write(tmp_path, made, observed(lowest=-2000))
    ends = [int(volume_from_sitk(sitk.ReadImage(str(tmp_path / f"phase_{p}.nii.gz"))).data[0, 0, 0]) for p in (50, 60)]
    assert ends == [-2000, 3071]


@pytest.mark.parametrize("part", ["volumes", "displacements", "uncertainty"])
def test_a_forecast_with_nan_is_not_written(tmp_path: Path, part: str) -> None:
    made = forecast()
    if part == "volumes":
        made.volumes[1].data[0, 0, 0] = math.nan
    elif part == "displacements" and made.displacements is not None:
        made.displacements[1].data[0, 0, 0, 0] = math.nan
    elif made.uncertainty is not None:
        made.uncertainty[1][0, 0, 0] = math.inf
    with pytest.raises(WriteError, match="T60 holds values that are no numbers; nothing was written"):
        write(tmp_path / "out", made)
    assert left_in(tmp_path) == []


def test_an_interrupted_run_leaves_the_former_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, forecast())
    before = {f.name: f.read_bytes() for f in tmp_path.iterdir()}

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rtmotion_data.writers.forecast.write_displacement", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, forecast(method="other"))
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == before


def test_what_is_written_names_no_folder() -> None:
    from rtmotion_data.found import FoundPhase, FoundSequence

    file = Path("/clinic/DOE_JOHN/phase_00.nii.gz")
    grid = Grid((4, 4, 4))
    found = FoundSequence("nifti", grid, (FoundPhase("T00", 0.0, "file name", 1.0, (file,)),))
    assert found.to_json()["phases"][0]["files"] == [str(file)]
    assert found.to_json(folders=False)["phases"][0]["files"] == ["phase_00.nii.gz"]
