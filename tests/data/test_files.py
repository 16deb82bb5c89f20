"""4D and per-phase files: which files are phases, which phase each is, and what is refused."""

import csv
import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from rtmotion.errors import GeometryError, PhaseError, ReadError, ReadWarning, RtmotionError
from rtmotion.grid import Grid
from rtmotion.interop import scalars_to_sitk
from rtmotion.sequence import PhaseSequence
from rtmotion_data.found import FoundSequence
from rtmotion_data.readers.file_names import families, missing_phases, natural_key, phases_of
from rtmotion_data.readers.files import inspect_files, read_files
from rtmotion_data.readers.hounsfield import is_stored_with_offset
from rtmotion_data.readers.phantom import inspect_phantom, read_phantom
from rtmotion_data.writers.nifti import write_nifti

NIFTI_MM = 1e-4
"""mm; NIfTI stores its geometry in single precision."""

OBLIQUE = tuple(Rotation.from_euler("xyz", [12, -25, 40], degrees=True).as_matrix().reshape(-1).tolist())
GRID = Grid((8, 7, 6), (1.1, 0.7, 2.5), (-10.5, 220.25, -31.125), OBLIQUE)
ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")


def hu(index: int, grid: Grid = GRID) -> torch.Tensor:
    """A body in air whose brightness tells the phase."""
    data = torch.full(grid.shape, -1000, dtype=torch.int16)
    data[1:-1, 2:-2, 2:-2] = 40
    data[2, 3, 3] = 100 + index
    return data


def mark(sequence: PhaseSequence) -> list[int]:
    """The phase numbers that `hu` put into the volumes."""
    return [int(v.data[2, 3, 3]) - 100 for v in sequence.volumes]


def save(path: Path, index: int, grid: Grid = GRID, offset: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        write_nifti(path, hu(index, grid) + offset, grid)
    else:
        sitk.WriteImage(scalars_to_sitk(hu(index, grid) + offset, grid), str(path))
    return path


def only(paths: Path | Sequence[Path], phases: Sequence[float] | None = None) -> FoundSequence:
    inspection = inspect_files([paths] if isinstance(paths, Path) else paths, phases)
    assert inspection is not None
    (found,) = inspection.sequences
    return found


def labels(found: FoundSequence) -> list[str]:
    return [p.label for p in found.phases]


# --- one file a phase


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_folder_of_phases(tmp_path: Path, ending: str) -> None:
    for i in range(10):
        save(tmp_path / f"phase_{10 * i:02d}{ending}", i)
    found = only(tmp_path)
    assert labels(found) == [f"T{p:02d}" for p in range(0, 100, 10)]
    assert [p.fraction for p in found.phases] == pytest.approx([i / 10 for i in range(10)])
    assert found.phases[3].evidence == "30: percentage in the file name"
    assert found.grid.is_close(GRID, NIFTI_MM)
    assert found.format == {"nii": "nifti", "gz": "nifti", "nrrd": "nrrd"}.get(ending.rsplit(".", 1)[1], "metaimage")
    assert found.warnings == ()
    sequence = read_files(found)
    assert mark(sequence) == list(range(10))
    assert sequence.volumes[0].data.dtype is torch.int16
    assert torch.equal(sequence.volumes[4].data, hu(4))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["T00.nii", "T50.nii", "T10.nii"], ["T00", "T10", "T50"]),
        (["case 0%.nrrd", "case 25%.nrrd", "case 75%.nrrd"], ["T00", "T25", "T75"]),
        (["p118_phase_000_v2.mha", "p118_phase_030_v2.mha"], ["T00", "T30"]),
        (["0.nii", "10.nii", "90.nii"], ["T00", "T10", "T90"]),
        (["gated_5%.nii", "gated_55%.nii"], ["T05", "T55"]),
        (["case1_T00_s.nii", "case1_T10_s.nii", "case1_T90_s.nii"], ["T00", "T10", "T90"]),
        (["4DCT_phase_12.5.nii", "4DCT_phase_62.5.nii"], ["T12", "T62"]),
        ([f"ph{p}.nii" for p in (0, 17, 33, 50, 67, 83)], ["T00", "T17", "T33", "T50", "T67", "T83"]),
        (["100.nii", "20.nii"], ["T00", "T20"]),
    ],
)
def test_percentages_in_names(tmp_path: Path, names: list[str], expected: list[str]) -> None:
    for i, name in enumerate(names):
        save(tmp_path / name, i)
    assert labels(only(tmp_path)) == expected
    assert all("percentage" in p.evidence for p in only(tmp_path).phases)


