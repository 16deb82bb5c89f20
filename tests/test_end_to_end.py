"""From a patient on disk to a forecast, a score and a report, checked with SimpleITK and not with rtmotion."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from rtmotion_cli.main import main

LARGEST_REPORT = 15e6
"""Bytes; what the report may weigh for a whole thorax."""

ROUNDING_HU = 1.0
"""Volumes are rounded to int16; int16 fields of another interpolation edge are not compared."""


def run(*arguments: object) -> None:
    assert main([str(a) for a in arguments]) == 0


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated patient of 6 mm voxels."""
    folder = tmp_path_factory.mktemp("generated") / "patient"
    run("phantom", folder, "--seed", 11, "--size", 56, 44, 40, "--spacing", 6, "--device", "cpu", "-q")
    return folder


@pytest.fixture(scope="module")
def forecast(patient: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its forecast by the default method from five phases."""
    out = tmp_path_factory.mktemp("generated") / "forecast"
    run("forecast", patient, "--observe", 5, "--out", out, "--device", "cpu", "-q")
    return out


def check_files(out: Path, observe: int) -> dict[str, Any]:
    """The files of a forecast against the interface."""
    written: dict[str, Any] = json.loads((out / "forecast.json").read_text(encoding="utf-8"))
    assert written["schema"] == "rtmotion.forecast/1"
    assert written["observe"] == observe == len(written["observed"])
    assert [o["phase"] for o in written["outputs"]] == written["predicted"]
    size = tuple(written["input"]["grid"]["size"])
    for output in written["outputs"]:
        volume = sitk.ReadImage(str(out / output["volume"]))
        assert volume.GetPixelID() == sitk.sitkInt16
        assert volume.GetSize() == size
        assert volume.GetOrigin() == pytest.approx(written["input"]["grid"]["origin"], abs=1e-3)
        field = sitk.ReadImage(str(out / output["displacement"]))
        assert field.GetNumberOfComponentsPerPixel() == 3
        assert field.GetSize() == size
        assert np.isfinite(sitk.GetArrayViewFromImage(field)).all()
        uncertainty = sitk.GetArrayFromImage(sitk.ReadImage(str(out / output["uncertainty"])))
        assert np.isfinite(uncertainty).all()
        assert uncertainty.min() >= 0 < uncertainty.max()
    check_page(out / "report.html")
    return written


def check_page(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert page.stat().st_size < LARGEST_REPORT
    assert not re.findall(r"""(?:src|href)=["']https?://(?!doi)""", text)


def metric(written: dict[str, Any], region: str, name: str) -> dict[str, float]:
    return {r["phase"]: r["value"] for r in written["metrics"] if (r["region"], r["metric"]) == (region, name)}


def test_the_default_forecast_of_a_generated_patient_is_complete(forecast: Path) -> None:
    written = check_files(forecast, 5)
    assert written["method"] == "video"
    assert written["input"]["format"] == "phantom"
    assert set(metric(written, "body", "mae")) == set(written["predicted"])
    assert metric(written, "landmarks", "tre_mean")


def test_the_fields_lead_landmarks_of_a_predicted_phase_to_the_reference(patient: Path, forecast: Path) -> None:
    """TRE with code of its own: x + u(x) in world coordinates, at the landmarks of each predicted phase."""
    written = json.loads((forecast / "forecast.json").read_text(encoding="utf-8"))
    lines = (patient / "landmarks.csv").read_text(encoding="utf-8").splitlines()[1:]
    points: dict[str, dict[str, list[float]]] = {}
    for line in lines:
        name, percent, *xyz = line.split(",")
        points.setdefault(f"T{int(percent):02d}", {})[name] = [float(v) for v in xyz]
    there = points[written["reference"]]
    stated = metric(written, "landmarks", "tre_mean")
    for output in written["outputs"]:
        field = sitk.ReadImage(str(forecast / output["displacement"]), sitk.sitkVectorFloat64)
        transform = sitk.DisplacementFieldTransform(field)
        here = points[output["phase"]]
        errors = [np.linalg.norm(np.subtract(transform.TransformPoint(here[n]), there[n])) for n in here]
        assert stated[output["phase"]] == pytest.approx(float(np.mean(errors)), abs=0.3)


def test_the_same_seed_gives_the_same_forecast(patient: Path, forecast: Path, tmp_path: Path) -> None:
    run("forecast", patient, "--observe", 5, "--out", tmp_path / "again", "--device", "cpu", "-q")
    for name in ("phase_70.nii.gz", "dvf_70.mha", "uncertainty_70.nii.gz"):
        first, second = (sitk.GetArrayFromImage(sitk.ReadImage(str(f / name))) for f in (forecast, tmp_path / "again"))
        np.testing.assert_array_equal(first, second)


def test_the_example_of_the_readme_runs(
    patient: Path, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (repository / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(example.strip().splitlines()) <= 12
    (tmp_path / "patient").symlink_to(patient, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert set(names["errors"]) == {f"T{p}" for p in range(50, 100, 10)}
    assert 0 < float(names["tidal"]) < 60


def test_the_demonstration_prints_where_its_reports_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import rtmotion_cli.demonstration as demonstration

    monkeypatch.setattr(demonstration, "SIZE", (24, 24, 20))
    monkeypatch.setattr(demonstration, "SPACING", "12")
    monkeypatch.setattr(demonstration, "METHODS", ("persistence",))
    run("demo", "--out", tmp_path / "demo", "--device", "cpu", "--json", "-q")
    printed = json.loads(capsys.readouterr().out)
    check_page(Path(printed["forecast"]))
    check_page(Path(printed["comparison"]))


@pytest.mark.data
@pytest.mark.parametrize(("case", "observe"), [("popi_4dct_dicom", 5), ("lung_tumour_crop_4dct", 7)])
def test_real_patients_are_forecast(case: str, observe: int, real_data: Path, tmp_path: Path) -> None:
    if not (real_data / case).is_dir():
        pytest.skip(f"no {case} in {real_data}")
    run("forecast", real_data / case, "--observe", observe, "--out", tmp_path / "out", "--device", "cpu", "-q")
    written = check_files(tmp_path / "out", observe)
    run("forecast", real_data / case, "--observe", observe, "--method", "persistence", "--out", tmp_path / "copy", "-q")
    copied = json.loads((tmp_path / "copy" / "forecast.json").read_text(encoding="utf-8"))
    errors = [np.mean(list(metric(w, "body", "mae").values())) for w in (written, copied)]
    assert errors[0] < errors[1]


SECRETS = {
    "PatientName": "Quixote^Alonso",
    "PatientID": "MRN-7781234",
    "PatientBirthDate": "15470929",
    "PatientComments": "tilts at windmills",
    "ReferringPhysicianName": "Panza^Sancho",
}


def test_nothing_that_is_written_names_the_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pydicom

    size = ("--size", 24, 24, 20, "--spacing", 12, "--phases", 4)
    run("phantom", tmp_path / "patient", *size, "--format", "dicom", "--device", "cpu", "-q")
    slices = sorted((tmp_path / "patient" / "dicom").rglob("*.dcm"))
    assert len(slices) == 4 * 20
    for file in slices:
        header = pydicom.dcmread(file)
        for keyword, value in SECRETS.items():
            setattr(header, keyword, value)
        header.save_as(file)
    case = (tmp_path / "patient" / "dicom").rename(tmp_path / "case")
    run("inspect", case)
    run("forecast", case, "--observe", 2, "--method", "persistence", "--out", tmp_path / "out", "-v")
    run("compare", case, "--observe", 2, "--methods", "persistence", "--out", tmp_path / "compared", "--keep-volumes")
    captured = capsys.readouterr()
    texts = {"stdout": captured.out, "stderr": captured.err}
    for folder in ("out", "compared"):
        for file in (tmp_path / folder).rglob("*"):
            if file.is_file():
                raw = file.read_bytes()
                texts[str(file)] = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("latin-1")
    assert len(texts) > 8
    for value in SECRETS.values():
        for part in value.split("^"):
            assert not [name for name, text in texts.items() if part in text]
