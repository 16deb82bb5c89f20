"""DIR-Lab: small files of the same format, with landmarks whose place is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rtmotion.errors import PhaseError, ReadError, ReadWarning
from rtmotion.sequence import PhaseSequence
from rtmotion_data.found import FoundSequence
from rtmotion_data.readers.dirlab import CASES, DirlabCase, identity_tre, inspect_dirlab, read_dirlab

SIZE, SPACING = (12, 10, 8), (0.97, 1.16, 2.5)
BEAD = 900
"""HU of the voxel that carries the first landmark."""

PUBLISHED_TRE = (3.89, 4.34, 6.94, 9.83, 7.48, 10.89, 11.03, 14.99, 7.92, 7.30)


def bead(percent: int) -> tuple[int, int, int]:
    """0-based voxel of the bead: from T00 to T50 it goes down (towards larger slice numbers) by two slices."""
    return (5, 4, 3 + round(2 * min(percent, 100 - percent) / 50))


def image(percent: int) -> np.ndarray:
    """HU, [z, y, x]: a body in air."""
    hu = np.full(SIZE[::-1], -1000, dtype=np.int16)
    hu[:, 2:-2, 2:-2] = 30
    x, y, z = bead(percent)
    hu[z, y, x] = BEAD
    return hu


def landmarks(percent: int, count: int) -> np.ndarray:
    """1-based voxel indices: the bead first, the others move like it."""
    start = np.random.default_rng(0).integers(1, [SIZE[0], SIZE[1], SIZE[2] - 3], size=(count, 3))
    moved: np.ndarray = start + np.array([0, 0, bead(percent)[2] - bead(0)[2]])
    moved[0] = np.add(bead(percent), 1)
    return moved


def make(
    root: Path, case: int = 1, offset: int = 1024, name: str = "case{c}_T{p:02d}_s.img", padding: bool = True
) -> Path:
    """A case folder as it comes from the archive."""
    (root / "Images").mkdir(parents=True)
    for percent in range(0, 100, 10):
        stored = image(percent) + offset
        if padding:
            stored[:, 0, 0] = -2000
        (root / "Images" / name.format(c=case, p=percent)).write_bytes(stored.astype("<i2").tobytes())
    return root


def add_points(root: Path, folder: str, name: str, count: int, percents: tuple[int, ...], case: int = 1) -> None:
    (root / folder).mkdir(exist_ok=True)
    for percent in percents:
        rows = landmarks(percent, count)
        text = "".join(f"{x}\t{y}\t{z} \r\n" for x, y, z in rows)
        (root / folder / name.format(c=case, p=percent)).write_text(text)


def cases(tre: float | None = None) -> dict[int, DirlabCase]:
    return {1: DirlabCase(SIZE, SPACING, tre), 8: DirlabCase(SIZE, SPACING, tre)}


def only(root: Path, tre: float | None = None) -> FoundSequence:
    inspection = inspect_dirlab(root, cases(tre))
    assert inspection is not None
    (found,) = inspection.sequences
    return found


def read(found: FoundSequence, points: int = 300, tre: float | None = None) -> PhaseSequence:
    with pytest.warns(ReadWarning, match=r"stored as HU \+ 1024"):
        return read_dirlab(found, points, cases(tre))


def test_the_table_of_cases() -> None:
    assert sorted(CASES) == list(range(1, 11))
    assert tuple(CASES[c].identity_tre for c in sorted(CASES)) == PUBLISHED_TRE
    assert all(c.spacing[2] == 2.5 and c.spacing[0] == c.spacing[1] for c in CASES.values())
    assert {c for c in CASES if CASES[c].size[0] == 512} == {6, 7, 8, 9, 10}


@pytest.mark.parametrize(
    ("folder", "case", "name"),
    [
        ("Case1Pack", 1, "case{c}_T{p:02d}_s.img"),
        ("Case1Pack", 1, "case{c}_T{p:02d}.img"),
        ("Case8Deploy", 8, "case{c}_T{p:02d}-ssm.img"),
        ("Case8Deploy", 8, "Case{c}_T{p:02d}.IMG"),
    ],
)
@pytest.mark.parametrize("above", [0, 1])
def test_names_of_images(tmp_path: Path, folder: str, case: int, name: str, above: int) -> None:
    root = make(tmp_path / folder, case, name=name)
    found = only(root if above == 0 else tmp_path)
    assert [p.label for p in found.phases] == [f"T{p:02d}" for p in range(0, 100, 10)]
    assert found.format == "dirlab"
    assert found.name == f"dirlab case {case}"
    assert found.grid.size == SIZE
    assert found.grid.spacing == SPACING
    assert found.phases[3].evidence == "T30 in the file name"


@pytest.mark.parametrize("offset", [1024, 0])
def test_values_become_hu_whatever_the_offset(tmp_path: Path, offset: int) -> None:
    found = only(make(tmp_path / "Case1Pack", offset=offset))
    sequence = read(found) if offset else read_dirlab(found, cases=cases())
    data = sequence.volume("T30").data
    assert data.dtype is torch.int16
    expected = torch.from_numpy(image(30)).clone()
    expected[:, 0, 0] = -1024  # outside the field of view
    assert torch.equal(data, expected)


def test_slices_run_from_superior_to_inferior(tmp_path: Path) -> None:
    found = only(make(tmp_path / "Case1Pack"))
    first, last = found.grid.index_to_world(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, SIZE[2] - 1.0]])).tolist()
    assert first[2] > last[2]
    assert last[2] - first[2] == pytest.approx(-2.5 * (SIZE[2] - 1))


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("ExtremePhases", "Case{c}_300_T{p:02d}_xyz.txt"),
        ("extremePhases", "case{c}_dirLab300_T{p:02d}_xyz.txt"),
    ],
)
def test_landmarks_lie_on_their_voxels(tmp_path: Path, folder: str, name: str) -> None:
    root = make(tmp_path / "Case1Pack")
    add_points(root, folder, name, 300, (0, 50))
    sequence = read(only(root))
    assert {k: len(v) for k, v in sequence.landmarks.items()} == {"T00": 300, "T50": 300}
    for label in ("T00", "T50"):
        # the bead's landmark, in mm, back in the image
        x, y, z = sequence.grid.world_to_index(sequence.landmarks[label][:1])[0].round().int().tolist()
        assert int(sequence.volume(label).data[z, y, x]) == BEAD
    moved = sequence.landmarks["T50"] - sequence.landmarks["T00"]
    # two slices down: towards the feet, -z
    assert moved.mean(dim=0).tolist() == pytest.approx([0.0, 0.0, -5.0], abs=1e-9)


def test_identity_tre_is_in_mm(tmp_path: Path) -> None:
    root = make(tmp_path / "Case1Pack")
    add_points(root, "ExtremePhases", "Case{c}_300_T{p:02d}_xyz.txt", 300, (0, 50))
    sequence = read(only(root))
    assert identity_tre(sequence, "T00", "T50") == pytest.approx(2 * 2.5)
    with pytest.raises(PhaseError, match="phase T30 has no landmarks; those with: T00, T50"):
        identity_tre(sequence, "T00", "T30")


def test_75_landmarks_in_six_phases(tmp_path: Path) -> None:
    root = make(tmp_path / "Case1Pack")
    add_points(root, "Sampled4D", "case{c}_4D-75_T{p:02d}.txt", 75, (0, 10, 20, 30, 40, 50))
    found = only(root)
    assert {k: len(v) for k, v in read(found).landmarks.items()} == {f"T{p}0": 75 for p in range(6)}
    add_points(root, "ExtremePhases", "Case{c}_300_T{p:02d}_xyz.txt", 300, (0, 50))
    assert set(read(found).landmarks) == {"T00", "T50"}
    assert set(read(found, points=75).landmarks) == {f"T{p}0" for p in range(6)}


def test_the_self_check_speaks_when_landmarks_are_wrong(tmp_path: Path) -> None:
    root = make(tmp_path / "Case1Pack", padding=False, offset=0)
    add_points(root, "ExtremePhases", "Case{c}_300_T{p:02d}_xyz.txt", 300, (0, 50))
    assert identity_tre(read_dirlab(only(root), cases=cases(5.05)), "T00", "T50") == pytest.approx(5.0)
    with pytest.warns(ReadWarning, match=r"5\.00 mm apart in T00 and T50, published are 5\.20 mm"):
        read_dirlab(only(root), cases=cases(5.2))


def test_landmarks_of_another_case_are_left_alone(tmp_path: Path) -> None:
    root = make(tmp_path / "Case1Pack")
    add_points(root, "ExtremePhases", "Case{c}_300_T{p:02d}_xyz.txt", 300, (0, 50), case=2)
    assert read(only(root)).landmarks == {}


def test_wrong_size_is_refused_with_the_bytes_expected(tmp_path: Path) -> None:
    root = make(tmp_path / "Case1Pack")
    with pytest.raises(ReadError, match=r"256×256×94 voxels of 2 bytes, 12320768 bytes; this file has 1920"):
        inspect_dirlab(root)


def test_unknown_case_and_double_phase(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="no case 11; there are 1, 8"):
        inspect_dirlab(make(tmp_path / "a", case=11), cases())
    root = make(tmp_path / "b")
    (root / "case1_T00.img").write_bytes(b"")
    with pytest.raises(PhaseError, match="two images for T00 of case 1"):
        inspect_dirlab(root, cases())


def test_missing_phase_is_a_warning(tmp_path: Path) -> None:
    root = make(tmp_path / "Case1Pack")
    (root / "Images" / "case1_T40_s.img").unlink()
    assert only(root).warnings == ("9 of 10 phases are there; missing: T40",)


def test_other_folders_are_no_dirlab(tmp_path: Path) -> None:
    (tmp_path / "brain.img").write_bytes(b"")
    assert inspect_dirlab(tmp_path) is None


def test_broken_landmarks(tmp_path: Path) -> None:
    root = make(tmp_path / "Case1Pack", offset=0)
    (root / "ExtremePhases").mkdir()
    (root / "ExtremePhases" / "Case1_300_T00_xyz.txt").write_text("1 2 3\n4 5\n")
    with pytest.raises(ReadError, match="lines of three numbers"):
        read_dirlab(only(root), cases=cases())