@pytest.mark.parametrize("first", [0, 1])
def test_indices_in_names_sort_naturally(tmp_path: Path, first: int) -> None:
    for i in range(10):
        save(tmp_path / f"vol_{first + i}.nii", i)
    found = only(tmp_path)
    assert labels(found) == [f"T{p:02d}" for p in range(0, 100, 10)]
    assert found.phases[2].evidence == f"{first + 2}: index in the file name, counted from {first}, 10 in the cycle"
    assert mark(read_files(found)) == list(range(10))


def test_numbers_that_are_neither_are_taken_in_order_with_a_warning(tmp_path: Path) -> None:
    for i, number in enumerate((3, 104, 233, 512)):
        save(tmp_path / f"series{number}.nii", i)
    found = only(tmp_path)
    assert labels(found) == ["T00", "T25", "T50", "T75"]
    assert any("give --phases" in w for w in found.warnings)
    assert found.phases[0].confidence < 0.5


def test_fields_labels_and_other_families_are_set_aside(tmp_path: Path) -> None:
    for i in range(5):
        save(tmp_path / f"phase_{20 * i:02d}.nii.gz", i)
        save(tmp_path / f"labels_{20 * i:02d}.nii.gz", 50)
        save(tmp_path / f"uncertainty_{20 * i:02d}.nii.gz", 50)
        save(tmp_path / f"other{20 * i:02d}x.nii.gz", 50)
        vectors = sitk.Image([8, 7, 6], sitk.sitkVectorFloat32, 3)
        sitk.WriteImage(vectors, str(tmp_path / f"dvf_{20 * i:02d}.mha"))
    save(tmp_path / "mip.nii.gz", 50)
    save(tmp_path / "planning.nii.gz", 50)
    save(tmp_path / ".phase_30.nii.gz", 50)
    save(tmp_path / "clean" / "phase_50.nii.gz", 50)
    (tmp_path / "trace.csv").write_text("time,amplitude\n")
    inspection = inspect_files([tmp_path])
    assert inspection is not None
    (found,) = inspection.sequences
    assert labels(found) == ["T00", "T20", "T40", "T60", "T80"]
    assert mark(read_files(found)) == list(range(5))
    aside = " ".join(a.description for a in inspection.set_aside)
    for name in ("labels_00", "uncertainty_80", "dvf_20.mha", "mip", "planning", "other#x"):
        assert name in aside


def test_two_patients_in_a_folder_are_two_sequences(tmp_path: Path) -> None:
    for case in (1, 2):
        for i in range(3):
            save(tmp_path / f"case{case}_T{30 * i:02d}.nii", 10 * case + i)
    inspection = inspect_files([tmp_path])
    assert inspection is not None
    assert len(inspection.sequences) == 2
    assert len({s.name for s in inspection.sequences}) == 2
    assert sorted(mark(read_files(s)) for s in inspection.sequences) == [[10, 11, 12], [20, 21, 22]]


def test_a_list_in_any_order(tmp_path: Path) -> None:
    files = [save(tmp_path / f"dvf_like_name_{p}.nii", p) for p in (50, 0, 20)]
    found = only(files)
    assert labels(found) == ["T00", "T20", "T50"]
    assert mark(read_files(found)) == [0, 20, 50]


