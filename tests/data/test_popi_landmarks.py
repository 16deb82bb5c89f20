"""POPI landmarks: small files of the same formats."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rtmotion.errors import ReadError, ReadWarning
from rtmotion.grid import Grid
from rtmotion_data.found import FoundPhase, FoundSequence
from rtmotion_data.readers.landmark_sets import read_landmark_sets
from rtmotion_data.readers.popi_landmarks import MODEL_IDENTITY_MM, PATIENTS, popi_landmark_sets

GRID = Grid((20, 16, 12), (0.976562, 0.976562, 2.0), (-10.0, -140.0, -30.0))
PHASES = tuple(f"T{p:02d}" for p in range(0, 100, 10))


def write_points(file: Path, rows: np.ndarray, header: str = "#X Y Z\n") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(header + "".join(f"{x:.4f} {y:.4f} {z:.4f}\n" for x, y, z in rows))


def model(folder: Path, count: int = 41, factor: float = 1.0) -> np.ndarray:
    """The POPI-model's files: every landmark moves up by what is published, from T10; returns those of T10."""
    start = np.random.default_rng(0).uniform([1, 1, 1], [17, 13, 14], size=(count, 3))
    for label in PHASES:
        up = np.array([0.0, 0.0, MODEL_IDENTITY_MM.get(label, 0.0) * factor])
        write_points(folder / f"{label[1:]}-Landmarks.pts", start + up)
    return start


def test_the_popi_model_is_measured_from_the_first_voxel_and_its_last_point_does_not_count(tmp_path: Path) -> None:
    start = model(tmp_path)
    (found,) = popi_landmark_sets(tmp_path, GRID, PHASES, model_size=GRID.size)
    assert (found.convention, found.count, found.labels, found.reference) == ("popi-model", 40, PHASES, "T10")
    expected = torch.from_numpy(start[:40]) + torch.tensor(GRID.origin).double()
    torch.testing.assert_close(found.of("T10"), expected, atol=1e-3, rtol=0)
    assert len(found.checks(GRID)) == 9
    assert all(check.agrees for check in found.checks(GRID))
    (inhale_exhale,) = (c for c in found.checks(GRID) if c.second_is_exhale)
    assert (inhale_exhale.first, inhale_exhale.second, round(inhale_exhale.superior_mm, 2)) == ("T10", "T60", 6.1)


def test_the_axes_of_the_images_are_those_of_the_points(tmp_path: Path) -> None:
    start = model(tmp_path)
    down = Grid(GRID.size, GRID.spacing, GRID.origin, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
    (found,) = popi_landmark_sets(tmp_path, down, PHASES, model_size=GRID.size)
    assert found.of("T10")[0, 2] == pytest.approx(-30.0 - start[0, 2], abs=1e-3)
    assert [c for c in found.checks() if "upside down" in c.describe()]


def test_the_popi_model_needs_its_own_images(tmp_path: Path) -> None:
    model(tmp_path)
    with pytest.raises(ReadError, match=r"00-Landmarks\.pts: .* of 482 × 360 × 141 voxels; .* have 20 × 16 × 12"):
        popi_landmark_sets(tmp_path, GRID, PHASES)


def patient(folder: Path, y: float = -135.0) -> np.ndarray:
    start = np.random.default_rng(1).uniform([-9, y, -25], [5, y + 8, -15], size=(30, 3))
    for label, up in (("T00", 0.0), ("T50", 6.0)):
        write_points(folder / "pts" / f"{label[1:]}.pts", start + np.array([0.0, 0.0, up]))
    return start


@pytest.mark.parametrize("below", ["", "pts"])
def test_the_patients_of_2011_are_in_the_world_of_their_metaimages(tmp_path: Path, below: str) -> None:
    start = patient(tmp_path / "bl")
    (found,) = popi_landmark_sets(tmp_path / "bl" / below, GRID, PHASES)
    assert (found.name, found.reference) == ("POPI 2011 patient 1, 30 landmarks", "T60")
    torch.testing.assert_close(found.of("T00"), torch.from_numpy(start), atol=1e-3, rtol=0)
    assert found.identity_mm("T00", "T50") == pytest.approx(6.0)
    assert found.checks() == ()


@pytest.mark.parametrize("letters", list(PATIENTS))
def test_on_dicom_the_patients_offset_is_added_to_y(tmp_path: Path, letters: str) -> None:
    offset = PATIENTS[letters].dicom_offset_mm
    start = patient(tmp_path / letters, y=-135.0 - offset)
    (found,) = popi_landmark_sets(tmp_path / letters, GRID, PHASES, dicom=True)
    expected = torch.from_numpy(start) + torch.tensor([0.0, offset, 0.0]).double()
    torch.testing.assert_close(found.of("T00"), expected, atol=1e-3, rtol=0)
    assert f"y + {offset:g} mm" in found.source_units


def test_the_reference_phase_is_that_of_the_publishers() -> None:
    assert {p.number: p.reference for p in PATIENTS.values()} == {1: "T60", **dict.fromkeys(range(2, 7), "T50")}


def test_without_the_patient_there_is_no_offset_to_add(tmp_path: Path) -> None:
    patient(tmp_path / "someone")
    (found,) = popi_landmark_sets(tmp_path / "someone", GRID, PHASES)
    assert found.reference is None
    with pytest.raises(ReadError, match="a folder named bl, ng, dx, gt, mm2, bh"):
        popi_landmark_sets(tmp_path / "someone", GRID, PHASES, dicom=True)


def test_landmarks_of_other_images_are_refused(tmp_path: Path) -> None:
    patient(tmp_path / "ng", y=20.0)
    with pytest.raises(ReadError, match=r"60 of 60 landmarks lie outside the images: .* MetaImage files"):
        popi_landmark_sets(tmp_path / "ng", GRID, PHASES)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("50.pts", "#X Y Z\n1 2 -20\n1 2\n", r"50\.pts, line 3: three numbers .* there are 2"),
        ("50.pts", "#X Y Z\n1 2 -20 4\n", r"50\.pts, line 2: three numbers .* there are 4"),
        ("50.pts", "X Y Z\n1 2 -20\n", r"50\.pts, line 1: three numbers .* something else"),
        ("50.pts", "#X Y Z\n", r"50\.pts: lines of three numbers x y z were expected, there is none"),
        ("50.pts", "1 -130 -20\n", r"50\.pts: 1 landmarks, 00\.pts has 30"),
        ("50.pts", None, r"landmarks of T00, of which the images have T00: two phases are needed"),
    ],
)
def test_malformed_files_are_refused_with_file_and_line(tmp_path: Path, name: str, text: str | None, says: str) -> None:
    patient(tmp_path)
    file = tmp_path / "pts" / name
    file.unlink()
    if text is not None:
        file.write_text(text)
    with pytest.raises(ReadError, match=says):
        popi_landmark_sets(tmp_path, GRID, PHASES)


