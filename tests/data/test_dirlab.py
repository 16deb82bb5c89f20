"""DIR-Lab: small files of the same format, with landmarks whose place is known."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from rtmotion.errors import PhaseError, ReadError, ReadWarning
from rtmotion.sequence import PhaseSequence
from rtmotion_data.found import FoundSequence
from rtmotion_data.readers.dirlab import CASES, DirlabCase, inspect_dirlab, read_dirlab
from rtmotion_data.readers.dirlab_landmarks import IDENTITY_MM

SIZE, SPACING = (12, 10, 8), (0.97, 1.16, 2.5)
BEAD = 900
"""HU of the voxel that carries the first landmark."""

PUBLISHED_TRE = (3.89, 4.34, 6.94, 9.83, 7.48, 10.89, 11.03, 14.99, 7.92, 7.30)


def bead(percent: int) -> tuple[int, int, int]:
    """0-based voxel of the bead: from T00 to T50 it goes up (towards smaller slice numbers) by two slices."""
    return (5, 4, 5 - round(2 * min(percent, 100 - percent) / 50))


def image(percent: int) -> np.ndarray:
    """HU, [z, y, x]: a body in air."""
    hu = np.full(SIZE[::-1], -1000, dtype=np.int16)
    hu[:, 2:-2, 2:-2] = 30
    x, y, z = bead(percent)
    hu[z, y, x] = BEAD
    return hu


def landmarks(percent: int, count: int) -> np.ndarray:
    """1-based voxel indices: the bead first, the others move like it."""
    start = np.random.default_rng(0).integers([1, 1, 3], SIZE, size=(count, 3), endpoint=True)
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


def cases() -> dict[int, DirlabCase]:
    return {1: DirlabCase(SIZE, SPACING), 8: DirlabCase(SIZE, SPACING)}


def only(root: Path, identity_mm: float | None = None) -> FoundSequence:
    inspection = inspect_dirlab(root, cases(), {} if identity_mm is None else {1: identity_mm, 8: identity_mm})
    assert inspection is not None
    (found,) = inspection.sequences
    return found


def read(found: FoundSequence, points: int = 300) -> PhaseSequence:
    with pytest.warns(ReadWarning, match=r"stored as HU \+ 1024"):
        return read_dirlab(found, points)


def test_the_table_of_cases() -> None:
    assert sorted(CASES) == list(range(1, 11))
    assert tuple(IDENTITY_MM[c] for c in sorted(CASES)) == PUBLISHED_TRE
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
    sequence = read(found) if offset else read_dirlab(found)
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
    # two slices up: towards the head, +z
    assert moved.mean(dim=0).tolist() == pytest.approx([0.0, 0.0, 5.0], abs=1e-9)


def test_75_landmarks_in_six_phases(tmp_path: Path) -> None:
    root = make(tmp_path / "Case1Pack")
    add_points(root, "Sampled4D", "case{c}_4D-75_T{p:02d}.txt", 75, (0, 10, 20, 30, 40, 50))
    found = only(root)
    assert {k: len(v) for k, v in read(found).landmarks.items()} == {f"T{p}0": 75 for p in range(6)}
    add_points(root, "ExtremePhases", "Case{c}_300_T{p:02d}_xyz.txt", 300, (0, 50))
    both = only(root)
    assert set(read(both).landmarks) == {"T00", "T50"}
    assert set(read(both, points=75).landmarks) == {f"T{p}0" for p in range(6)}


def test_both_sets_are_found_and_checked_against_what_is_published(tmp_path: Path) -> None:
    root = make(tmp_path / "Case1Pack", padding=False, offset=0)
    add_points(root, "ExtremePhases", "Case{c}_300_T{p:02d}_xyz.txt", 300, (0, 50))
    add_points(root, "Sampled4D", "case{c}_4D-75_T{p:02d}.txt", 75, (0, 10, 20, 30, 40, 50))
    found = only(root, 5.05)
    assert found.warnings == ()
    extreme, sampled = found.landmarks
    assert (extreme.convention, extreme.count, extreme.labels) == ("dirlab-300", 300, ("T00", "T50"))
    assert (sampled.convention, sampled.count, sampled.labels) == ("dirlab-75", 75, tuple(f"T{p}0" for p in range(6)))
    (check,) = extreme.checks(found.grid)
    assert check.agrees
    assert check.measured_mm == pytest.approx(2 * 2.5)
    assert check.superior_mm == pytest.approx(2 * 2.5)
    assert sampled.checks() == ()
    shown = found.to_json()["landmarks"]
    assert shown[0]["identity_checks"][0]["says"] == (
        "the landmarks lie 5.00 mm apart in T00 and T50, published are 5.05 mm: they agree"
    )
    assert "voxel indices from 1" in shown[1]["source_units"]


def test_the_self_check_is_loud_when_landmarks_are_wrong(tmp_path: Path) -> None:
    root = make(tmp_path / "Case1Pack", padding=False, offset=0)
    add_points(root, "ExtremePhases", "Case{c}_300_T{p:02d}_xyz.txt", 300, (0, 50))
    found = only(root, 5.2)
    assert "5.00 mm apart in T00 and T50, published are 5.20 mm" in found.warnings[0]
    with pytest.warns(ReadWarning, match=r"5\.00 mm apart in T00 and T50, published are 5\.20 mm: wrong"):
        read_dirlab(found)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ((0, 2, 1), "with the columns read as x z y they would be 5.00 mm: swapped axes"),
        ((2, 1, 0), "with the columns read as z y x they would be 5.00 mm: swapped axes"),
    ],
)
def test_the_self_check_sees_swapped_axes(tmp_path: Path, columns: tuple[int, ...], says: str) -> None:
    root = make(tmp_path / "Case1Pack")
    (root / "ExtremePhases").mkdir()
    for percent in (0, 50):
        rows = landmarks(percent, 300)[:, list(columns)].clip(1, SIZE)
        rows[:, columns.index(2)] = 4 if percent == 0 else 2  # the only axis that moves, wherever it was put
        (root / "ExtremePhases" / f"Case1_300_T{percent:02d}_xyz.txt").write_text(
            "".join(f"{x} {y} {z}\n" for x, y, z in rows)
        )
    assert says in only(root, 5.0).warnings[0]


def test_the_self_check_sees_slices_that_are_upside_down(tmp_path: Path) -> None:
    root = make(tmp_path / "Case1Pack")
    (root / "ExtremePhases").mkdir()
    for percent in (0, 50):
        x, y, z = landmarks(percent, 300).T
        rows = np.stack([x, y, SIZE[2] + 1 - z], axis=1)
        (root / "ExtremePhases" / f"Case1_300_T{percent:02d}_xyz.txt").write_text(
            "".join("{} {} {}\n".format(*row) for row in rows)
        )
    assert "move 5.00 mm towards the feet" in only(root, 5.0).warnings[0]


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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1 2 3\n4 5\n", r"Case1_300_T00_xyz\.txt, line 2: three numbers .* there are 2"),
        ("1 2 3\n\n4 x 5\n", r"Case1_300_T00_xyz\.txt, line 3: three numbers .* something else"),
        ("1 2 nan\n", r"Case1_300_T00_xyz\.txt, line 1: three numbers .* not finite"),
        ("1,0 2,0 3,0\n", r"Case1_300_T00_xyz\.txt, line 1: three numbers .* decimal points"),
        ("1 2 3\n4 11 5\n", r"Case1_300_T00_xyz\.txt, line 2: 4 11 5 lies outside the 12 × 10 × 8 voxels"),
        ("0 2 3\n", r"Case1_300_T00_xyz\.txt, line 1: 0 2 3 lies outside"),
        ("\n", r"Case1_300_T00_xyz\.txt: lines of three numbers x y z were expected, there is none"),
    ],
)
def test_malformed_landmarks_are_refused_with_file_and_line(tmp_path: Path, text: str, says: str) -> None:
    root = make(tmp_path / "Case1Pack", padding=False, offset=0)
    (root / "ExtremePhases").mkdir()
    (root / "ExtremePhases" / "Case1_300_T00_xyz.txt").write_text(text)
    found = only(root)
    assert re.search(says, found.warnings[0])
    with pytest.raises(ReadError, match=says):
        read_dirlab(found)


def test_a_set_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    root = make(tmp_path / "Case1Pack", padding=False, offset=0)
    add_points(root, "ExtremePhases", "Case{c}_300_T{p:02d}_xyz.txt", 300, (0,))
    add_points(root, "ExtremePhases", "Case{c}_300_T{p:02d}_xyz.txt", 299, (50,))
    with pytest.raises(ReadError, match=r"T50_xyz.txt: 299 landmarks, Case1_300_T00_xyz.txt has 300"):
        read_dirlab(only(root))