def test_given_percentages_replace_the_numbers(tmp_path: Path) -> None:
    for i, name in enumerate(("inhale.nii", "exhale.nii", "b.nii")):
        save(tmp_path / name, i)
    files = [tmp_path / n for n in ("inhale.nii", "exhale.nii", "b.nii")]
    found = only(files, [50, 75, 0])  # in natural order: b, exhale, inhale
    assert labels(found) == ["T00", "T50", "T75"]
    assert mark(read_files(found)) == [0, 2, 1]
    assert {p.evidence for p in found.phases} == {"given by the user"}
    with pytest.raises(PhaseError, match="2 percentages, but there are 3 volumes"):
        only(files, [0, 50])
    with pytest.raises(PhaseError, match="names a phase twice"):
        only(files, [0, 50, 100])


def test_missing_phases_are_named(tmp_path: Path) -> None:
    for p in (0, 10, 20, 40, 50, 60, 80, 90):
        save(tmp_path / f"phase_{p:02d}.nii", p)
    assert only(tmp_path).warnings == ("8 of 10 phases are there; missing: T30, T70",)
    assert missing_phases([0.0, 0.25, 0.5, 0.75]) is None
    assert missing_phases([0.0, 0.17, 0.33, 0.5, 0.67, 0.83]) is None
    assert missing_phases([0.0, 0.5]) is None


def test_double_phases_are_refused(tmp_path: Path) -> None:
    for name in ("phase_0.nii", "phase_00.nii", "phase_10.nii"):
        save(tmp_path / name, 0)
    with pytest.raises(PhaseError, match="two files for one phase"):
        inspect_files([tmp_path])
    for name in ("phase_0.nii", "phase_00.nii"):
        (tmp_path / name).unlink()
    for p in (0, 100):
        save(tmp_path / f"phase_{p:03d}.nii", 0)
        save(tmp_path / f"phase_{p + 20:03d}.nii" if p == 0 else tmp_path / "phase_050.nii", 0)
    (tmp_path / "phase_10.nii").unlink()
    with pytest.raises(PhaseError, match=r"two files for phase T00: phase_000\.nii and phase_100\.nii"):
        inspect_files([tmp_path])


def test_mixed_geometry_names_the_odd_files(tmp_path: Path) -> None:
    for i in range(4):
        save(tmp_path / f"phase_{10 * i:02d}.nii", i)
    odd = Grid(GRID.size, (1.1, 0.7, 2.6), GRID.origin, GRID.direction)
    save(tmp_path / "phase_20.nii", 2, odd)
    with pytest.raises(GeometryError, match=r"1 of 4 volumes .*phase_00\.nii \(spacing 1.1×0.7×2.6.*: phase_20\.nii"):
        inspect_files([tmp_path])


@given(st.permutations(["a2", "a10", "a1", "b1"]))
def test_natural_order(names: list[str]) -> None:
    assert [p.name for p in sorted(map(Path, names), key=natural_key)] == ["a1", "a2", "a10", "b1"]


@given(st.integers(2, 20), st.integers(0, 5))
def test_any_even_division_of_the_cycle_is_read(count: int, digits: int) -> None:
    numbers = [float(round(100 * i / count)) for i in range(count)]
    fractions, how = phases_of(numbers, [f"{n:0{digits}.0f}" for n in numbers])
    assert how == "percentage in the file name"
    assert fractions == pytest.approx([i / count for i in range(count)], abs=0.0051)


@given(st.integers(0, 3), st.integers(3, 40))
def test_any_run_of_indices_is_read(first: int, count: int) -> None:
    fractions, how = phases_of([float(first + i) for i in range(count)], [str(i) for i in range(count)])
    assert "index" in how
    assert fractions == pytest.approx([i / count for i in range(count)])


@given(st.lists(st.text("ab0123456789_%.T ", min_size=1, max_size=12), max_size=12, unique=True))
def test_families_share_no_file(stems: list[str]) -> None:
    files = [Path(f"{s}.nii") for s in stems]
    grouped = [f for family in families(files) for f in family.files]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) <= set(files)


# --- one 4D file


