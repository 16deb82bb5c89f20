"""The dialects of 4D CT in DICOM: what is found, and that the right voxels come out."""

from pathlib import Path

import numpy as np
import pytest

from rtmotion.errors import PhaseError, UnknownNameError
from rtmotion_data.found import FoundSequence, Inspection
from rtmotion_data.readers.dicom import inspect_dicom, read_dicom, read_dicom_folder
from tests.data.dicom_maker import PATIENT, SHAPE, Maker, hu_of

TENS = list(range(0, 100, 10))


def only(root: Path, **options: object) -> FoundSequence:
    found = inspect_dicom(root, **options)  # type: ignore[arg-type]
    assert len(found.sequences) == 1
    return found.sequences[0]


def labels(found: FoundSequence) -> list[str]:
    return [p.label for p in found.phases]


def assert_voxels(found: FoundSequence, stored: dict[str, float] | None = None) -> None:
    """Every phase holds the volume that was written for it: `stored` says which, its own percentage if not given."""
    sequence = read_dicom(found)
    assert list(sequence.labels) == labels(found)
    for phase, volume in zip(sequence.phases, sequence.volumes, strict=True):
        written = phase.percent if stored is None else stored[phase.label]
        np.testing.assert_array_equal(volume.data.numpy(), hu_of(written))


@pytest.mark.parametrize(
    ("pattern", "percents"),
    [
        ("T={}%,PR=94% -> 5%,AR(cm)=-2.41 -> -2.28  70CM FOV", TENS),
        ("T={}%,PR=12% -> 21%,AR(cm)=-3.19 -> -2.75  4D CT", [0, 16, 33, 50, 66, 83]),
        ("P4^P100^S102^I0, Gated, {}.0%", TENS),
        ("P4^P100^S102^I0, Gated, {}.0%A", TENS),
        ("{}.0%", TENS),
        ("Thorax 4D {}%  2.0  B30f", TENS),
        ("CT Thorax {}%", TENS),
        ("4DCT_phase_{:03d}", TENS),
    ],
)
def test_one_series_a_phase(maker: Maker, pattern: str, percents: list[int]) -> None:
    maker.cycle(pattern, percents)
    found = only(maker.root)
    assert labels(found) == [f"T{p:02d}" for p in percents]
    assert found.warnings == ()
    assert found.grid.size == (4, 5, 6)
    assert found.grid.spacing == pytest.approx((2.0, 1.5, 3.0))
    assert found.grid.origin == pytest.approx((-10.0, -20.0, -30.0))
    assert_voxels(found)


def test_amplitude_labels_in_and_ex(maker: Maker) -> None:
    order = {0: "100 % In", 10: "80 % Ex", 30: "40 % Ex", 50: "0 % Ex", 70: "40 % In", 90: "80 % In"}
    for i, (percent, text) in enumerate(order.items()):
        maker.series(f"s{5 - i}", hu_of(percent), description=f"RespCT  3.0  B30f  {text}", number=5 - i)
    found = only(maker.root)
    assert labels(found) == ["T00", "T10", "T30", "T50", "T70", "T90"]
    assert any("amplitude" in w for w in found.warnings)
    assert_voxels(found)


SIEMENS = "RespLow  2.0  B30s  80 % Ex - 100 % In"
SIEMENS_ORDER = [10, 20, 30, 40, 50, 60, 70, 80, 90, 0]  # 80 Ex ... 0 Ex ... 80 In, 100 In


def all_in_one(maker: Maker, description: str = SIEMENS, **tags: list[object]) -> None:
    """All phases in one series: the volumes one after the other in the order of the instances."""
    uid = "1.2.3.4"
    for i, percent in enumerate(SIEMENS_ORDER):
        own = {k: v[i] for k, v in tags.items()}
        maker.series(
            "resp", hu_of(percent), description=description, number=8, uid=uid, prefix=f"p{i}_", tags=own,
            instances=[i * SHAPE[0] + k + 1 for k in range(SHAPE[0])],
        )  # fmt: skip


def test_all_phases_in_one_series_by_instance_order(maker: Maker) -> None:
    all_in_one(maker)
    found = only(maker.root)
    assert labels(found) == [f"T{p:02d}" for p in TENS]
    assert "instance numbers" in found.phases[0].evidence
    assert found.phases[0].confidence < 0.5
    assert any("weak evidence" in w for w in found.warnings)
    assert_voxels(found)


def test_all_phases_in_one_series_by_comment(maker: Maker) -> None:
    names = [f"{PATIENT} 80 % Ex", *(f"{a} % Ex" for a in (60, 40, 20, 0)), *(f"{a} % In" for a in range(20, 101, 20))]
    all_in_one(maker, ImageComments=list(names))
    found = only(maker.root)
    assert "comment of each image" in found.phases[1].evidence
    assert "80 % Ex" in found.phases[1].evidence
    assert "Doe" not in str(found.to_json())
    assert_voxels(found)


