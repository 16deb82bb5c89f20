"""The one door to data on disk: dispatch over formats, one sequence or a clear refusal."""

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import rtmotion_data
from rtmotion.errors import PhaseError, ReadError, UnknownNameError
from rtmotion_data.found import SCHEMA
from rtmotion_data.inspection import inspect, read
from tests.data.dicom_maker import SHAPE, Maker, hu_of


def write_nifti(folder: Path, percents: list[int]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for p in percents:
        path = folder / f"phase_{p:02d}.nii.gz"
        nib.save(nib.Nifti1Image(hu_of(p).T, np.diag([-2.0, -2.0, 3.0, 1.0])), path)
        paths.append(path)
    return paths


def test_dicom_is_read_with_what_was_found(maker: Maker) -> None:
    maker.cycle("T={}%", [0, 25, 50, 75])
    sequence, found = read(maker.root)
    assert found.format == "dicom"
    assert sequence.labels == ("T00", "T25", "T50", "T75")
    np.testing.assert_array_equal(sequence.volume("T25").data.numpy(), hu_of(25))


def test_phases_in_folders_given_one_by_one(maker: Maker) -> None:
    maker.cycle("T={}%", [0, 25, 50, 75])
    sequence, found = read([maker.root / "s0", maker.root / "s2"])
    assert sequence.labels == ("T00", "T50")
    assert found.name == "study"


def test_files_go_to_their_reader(tmp_path: Path) -> None:
    paths = write_nifti(tmp_path / "case", [0, 20, 40, 60, 80])
    for where in (tmp_path / "case", paths):
        sequence, found = read(where)
        assert found.format == "nifti"
        assert sequence.labels == ("T00", "T20", "T40", "T60", "T80")
        np.testing.assert_array_equal(sequence.volume("T40").data.numpy(), hu_of(40))
    with pytest.raises(UnknownNameError, match="case"):
        inspect(tmp_path / "case", study="other")
    assert inspect(tmp_path / "case", study="case").sequences


def test_dicom_wins_over_files_beside_it(maker: Maker) -> None:
    maker.cycle("T={}%", [0, 50])
    write_nifti(maker.root, [0, 10, 20])
    assert [s.format for s in inspect(maker.root).sequences] == ["dicom"]


def test_structures_in_dicom_beside_phases_in_files(maker: Maker) -> None:
    maker.other("rs.dcm", "RTSTRUCT")
    write_nifti(maker.root, [0, 20, 40])
    sequence, found = read(maker.root)
    assert sequence.labels == ("T00", "T20", "T40")
    assert found.format == "nifti"
    assert any("structure set" in a.reason for a in inspect(maker.root).set_aside)


def test_progress_counts_headers_and_voxels(maker: Maker) -> None:
    maker.cycle("T={}%", [0, 50])
    (maker.root / "notes.txt").write_text("no DICOM")
    seen: list[tuple[int, int]] = []
    read(maker.root, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == list(range(1, 26))
    assert seen[-1] == (25, 25)


def test_several_sequences_are_listed_until_one_is_chosen(tmp_path: Path) -> None:
    Maker(tmp_path / "one").cycle("T={}%", [0, 50], tags={"StudyDate": "20200101"})
    Maker(tmp_path / "two").cycle("T={}%", [0, 30, 60], tags={"StudyDate": "20210101"})
    names = [s.name for s in inspect(tmp_path).sequences]
    with pytest.raises(
        PhaseError, match=rf"2 phase sequences.*--study.*{names[0]} \(2 phases\).*{names[1]} \(3 phases\)"
    ):
        read(tmp_path)
    sequence, found = read(tmp_path, study=names[1])
    assert len(sequence) == 3
    assert found.name == names[1]


def test_phases_may_be_named(maker: Maker) -> None:
    for number, percent in ((1, 0), (2, 30), (3, 60)):
        maker.series(f"x{number}", hu_of(percent), description="Lung", number=number)
    with pytest.raises(ReadError, match=r"no phase sequence.*nothing in its headers.*--phases"):
        read(maker.root)
    sequence, _ = read(maker.root, phases=[0, 30, 60])
    assert sequence.labels == ("T00", "T30", "T60")


@pytest.mark.parametrize("content", [{}, {"notes.txt": b"text", "a.pdf": b"%PDF", "b.pdf": b"%PDF"}])
def test_nothing_found_says_what_is_there(tmp_path: Path, content: dict[str, bytes]) -> None:
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    there = r"2 × \.pdf, 1 × \.txt" if content else "no files"
    for call in (inspect, read):
        with pytest.raises(ReadError, match=rf"no 4D CT in .*found: {there}.*give a folder of DICOM"):
            call(tmp_path)


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="does not exist"):
        inspect(tmp_path / "nowhere")
    with pytest.raises(ReadError, match="no path"):
        read([])


def test_a_path_that_may_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # root may open everything, so the refusal is played
    monkeypatch.setattr("os.access", lambda path, mode: False)
    for call in (inspect, read):
        with pytest.raises(ReadError, match=r"cannot be opened \(permission denied\)"):
            call(tmp_path)


def test_the_json_of_an_inspection(maker: Maker) -> None:
    maker.cycle("T={}%", [0, 50])
    maker.series("mip", hu_of(0), description="MIP")
    printed = json.loads(json.dumps(inspect(maker.root).to_json()))
    assert printed["schema"] == SCHEMA
    (sequence,) = printed["sequences"]
    assert sequence["format"] == "dicom"
    assert sequence["grid"]["size"] == list(SHAPE[::-1])
    assert [set(p) for p in sequence["phases"]] == [{"label", "fraction", "evidence", "confidence", "files"}] * 2
    assert set(printed["set_aside"][0]) == {"description", "reason"}


def test_artefacts_are_looked_for_on_request(maker: Maker) -> None:
    rng = np.random.default_rng(0)
    anatomy = rng.integers(-900, 100, (30, 24, 24)).astype(np.int16)
    for i in range(5):
        noisy = anatomy + rng.normal(0, 5, anatomy.shape).astype(np.int16)
        if i == 3:
            noisy[12:18] += 250  # a slab of other brightness: a jump at its borders
        maker.series(f"s{i}", noisy.astype(np.int16), description=f"T={20 * i}%", number=i)
    assert inspect(maker.root).sequences[0].warnings == ()
    warned = inspect(maker.root, artefacts=True).sequences[0].warnings
    assert all("T60: suspected sorting artefact" in w for w in warned)
    assert [f"{-30 + 3 * (k - 0.5):.1f} mm" in w for k, w in zip((12, 18), warned, strict=True)] == [True, True]


def test_artefacts_of_what_cannot_be_read_are_not_looked_for(maker: Maker) -> None:
    maker.cycle("T={}%", [0, 50], skip=[3])
    assert any("missing between" in w for w in inspect(maker.root, artefacts=True).sequences[0].warnings)


def test_the_package_offers_both_and_imports_nothing_heavy() -> None:
    assert rtmotion_data.inspect is inspect
    assert rtmotion_data.read is read
    with pytest.raises(AttributeError, match="no attribute 'write'"):
        _ = rtmotion_data.write
    code = "import sys, rtmotion_data; sys.exit(any(m in sys.modules for m in ('torch', 'pydicom')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