def four_d(tmp_path: Path, ending: str) -> Path:
    stack = np.stack([hu(i).numpy() for i in range(4)], axis=-1)  # [z, y, x, t]
    path = tmp_path / f"patient{ending}"
    if ending.startswith(".nii"):
        affine = nib.load(save(tmp_path / "model.nii", 0)).affine
        nib.save(nib.Nifti1Image(stack.transpose(2, 1, 0, 3), affine), path)
    elif ending == ".nrrd":  # a list axis: ITK takes it for the components of a vector
        text = (
            "NRRD0004\ntype: short\ndimension: 4\nspace: left-posterior-superior\nsizes: 4 8 7 6\n"
            "space directions: none "
            + " ".join(f"({','.join(repr(float(v)) for v in GRID.index_to_world_matrix[:, a])})" for a in range(3))
            + "\nkinds: list domain domain domain\nendian: little\nencoding: gzip\nspace origin: "
            + f"({','.join(repr(o) for o in GRID.origin)})\n\n"
        )
        path.write_bytes(text.encode() + gzip.compress(np.ascontiguousarray(stack).astype("<i2").tobytes()))
    else:
        image = sitk.JoinSeries([scalars_to_sitk(hu(i), GRID) for i in range(4)])
        sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
def test_a_4d_file(tmp_path: Path, ending: str) -> None:
    path = four_d(tmp_path, ending)
    found = only(path)
    assert labels(found) == ["T00", "T25", "T50", "T75"]
    assert found.phases[1].evidence == "volume 2 of 4 in the 4D file"
    assert found.grid.is_close(GRID, NIFTI_MM)
    assert found.name == "patient"
    sequence = read_files(found)
    assert mark(sequence) == [0, 1, 2, 3]
    assert torch.equal(sequence.volumes[2].data, hu(2))
    assert labels(only(path, [0, 20, 40, 60])) == ["T00", "T20", "T40", "T60"]


def test_a_4d_file_alone_in_a_folder(tmp_path: Path) -> None:
    four_d(tmp_path / "", ".nii.gz")
    (tmp_path / "model.nii").unlink()
    assert mark(read_files(only(tmp_path))) == [0, 1, 2, 3]


def test_a_4d_nrrd_with_four_domain_axes(tmp_path: Path) -> None:
    image = sitk.JoinSeries([scalars_to_sitk(hu(i), GRID) for i in range(3)])
    sitk.WriteImage(image, str(tmp_path / "four.nrrd"))
    assert mark(read_files(only(tmp_path / "four.nrrd"))) == [0, 1, 2]


# --- numbers


def pair(tmp_path: Path, second: Any, **header: Any) -> Path:
    """A folder of two phases; the second is made as told."""
    affine = nib.load(save(tmp_path / "phase_00.nii", 0)).affine
    image = nib.Nifti1Image(second, affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, tmp_path / "phase_50.nii")
    return tmp_path


def test_whole_floats_become_int16_others_stay(tmp_path: Path) -> None:
    whole = hu(7).numpy().T.astype(np.float64)
    sequence = read_files(only(pair(tmp_path, whole)))
    assert sequence.volumes[1].data.dtype is torch.int16
    assert mark(sequence) == [0, 7]
    sequence = read_files(only(pair(tmp_path, whole + 0.25)))
    assert sequence.volumes[1].data.dtype is torch.float32
    assert float(sequence.volumes[1].data[2, 3, 3]) == 107.25