def found(format: str = "metaimage", name: str = "case", grid: Grid = GRID) -> FoundSequence:
    phases = tuple(FoundPhase(t, int(t[1:]) / 100, "", 1.0, (Path(f"{t}.mhd"),)) for t in PHASES)
    return FoundSequence(format, grid, phases, name=name)


def test_any_format_is_found_at_a_path(tmp_path: Path) -> None:
    patient(tmp_path / "dx")
    (of_folder,) = read_landmark_sets(tmp_path / "dx", found())
    (of_file,) = read_landmark_sets(tmp_path / "dx" / "pts" / "00.pts", found())
    assert of_folder.convention == of_file.convention == "popi-2011"
    torch.testing.assert_close(of_folder.of("T50"), of_file.of("T50"))
    (tmp_path / "csv").mkdir()
    table = tmp_path / "csv" / "points.csv"
    table.write_text("id,phase,x,y,z\na,0,1,2,3\na,50,1,2,7\n")
    (of_table,) = read_landmark_sets(table, found())
    assert (of_table.convention, of_table.identity_mm("T00", "T50")) == ("lps-mm", 4.0)


def test_dirlab_landmarks_may_lie_elsewhere_than_the_images(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers([1, 1, 3], GRID.size, size=(300, 3), endpoint=True)
    for phase, shift in ((0, 0), (50, -2)):
        text = "".join(f"{x} {y} {z + shift}\n" for x, y, z in rows)
        (tmp_path / f"Case3_300_T{phase:02d}_xyz.txt").write_text(text)
    with pytest.warns(ReadWarning, match=r"DIR-Lab case 3, 300 landmarks: .* 4\.00 mm apart .* published are 6\.94 mm"):
        (extreme,) = read_landmark_sets(tmp_path, found(name="dirlab case 3"))
    assert extreme.identity_mm("T00", "T50") == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (None, "does not exist"),
        ({}, r"no landmarks of two phases of T00, .*: landmarks\.csv, DIR-Lab's \*_T00_\*\.txt or POPI's"),
        ({"landmarks.csv": "id,phase,x,y,z\na,0,1,2,3\n"}, "the same landmarks in two of .* are needed, it has T00"),
        ({"landmarks.csv": "id,phase,x,y,z\na,0,1,2,3\nb,50,1,2,3\n"}, "the same landmarks in two of"),
        ({"landmarks.csv": "id,phase,x,y,z\na,0,1,b,3\n"}, "landmarks.csv, line 2: numbers were expected"),
    ],
)
def test_nothing_of_use_is_refused(tmp_path: Path, make: dict[str, str] | None, says: str) -> None:
    folder = tmp_path / "points"
    if make is not None:
        folder.mkdir()
        for name, text in make.items():
            (folder / name).write_text(text)
    with pytest.raises(ReadError, match=says):
        read_landmark_sets(folder, found())
