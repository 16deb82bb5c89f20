"""DICOM that is broken: named in a warning, set aside with its reason, or refused; never averaged away."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from rtmotion.errors import GeometryError, ReadError
from rtmotion_data.found import FoundSequence
from rtmotion_data.readers.dicom import inspect_dicom, read_dicom
from tests.data.dicom_maker import SHAPE, Maker, hu_of

FIVE = [0, 20, 40, 60, 80]
MIDDLE = 2  # the series of 40 %


def broken_cycle(maker: Maker, **options: object) -> None:
    """A cycle of five phases, the middle one written with other options."""
    for i, p in enumerate(FIVE):
        more = options if i == MIDDLE else {}
        maker.series(f"s{i}", hu_of(p), description=f"T={p}%", number=500 + i, **more)  # type: ignore[arg-type]


def only(root: Path) -> FoundSequence:
    found = inspect_dicom(root)
    assert len(found.sequences) == 1
    return found.sequences[0]


def test_a_missing_slice_warns_and_is_refused(maker: Maker) -> None:
    broken_cycle(maker, skip=[3])
    found = only(maker.root)
    assert len(found.phases) == 5
    assert found.grid.size == (4, 5, 6)
    (warning,) = found.warnings
    assert "T40" in warning
    assert "1 slice missing between z = -24 mm (ct002.dcm) and z = -18 mm (ct004.dcm)" in warning
    with pytest.raises(GeometryError, match=r"T40.*1 slice missing.*export"):
        read_dicom(found)


def test_every_phase_with_the_same_missing_slice_is_still_refused(maker: Maker) -> None:
    maker.cycle("T={}%", FIVE, skip=[3])
    found = only(maker.root)
    assert found.grid.size == (4, 5, 6)
    assert len([w for w in found.warnings if "missing between" in w]) == 5
    with pytest.raises(GeometryError, match="missing between"):
        read_dicom(found)


def test_a_missing_end_slice_is_another_grid(maker: Maker) -> None:
    broken_cycle(maker, skip=[5])
    found = inspect_dicom(maker.root)
    (sequence,) = found.sequences
    assert [p.label for p in sequence.phases] == ["T00", "T20", "T60", "T80"]
    assert any("T40" in w and "4×5×5 voxels" in w for w in sequence.warnings)
    assert any("missing phase T40" in w or "left out" in w for w in sequence.warnings)
    assert "4×5×5 voxels, the other phases have 4×5×6" in found.set_aside[0].reason
    assert len(read_dicom(sequence)) == 4


def test_a_duplicate_slice_is_named_and_refused(maker: Maker) -> None:
    broken_cycle(maker)
    uid = "1.2.3.4.5"
    shutil.rmtree(maker.root / f"s{MIDDLE}")
    maker.series(f"s{MIDDLE}", hu_of(40), description="T=40%", number=502, uid=uid)
    maker.series(
        f"s{MIDDLE}", hu_of(40), description="T=40%", number=502, uid=uid, skip=[0, 1, 2, 4, 5], prefix="again"
    )
    found = only(maker.root)
    assert any("two slices at z = -21 mm" in w and "again003.dcm" in w for w in found.warnings)
    with pytest.raises(GeometryError, match=r"T40.*two slices at z = -21 mm"):
        read_dicom(found)


def test_a_second_copy_of_a_file_is_left_out(maker: Maker) -> None:
    broken_cycle(maker)
    shutil.copy(maker.root / "s1" / "ct003.dcm", maker.root / "s1" / "copy of ct003.dcm")
    found = only(maker.root)
    assert any("second copies" in w for w in found.warnings)
    np.testing.assert_array_equal(read_dicom(found).volume("T20").data.numpy(), hu_of(20))


def test_uneven_slice_distances_are_refused(maker: Maker) -> None:
    maker.cycle("T={}%", FIVE, tags={"ImagePositionPatient": [[-10, -20, z] for z in (0, 3, 6, 10, 13, 16)]})
    found = only(maker.root)
    assert any("uneven slice distances: 3.000 to 4.000 mm" in w for w in found.warnings)
    with pytest.raises(GeometryError, match="uneven slice distances"):
        read_dicom(found)


def test_rounding_of_positions_is_no_fault(maker: Maker) -> None:
    rounded = [[-10, -20, round(k * 3.27, 1)] for k in range(SHAPE[0])]
    maker.cycle("T={}%", FIVE, tags={"ImagePositionPatient": rounded})
    assert len(read_dicom(only(maker.root))) == 5


def test_a_slice_beside_the_others_is_refused(maker: Maker) -> None:
    broken_cycle(maker, tags={"ImagePositionPatient": [[-10 + 4 * (k == 2), -20, -30 + 3 * k] for k in range(6)]})
    with pytest.raises(GeometryError, match=r"T40.*ct002.dcm lies 4.0 mm beside"):
        read_dicom(only(maker.root))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"spacing": (2.0, 1.5, 2.5)}, "voxels of 2×1.5×2.5 mm, the other phases have 2×1.5×3 mm"),
        ({"spacing": (1.0, 1.0, 3.0)}, "voxels of 1×1×3 mm"),
        ({"origin": (-10.0, -20.0, -28.0)}, "its first voxel is at (-10, -20, -28) mm"),
        ({"orientation": (-1, 0, 0, 0, -1, 0)}, "other directions"),
    ],
)
def test_a_phase_with_another_geometry_is_set_aside(maker: Maker, options: dict[str, object], words: str) -> None:
    broken_cycle(maker, **options)
    found = inspect_dicom(maker.root)
    assert words in found.set_aside[0].reason
    assert any("T40" in w and words in w for w in found.sequences[0].warnings)
    assert any("missing phase T40" in w for w in found.sequences[0].warnings)
    assert len(read_dicom(found.sequences[0])) == 4


def test_another_pixel_spacing_in_one_slice_is_a_gap_and_a_stray(maker: Maker) -> None:
    broken_cycle(maker, tags={"PixelSpacing": [[1.5, 2.0]] * 3 + [[1.5, 1.9]] + [[1.5, 2.0]] * 2})
    found = inspect_dicom(maker.root)
    assert any("T40" in w and "missing between" in w for w in found.sequences[0].warnings)
    assert any("a single slice" in a.reason for a in found.set_aside)
    with pytest.raises(GeometryError, match="T40"):
        read_dicom(found.sequences[0])


def test_a_tilted_gantry_is_refused_with_its_angle(maker: Maker) -> None:
    tilt = np.radians(12.0)
    maker.cycle("T={}%", FIVE, step=(0, 3 * np.sin(tilt), 3 * np.cos(tilt)))
    found = inspect_dicom(maker.root)
    assert found.sequences == ()
    assert len(found.set_aside) == 5
    assert all("12.0°" in a.reason and "tilted gantry" in a.reason for a in found.set_aside)


def test_one_tilted_phase_is_set_aside(maker: Maker) -> None:
    tilt = np.radians(5.0)
    broken_cycle(maker, step=(0, 3 * np.sin(tilt), 3 * np.cos(tilt)))
    found = inspect_dicom(maker.root)
    assert len(found.sequences[0].phases) == 4
    assert "tilted gantry" in found.set_aside[0].reason
    assert any("missing phase T40" in w for w in found.sequences[0].warnings)


def test_a_missing_phase_is_named(maker: Maker) -> None:
    maker.cycle("T={}%", [0, 10, 20, 40, 50, 60, 70, 80, 90])
    assert only(maker.root).warnings == (
        "missing phase T30 (found T00, T10, T20, T40, T50, T60, T70, T80, T90)",
    )  # fmt: skip


def test_two_series_for_one_phase_are_named_and_one_is_used(maker: Maker) -> None:
    broken_cycle(maker)
    maker.series("again", hu_of(7), description="T=40%", number=900)
    found = inspect_dicom(maker.root)
    (sequence,) = found.sequences
    assert any("two series for T40" in w and "502" in w and "900" in w for w in sequence.warnings)
    assert "second series for T40" in found.set_aside[0].reason
    np.testing.assert_array_equal(read_dicom(sequence).volume("T40").data.numpy(), hu_of(40))


def test_a_single_phase_is_no_sequence(maker: Maker) -> None:
    maker.series("s", hu_of(0), description="CT114545:RespCT  3.0  B30f  50% Ex")
    found = inspect_dicom(maker.root)
    assert found.sequences == ()
    assert "T25" in found.set_aside[0].reason
    assert "at least two" in found.set_aside[0].reason


def test_pixels_cut_off_are_named_at_inspection_and_refused(maker: Maker) -> None:
    broken_cycle(maker)
    path = maker.root / f"s{MIDDLE}" / "ct004.dcm"
    path.write_bytes(path.read_bytes()[:-10])
    found = only(maker.root)
    assert any("ct004.dcm" in w for w in found.warnings)
    with pytest.raises(ReadError, match=r"ct004\.dcm.*ends before its pixels"):
        read_dicom(found)


def test_a_header_cut_off_is_named(maker: Maker) -> None:
    broken_cycle(maker)
    path = maker.root / f"s{MIDDLE}" / "ct002.dcm"
    path.write_bytes(path.read_bytes()[:170])
    found = inspect_dicom(maker.root)
    assert any("ct002.dcm" in a.description for a in found.set_aside)
    assert any("T40" in w and "missing between" in w for w in found.sequences[0].warnings)


def test_a_file_that_vanished_since_the_inspection(maker: Maker) -> None:
    broken_cycle(maker)
    found = only(maker.root)
    (maker.root / "s0" / "ct000.dcm").unlink()
    with pytest.raises(ReadError, match=r"ct000\.dcm"):
        read_dicom(found)


def test_an_image_without_a_position_is_set_aside(maker: Maker) -> None:
    broken_cycle(maker)
    maker.series("capture", hu_of(0)[:1], description="Screen", tags={"ImagePositionPatient": None})
    found = inspect_dicom(maker.root)
    assert "no position" in found.set_aside[0].reason


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="does not exist"):
        inspect_dicom(tmp_path / "nowhere")


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    found = inspect_dicom(tmp_path)
    assert found.sequences == ()
    assert found.set_aside == ()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_opened(maker: Maker) -> None:
    maker.cycle("T={}%", FIVE)
    maker.root.chmod(0)
    try:
        with pytest.raises(ReadError, match="permission"):
            inspect_dicom(maker.root)
    finally:
        maker.root.chmod(0o755)


def test_links_in_a_circle_end(maker: Maker) -> None:
    broken_cycle(maker)
    (maker.root / "s0" / "loop").symlink_to(maker.root, target_is_directory=True)
    assert len(only(maker.root).phases) == 5