@pytest.mark.parametrize(("slope", "intercept", "expected"), [(1.0, -1024.0, torch.int16), (0.5, 0.0, torch.float32)])
def test_slope_and_intercept_are_applied(tmp_path: Path, slope: float, intercept: float, expected: torch.dtype) -> None:
    save(tmp_path / "phase_00.nii", 0)
    stored = ((hu(9).numpy().T.astype(float) - intercept) / slope + (0 if slope == 1 else 1)).astype(np.int16)
    image = nib.Nifti1Image(stored, nib.load(tmp_path / "phase_00.nii").affine)
    image.header.set_slope_inter(slope, intercept)
    path = tmp_path / "phase_50.nii"
    nib.save(image, path)
    raw = bytearray(path.read_bytes())  # nibabel resets the scaling when it saves
    raw[112:120] = np.array([slope, intercept], dtype="<f4").tobytes()
    raw[352:] = np.asfortranarray(stored).tobytes(order="F")
    path.write_bytes(raw)
    volume = read_files(only(tmp_path)).volumes[1].data
    assert volume.dtype is expected
    assert float(volume[2, 3, 3]) == 109 + (0 if slope == 1 else 0.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_voxels_that_are_no_numbers_are_refused(tmp_path: Path, bad: float) -> None:
    values = hu(1).numpy().T.astype(np.float32)
    values[0, 0, 0] = bad
    found = only(pair(tmp_path, values))
    with pytest.raises(ReadError, match=r"phase_50\.nii: 1 voxels are NaN or infinite"):
        read_files(found)


def test_stored_with_offset_is_shifted_with_a_warning(tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / f"phase_{30 * i:02d}.nii", i, offset=1024)
    with pytest.warns(ReadWarning, match=r"stored as HU \+ 1024 .*shifted by -1024"):
        sequence = read_files(only(tmp_path))
    assert mark(sequence) == [0, 1, 2]
    assert int(sequence.volumes[0].data.min()) == -1000


def test_what_is_stored_with_offset() -> None:
    ct = hu(0)
    assert is_stored_with_offset(ct + 1024)
    assert not is_stored_with_offset(ct)
    assert not is_stored_with_offset(torch.full((4, 4, 4), 40))  # a crop in soft tissue, HU
    assert not is_stored_with_offset(torch.zeros(4, 4, 4))
    padded = ct + 1024
    padded[:, 0, :] = -2000
    assert is_stored_with_offset(padded)
    lung = torch.full((8, 8, 8), 1060)  # a crop inside the patient: lung and tissue, no air at the border
    lung[2:6, 2:6, 2:6] = 20
    assert is_stored_with_offset(lung)


@pytest.mark.data
def test_a_tumour_crop_is_in_hu(real_data: Path) -> None:
    found = only(real_data / "lung_tumour_crop_4dct")
    assert labels(found) == [f"T{p:02d}" for p in range(0, 100, 10)]
    sequence = read_files(found)
    assert sequence.volumes[0].data.dtype is torch.int16
    assert sequence.grid.size == (120, 119, 107)
    assert -1024 <= int(sequence.volumes[0].data.min()) < -900


# --- landmarks and the phantom


def write_landmarks(path: Path, rows: Sequence[tuple[str, int, float, float, float]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "phase", "x", "y", "z"])
        writer.writerows(rows)


def test_landmarks_beside_the_phases(tmp_path: Path) -> None:
    for i, p in enumerate((0, 50)):
        save(tmp_path / f"phase_{p:02d}.nii", i)
    # other order in the second phase, one landmark missing there, a phase that is not in the sequence
    rows = [("a", 0, 1, 2, 3), ("b", 0, 4, 5, 6), ("c", 0, 7, 8, 9), ("c", 50, 70, 8, 9), ("a", 50, 10, 2, 3)]
    write_landmarks(tmp_path / "landmarks.csv", [*rows, ("a", 90, 0, 0, 0)])
    landmarks = read_files(only(tmp_path)).landmarks
    assert set(landmarks) == {"T00", "T50"}
    assert landmarks["T00"].tolist() == [[1, 2, 3], [7, 8, 9]]
    assert landmarks["T50"].tolist() == [[10, 2, 3], [70, 8, 9]]
    (tmp_path / "landmarks.csv").write_text("id,phase,x,y,z\na,0,1,2,three\n")
    with pytest.raises(ReadError, match=r"landmarks\.csv, line 2: numbers were expected"):
        read_files(only(tmp_path))
    (tmp_path / "landmarks.csv").write_text("id,x,y,z\n")
    with pytest.raises(ReadError, match="columns id, phase, x, y, z were expected"):
        read_files(only(tmp_path))


def phantom_folder(tmp_path: Path) -> Path:
    for i, p in enumerate((0, 25, 50, 75)):
        save(tmp_path / f"phase_{p:02d}.nii.gz", i)
        labels = torch.zeros(GRID.shape, dtype=torch.uint8)
        labels[2, 3, i] = 1
        labels[3, 3, 3] = 5
        write_nifti(tmp_path / f"labels_{p:02d}.nii.gz", labels, GRID)
    write_landmarks(tmp_path / "landmarks.csv", [("v1", p, 1.0, 2.0, 3.0 + p) for p in (0, 25, 50, 75)])
    (tmp_path / "phantom.json").write_text(
        json.dumps(
            {
                "schema": "rtmotion.phantom/1",
                "labels": {"lung": 1, "tumour": 5},
                "phases": [{"label": f"T{p}", "fraction": p / 100 + 0.004} for p in (25, 50)],
            }
        )
    )
    return tmp_path


def test_a_phantom_has_masks_and_landmarks(tmp_path: Path) -> None:
    inspection = inspect_phantom(phantom_folder(tmp_path / "phantom"))
    assert inspection is not None
    (found,) = inspection.sequences
    assert (found.format, found.name, len(found.phases)) == ("phantom", "phantom", 4)
    assert [p.fraction for p in found.phases] == pytest.approx([0, 0.254, 0.504, 0.75])  # as the summary has them
    sequence = read_phantom(found)
    assert mark(sequence) == [0, 1, 2, 3]
    assert set(sequence.masks) == {"lung", "tumour"}
    assert sequence.masks["lung"]["T50"].nonzero().tolist() == [[2, 3, 2]]
    assert sequence.masks["tumour"]["T75"].nonzero().tolist() == [[3, 3, 3]]
    assert sequence.masks["lung"]["T00"].dtype is torch.bool
    assert sequence.landmarks["T75"].tolist() == [[1.0, 2.0, 78.0]]


def test_other_folders_are_no_phantom(tmp_path: Path) -> None:
    save(tmp_path / "phase_00.nii.gz", 0)
    assert inspect_phantom(tmp_path) is None
    (tmp_path / "phantom.json").write_text('{"schema": "something else"}')
    assert inspect_phantom(tmp_path) is None
    (tmp_path / "phantom.json").write_text('{"schema": "rtmotion.phantom/1"}')
    assert inspect_phantom(tmp_path) is None  # its phases are not NIfTI
    (tmp_path / "phantom.json").write_text("{")
    with pytest.raises(ReadError, match=r"phantom\.json: is no JSON"):
        inspect_phantom(tmp_path)


# --- refusals


def test_nothing_of_these_formats(tmp_path: Path) -> None:
    assert inspect_files([tmp_path]) is None
    (tmp_path / "a.dcm").write_bytes(b"")
    assert inspect_files([tmp_path]) is None
    assert inspect_files([tmp_path / "a.dcm"]) is None


def test_one_volume_is_no_sequence(tmp_path: Path) -> None:
    path = save(tmp_path / "phase_00.nii", 0)
    with pytest.raises(PhaseError, match="holds one volume: give a 4D file, or all 3D files"):
        inspect_files([path])
    inspection = inspect_files([tmp_path])
    assert inspection is not None
    assert inspection.sequences == ()
    assert "no number in common" in inspection.set_aside[0].reason


def test_mixed_paths_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "phase_00.nii", 0)
    with pytest.raises(ReadError, match="is no file"):
        inspect_files([path, tmp_path / "phase_10.nii"])
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ReadError, match="leave it out"):
        inspect_files([path, tmp_path / "a.txt"])