def test_all_phases_in_one_series_by_temporal_position(maker: Maker) -> None:
    all_in_one(
        maker, "CT Lung", TemporalPositionIdentifier=[p // 10 + 1 for p in SIEMENS_ORDER],
        NumberOfTemporalPositions=[10] * 10,
    )  # fmt: skip
    found = only(maker.root)
    assert "Temporal Position" in found.phases[0].evidence
    assert_voxels(found)


def test_all_phases_in_one_series_by_acquisition_number(maker: Maker) -> None:
    all_in_one(maker, AcquisitionNumber=list(range(1, 11)))
    found = only(maker.root)
    assert "acquisition number" in found.phases[0].evidence
    assert_voxels(found)


def test_all_phases_in_one_series_by_acquisition_time_where_instances_are_useless(maker: Maker) -> None:
    for i, percent in enumerate(SIEMENS_ORDER):
        maker.series(
            "resp", hu_of(percent), description=SIEMENS, number=8, uid="1.2.3.4", prefix=f"p{i}_",
            instances=list(range(SHAPE[0])), tags={"AcquisitionTime": f"1000{i:02d}.5"},
        )  # fmt: skip
    found = only(maker.root)
    assert "acquisition time" in found.phases[0].evidence
    assert_voxels(found)


def test_unsorted_images_are_not_made_into_phases_by_their_order(maker: Maker) -> None:
    all_in_one(maker, "70CM FOV 3.27MM CT STD")
    found = inspect_dicom(maker.root)
    assert found.sequences == ()
    assert "--phases" in found.set_aside[0].reason


def test_the_user_names_the_phases_of_one_series(maker: Maker) -> None:
    all_in_one(maker, "CT Lung")
    found = only(maker.root, phases=SIEMENS_ORDER)
    assert found.phases[0].confidence == 1
    assert_voxels(found)
    with pytest.raises(PhaseError, match="--phases names 7 phases"):
        inspect_dicom(maker.root, phases=TENS[:7])


def test_the_user_names_unlabelled_series_by_their_numbers(maker: Maker) -> None:
    for number, percent in ((12, 30), (3, 0), (40, 60)):
        maker.series(f"x{number}", hu_of(percent), description="CT Lung", number=number)
    maker.series("mip", hu_of(5), description="MIP", number=1)
    assert inspect_dicom(maker.root).sequences == ()
    found = only(maker.root, phases=[0, 30, 60])
    assert_voxels(found)
    assert "named by the user" in found.phases[0].evidence


@pytest.mark.parametrize("phases", [[0, 30, 30], [0, 30, 130], [0, -10, 30], [0, 100, 30]])
def test_phases_that_the_user_cannot_mean(maker: Maker, phases: list[float]) -> None:
    maker.cycle("Lung", [0, 30, 60])
    with pytest.raises(PhaseError, match="different percentages"):
        inspect_dicom(maker.root, phases=phases)


def test_folders_of_one_series_uid(maker: Maker) -> None:
    for percent in TENS:
        maker.series(f"gated_{percent}%", hu_of(percent), description="CT Lung", number=4, uid="1.2.3.4")
    found = only(maker.root)
    assert "folder" in found.phases[0].evidence
    assert_voxels(found)


@pytest.mark.parametrize("pattern", ["{:02d}", "Phase_{}", "gated_{}%"])
def test_folder_names_where_the_headers_are_silent(maker: Maker, pattern: str) -> None:
    for percent in TENS:
        maker.series(pattern.format(percent), hu_of(percent), description="CT Lung")
    found = only(maker.root)
    assert any("names of the folders" in w for w in found.warnings)
    assert_voxels(found)


def test_nested_folders_with_odd_names(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "a <b>bold</b> name" / "deep" / "er")
    maker.cycle("T={}%")
    maker.series("s9/more", hu_of(0)[:1], description="<script>alert(1)</script>", tags={"ImageType": "LOCALIZER"})
    (maker.root / "notes.txt").write_text("no DICOM")
    (maker.root / "empty.dcm").write_bytes(b"")
    found = inspect_dicom(tmp_path)
    assert_voxels(found.sequences[0])
    assert [a.reason for a in found.set_aside] == ["scout (ImageType LOCALIZER)"]


def test_an_enhanced_multi_frame_file(maker: Maker) -> None:
    path = maker.enhanced("enhanced.dcm", [0, 25, 50, 75], {p: hu_of(p) for p in (0, 25, 50, 75)})
    found = only(maker.root)
    assert labels(found) == ["T00", "T25", "T50", "T75"]
    assert found.phases[0].files == (path,)
    assert len(found.phases[0].frames) == SHAPE[0]
    assert_voxels(found)


def test_slices_are_sorted_by_position_along_the_normal(tmp_path: Path) -> None:
    # oblique: rows and columns turned about x by 30°; instance numbers run the other way
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    maker = Maker(tmp_path)
    maker.cycle("T={}%", [0, 50], orientation=(1, 0, 0, 0, c, s))
    found = only(tmp_path)
    assert found.grid.direction_matrix[:, 2] == pytest.approx([0, -s, c], abs=1e-4)
    assert_voxels(found)


def test_feet_first_and_prone_orientations_keep_their_grid(tmp_path: Path) -> None:
    maker = Maker(tmp_path)
    maker.cycle("T={}%", [0, 50], orientation=(-1, 0, 0, 0, 1, 0))
    found = only(tmp_path)
    assert found.grid.direction == pytest.approx((-1, 0, 0, 0, 1, 0, 0, 0, -1))
    assert_voxels(found)


def test_several_studies(tmp_path: Path) -> None:
    first, second = Maker(tmp_path / "one"), Maker(tmp_path / "two")
    first.cycle("T={}%", TENS, tags={"StudyDate": "20200101"})
    second.cycle("Thorax 4D {}%", [0, 25, 50, 75], tags={"StudyDate": "20210101"})
    found = inspect_dicom(tmp_path)
    assert [len(s.phases) for s in found.sequences] == [10, 4]
    names = [s.name for s in found.sequences]
    assert len(set(names)) == 2
    for wanted in (names[1], second.study, "2"):
        assert [len(s.phases) for s in inspect_dicom(tmp_path, study=wanted).sequences] == [4]
    with pytest.raises(UnknownNameError, match=names[0]):
        inspect_dicom(tmp_path, study="3")
    assert isinstance(read_dicom_folder(tmp_path), Inspection)


def test_two_reconstructions_of_one_scan_are_two_sequences(maker: Maker) -> None:
    maker.cycle("Thorax 4D {}%  B30f", [0, 50])
    for i, p in enumerate((0, 50)):
        maker.series(f"sharp{i}", hu_of(p + 5), description=f"Thorax 4D {p}%  B70s", number=700 + i)
    found = inspect_dicom(maker.root)
    # the kernels' numbers do not count as names, their letters do
    assert [labels(s) for s in found.sequences] == [["T00", "T50"], ["T00", "T50"]]
    assert_voxels(found.sequences[0])
    assert_voxels(found.sequences[1], {"T00": 5, "T50": 55})


def test_frames_of_reference_that_differ_by_anonymisation_alone(maker: Maker) -> None:
    for i, p in enumerate((0, 30, 60)):
        maker.series(f"s{i}", hu_of(p), description=f"T={p}%", number=i, frame=f"1.2.3.{i}")
    found = only(maker.root)
    assert any("frame of reference" in w for w in found.warnings)
    assert_voxels(found)


def test_other_objects_and_derived_series_are_set_aside(maker: Maker) -> None:
    maker.cycle("T={}%")
    maker.other("rs.dcm", "RTSTRUCT")
    maker.other("rd.dcm", "RTDOSE")
    maker.other("mr.dcm", "MR")
    maker.series("ave", hu_of(1), description="Ave-IP(10) 0%_10%_20%_30%_40%_50%_60%_70%_80%_90%", number=211)
    maker.series("fb", hu_of(2), description="CT Lung 3.0 B31f", number=3)
    found = inspect_dicom(maker.root)
    assert_voxels(found.sequences[0])
    reasons = {a.description: a.reason for a in found.set_aside}
    assert len(reasons) == 5
    assert {r.split(",")[0] for r in reasons.values()} >= {"structure set", "dose distribution", "modality MR"}
    assert any("projection" in r for r in reasons.values())


def test_nothing_that_is_printed_names_the_patient(tmp_path: Path) -> None:
    maker = Maker(tmp_path / "doe_jane_4dct")
    maker.cycle("T={}%", [0, 10, 30, 40], tags={"ImageComments": f"{PATIENT} is anxious"})
    found = inspect_dicom(maker.root)
    printed = found.to_json()
    for phase in printed["sequences"][0]["phases"]:
        del phase["files"]  # paths are the user's own
    for secret in ("Doe", "Jane", "doe", "jane", "4711", "19500101"):
        assert secret not in str(printed)


def test_progress_is_reported(maker: Maker) -> None:
    maker.cycle("T={}%", [0, 50])
    seen: list[tuple[int, int]] = []
    found = inspect_dicom(maker.root, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i + 1, 12) for i in range(12)]
    seen.clear()
    read_dicom(found.sequences[0], progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12, 12)
