"""Voxels of DICOM: HU of every storage form, the same as pydicom's own reading of the real data."""

import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import JPEG2000Lossless, RLELossless

from rtmotion.errors import MissingExtraError
from rtmotion.sequence import PhaseSequence
from rtmotion_data.inspection import read
from rtmotion_data.readers.dicom import inspect_dicom, read_dicom, read_dicom_folder
from tests.data.dicom_maker import SHAPE, Maker, hu_of

POPI = "popi_4dct_dicom"


def read_two(maker: Maker, **options: object) -> tuple[PhaseSequence, tuple[str, ...]]:
    maker.cycle("T={}%", [0, 50], **options)
    found = inspect_dicom(maker.root).sequences[0]
    return read_dicom(found), found.warnings


@pytest.mark.parametrize(
    ("signed", "intercept", "slope"),
    [(False, -1024.0, 1.0), (True, 0.0, 1.0), (True, -1000.0, 1.0), (False, -1024.0, 0.5), (True, 0.0, 2.0)],
)
def test_slope_intercept_and_sign(maker: Maker, signed: bool, intercept: float, slope: float) -> None:
    sequence, _ = read_two(maker, signed=signed, intercept=intercept, slope=slope)
    # a slope of 2 stores even numbers only
    np.testing.assert_allclose(sequence.volumes[1].data.numpy(), hu_of(50), atol=slope / 2)
    assert str(sequence.volumes[1].data.dtype) == "torch.int16"


def test_every_slice_has_its_own_slope(maker: Maker) -> None:
    slopes = [0.25, 0.5, 1.0, 0.75, 0.3, 1.0]
    sequence, _ = read_two(maker, slope=slopes)
    np.testing.assert_allclose(sequence.volumes[0].data.numpy(), hu_of(0), atol=0.5)


def test_padding_becomes_air_and_says_so(maker: Maker) -> None:
    stored = hu_of(0).astype(np.int32)
    stored[:, 0, :] = -2000
    sequence, warned = read_two(maker, signed=True, intercept=0.0, padding=-2000, stored=stored)
    data = sequence.volumes[0].data.numpy()
    assert (data[:, 0, :] == -1024).all()
    np.testing.assert_array_equal(data[:, 1:], hu_of(0)[:, 1:])
    assert any("-2000" in w and "-1024 HU" in w for w in warned)


def test_padding_that_looks_like_tissue_is_left_and_named(maker: Maker) -> None:
    sequence, warned = read_two(maker, signed=True, intercept=0.0, padding=40, stored=np.full(SHAPE, 40))
    assert (sequence.volumes[0].data.numpy() == 40).all()
    assert any("40" in w and "left as it is" in w for w in warned)


def test_values_below_air_are_raised(maker: Maker) -> None:
    sequence, _ = read_two(maker, signed=True, intercept=0.0, stored=np.full(SHAPE, -3000))
    assert (sequence.volumes[0].data.numpy() == -1024).all()


def test_values_beyond_int16_are_clipped(maker: Maker) -> None:
    sequence, _ = read_two(maker, intercept=0.0, stored=np.full(SHAPE, 65000))
    assert (sequence.volumes[0].data.numpy() == 32767).all()


def test_compressed_slices(maker: Maker) -> None:
    maker.cycle("T={}%", [0, 50])
    for path in maker.root.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    sequence = read_dicom(inspect_dicom(maker.root).sequences[0])
    np.testing.assert_array_equal(sequence.volumes[1].data.numpy(), hu_of(50))


def test_a_missing_decoder_is_named_with_its_pip_line(maker: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    maker.cycle("T={}%", [0, 50])
    path = maker.root / "s1" / "ct003.dcm"
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 60])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    decoder = get_decoder(JPEG2000Lossless)
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(MissingExtraError, match=r"ct003\.dcm.*JPEG 2000.*pip install pylibjpeg"):
        read_dicom(inspect_dicom(maker.root).sequences[0])