def nifti_with(tmp_path: Path, change: Any) -> Path:
    """A 4D NIfTI whose header bytes were changed."""
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2), dtype=np.int16), np.eye(4)), tmp_path / "a.nii")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    change(raw)
    (tmp_path / "a.nii").write_bytes(raw)
    return tmp_path / "a.nii"


@pytest.mark.parametrize("spacing", [0.0, -1.0, math.nan])
def test_odd_spacing_in_nifti(tmp_path: Path, spacing: float) -> None:
    def change(raw: bytearray) -> None:
        raw[84:88] = np.array([spacing], dtype="<f4").tobytes()

    with pytest.raises(GeometryError, match="spacing in the header is"):
        inspect_files([nifti_with(tmp_path, change)])


@pytest.mark.parametrize("spacing", ["0 1 1", "-1 1 1", "nan 1 1"])
def test_odd_spacing_in_metaimage(tmp_path: Path, spacing: str) -> None:
    (tmp_path / "a.mha").write_bytes(
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\n"
        f"ElementSpacing = {spacing}\nDimSize = 4 4 4\nElementType = MET_SHORT\nElementDataFile = LOCAL\n".encode()
        + bytes(128)
    )
    with pytest.raises(GeometryError, match="three positive spacings"):
        inspect_files([tmp_path / "a.mha"])


def test_sheared_affine(tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.3
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2), dtype=np.int16), affine), tmp_path / "a.nii")
    with pytest.raises(GeometryError, match=r"a\.nii: the axis directions are not perpendicular"):
        inspect_files([tmp_path / "a.nii"])


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (4, 4, 4, 2, 3), (4, 4, 1, 3)])
def test_other_dimensions_in_nifti(tmp_path: Path, shape: tuple[int, ...]) -> None:
    nib.save(nib.Nifti1Image(np.zeros(shape, dtype=np.int16), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ReadError, match=r"is \dD|a slice"):
        inspect_files([tmp_path / "a.nii"])


@pytest.mark.parametrize("size", [[4, 4], [4, 4, 4, 2, 2]])
def test_other_dimensions_in_metaimage(tmp_path: Path, size: list[int]) -> None:
    sitk.WriteImage(sitk.Image(size, sitk.sitkInt16), str(tmp_path / "a.mha"))
    with pytest.raises(ReadError, match=r"is \dD; a 3D or 4D volume"):
        inspect_files([tmp_path / "a.mha"])


def test_vectors_and_colours_are_refused(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 3), str(tmp_path / "a.nrrd"))
    with pytest.raises(ReadError, match="3 components"):
        inspect_files([tmp_path / "a.nrrd"])
    colours = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colours, np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(ReadError, match="coloured"):
        inspect_files([tmp_path / "a.nii"])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd"])
def test_files_that_were_cut_off(tmp_path: Path, ending: str) -> None:
    grid = Grid((40, 40, 40))
    noise = torch.randint(-1000, 1000, grid.shape, generator=torch.Generator().manual_seed(0), dtype=torch.int16)
    for p in (0, 50):
        path = tmp_path / f"phase_{p:02d}{ending}"
        if ending == ".nrrd":
            sitk.WriteImage(scalars_to_sitk(noise, grid), str(path), True)
        else:
            write_nifti(path, noise, grid)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = only(tmp_path)
    with pytest.raises(ReadError, match=r"phase_50.*damaged or cut off; copy it again"):
        read_files(found)


@given(st.binary(max_size=400), st.sampled_from(ENDINGS))
def test_garbage_is_a_read_error(tmp_path_factory: pytest.TempPathFactory, content: bytes, ending: str) -> None:
    path = tmp_path_factory.mktemp("garbage") / f"a{ending}"
    path.write_bytes(content)
    with pytest.raises(RtmotionError, match=r"a\.(nii|nrrd|mh)"):
        inspect_files([path])


def test_unknown_orientation_is_a_warning(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 4, 4, 2), dtype=np.int16), None)
    image.header["pixdim"][1:4] = 1
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "a.nii")
    assert any("nothing of its orientation" in w for w in only(tmp_path / "a.nii").warnings)


def test_inspection_reads_no_voxels(tmp_path: Path) -> None:
    for p in (0, 50):
        path = save(tmp_path / f"phase_{p:02d}.nii", 0)
        path.write_bytes(path.read_bytes()[:352])
    assert labels(only(tmp_path)) == ["T00", "T50"]