def test_big_endian_and_deflated_files(maker: Maker) -> None:
    maker.cycle("T={}%", [0, 50])
    for path in (maker.root / "s0").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
        dataset.save_as(path)
    for path in (maker.root / "s1").iterdir():
        dataset = pydicom.dcmread(path)
        big = dataset.pixel_array.astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
        dataset.PixelData = big
        pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=False, force_encoding=True)
    sequence = read_dicom(inspect_dicom(maker.root).sequences[0])
    np.testing.assert_array_equal(sequence.volumes[0].data.numpy(), hu_of(0))
    np.testing.assert_array_equal(sequence.volumes[1].data.numpy(), hu_of(50))


def test_files_without_preamble(maker: Maker) -> None:
    maker.cycle("T={}%", [0, 50])
    for path in maker.root.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        bare = pydicom.Dataset({e.tag: e for e in dataset})
        bare.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
    sequence = read_dicom(inspect_dicom(maker.root).sequences[0])
    np.testing.assert_array_equal(sequence.volumes[1].data.numpy(), hu_of(50))


def test_memory_stays_near_the_volumes(maker: Maker) -> None:
    shape = (24, 256, 256)
    for i in range(4):
        maker.series(f"s{i}", hu_of(i, (1, 1, 1)) + np.zeros(shape, np.int16), description=f"T={25 * i}%", number=i)
    found = inspect_dicom(maker.root).sequences[0]
    tracemalloc.start()
    sequence = read_dicom(found)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    volumes = sum(v.data.numel() * 2 for v in sequence.volumes)
    # torch's own allocations are not traced: the volumes come on top of what is
    assert peak < 0.3 * volumes


def bare_loop(root: Path) -> dict[str, np.ndarray]:
    volumes: dict[str, list[tuple[float, np.ndarray]]] = {}
    for path in sorted(root.rglob("*.dcm")):
        dataset = pydicom.dcmread(path)
        hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        volumes.setdefault(path.parent.name, []).append((float(dataset.ImagePositionPatient[2]), hu))
    return {name: np.stack([hu for _, hu in sorted(s, key=lambda e: e[0])]) for name, s in volumes.items()}


@pytest.mark.data
def test_the_real_4dct_is_read_voxel_for_voxel(real_data: Path) -> None:
    root = real_data / POPI
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the private tag of malformed length is read in silence
        sequence, found = read(root)
    assert found.warnings == ()
    assert list(sequence.labels) == [f"T{p:02d}" for p in range(0, 100, 10)]
    assert sequence.grid.size == (100, 100, 47)
    assert sequence.grid.spacing == pytest.approx((5, 5, 6))
    assert sequence.grid.origin == pytest.approx((-250, -164, -160.5))
    assert sequence.grid.is_axis_aligned
    for name, expected in bare_loop(root).items():
        np.testing.assert_array_equal(sequence.volume(f"T{name}").data.numpy(), expected)


@pytest.mark.data
def test_reading_is_not_slower_than_a_bare_loop(real_data: Path) -> None:
    root = real_data / POPI
    read_dicom_folder(root)  # files in the cache for both
    ours, bare = [], []
    for _ in range(2):
        # processor time of all threads, which other processes on the machine do not disturb
        start = time.process_time()
        read_dicom_folder(root)
        ours.append(time.process_time() - start)
        start = time.process_time()
        kept = [pydicom.dcmread(path).pixel_array for path in sorted(root.rglob("*.dcm"))]
        bare.append(time.process_time() - start)
    assert len(kept) == 470
    assert min(ours) < 1.25 * min(bare)  # measured at 0.7


@pytest.mark.data
def test_a_static_ct_is_no_sequence(real_data: Path) -> None:
    found = inspect_dicom(real_data / "abdomen_ct_rtstruct")
    assert found.sequences == ()
    assert sorted(a.reason for a in found.set_aside) == [
        "nothing in its headers names a breathing phase",
        "structure set, not an image",
    ]
