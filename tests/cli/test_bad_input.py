"""Bad input gets one line that says what is wrong, where, and what to do; exit code 2; nothing is written."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from tests.cli.breathing_case import Run, breathing_volume, write_case, write_image

Arguments = tuple[object, ...]


def forecast(path: Path, *more: object) -> Arguments:
    return ("forecast", path, "--observe", "3", "--method", "persistence", "--device", "cpu", *more)


def nonexistent(folder: Path, case: Path) -> Arguments:
    return forecast(folder / "nowhere")


def empty_folder(folder: Path, case: Path) -> Arguments:
    return forecast(folder)


def text_file(folder: Path, case: Path) -> Arguments:
    (folder / "notes.txt").write_text("no image here\n")
    return forecast(folder / "notes.txt")


def folder_of_text(folder: Path, case: Path) -> Arguments:
    (folder / "notes.txt").write_text("no image here\n")
    return forecast(folder)


def truncated_nifti(folder: Path, case: Path) -> Arguments:
    write_case(folder, range(0, 100, 20))
    broken = folder / "phase_40.nii.gz"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    return forecast(folder)


def nan_voxels(folder: Path, case: Path) -> Arguments:
    write_case(folder, range(0, 100, 20))
    volume = breathing_volume(0.5).astype(np.float32)
    volume[5, 5, 5] = np.nan
    write_image(folder / "phase_40.nii.gz", volume)
    return forecast(folder)


def mixed_geometry(folder: Path, case: Path) -> Arguments:
    write_case(folder, range(0, 80, 20))
    write_image(folder / "phase_80.nii.gz", breathing_volume(0.5, (20, 24, 20)))
    return forecast(folder)


def one_phase(folder: Path, case: Path) -> Arguments:
    return forecast(write_case(folder, [0]))


def observe_too_few(folder: Path, case: Path) -> Arguments:
    return ("forecast", case, "--observe", "1", "--method", "persistence")


def observe_too_many(folder: Path, case: Path) -> Arguments:
    return ("forecast", case, "--observe", "11", "--method", "persistence")


def observe_all(folder: Path, case: Path) -> Arguments:
    return ("forecast", case, "--observe", "10", "--method", "persistence")


def observe_not_a_number(folder: Path, case: Path) -> Arguments:
    return ("forecast", case, "--observe", "half", "--method", "persistence")


def observe_missing(folder: Path, case: Path) -> Arguments:
    return ("forecast", case)


def unknown_method(folder: Path, case: Path) -> Arguments:
    return ("forecast", case, "--observe", "3", "--method", "clairvoyance")


def bound_as_method(folder: Path, case: Path) -> Arguments:
    return ("forecast", case, "--observe", "3", "--method", "closest-observed")


def unknown_device(folder: Path, case: Path) -> Arguments:
    return ("forecast", case, "--observe", "3", "--device", "abacus")


def absent_device(folder: Path, case: Path) -> Arguments:
    return ("forecast", case, "--observe", "3", "--device", "cuda:99")


def unknown_option(folder: Path, case: Path) -> Arguments:
    return forecast(case, "--colour", "blue")


def unknown_command(folder: Path, case: Path) -> Arguments:
    return ("prophesy", case)


def trace_is_no_trace(folder: Path, case: Path) -> Arguments:
    (folder / "trace.csv").write_text("dear diary\ntoday I breathed\n")
    return forecast(case, "--trace", folder / "trace.csv")


def trace_missing(folder: Path, case: Path) -> Arguments:
    return forecast(case, "--trace", folder / "trace.csv")


def out_is_a_file(folder: Path, case: Path) -> Arguments:
    (folder / "taken").write_text("mine\n")
    return forecast(case, "--out", folder / "taken")


def out_below_a_file(folder: Path, case: Path) -> Arguments:
    (folder / "taken").write_text("mine\n")
    return forecast(case, "--out", folder / "taken" / "deeper" / "forecast")


def out_is_the_input(folder: Path, case: Path) -> Arguments:
    return forecast(write_case(folder, range(0, 100, 20)), "--out", folder)


def zero_spacing(folder: Path, case: Path) -> Arguments:
    write_case(folder, range(0, 80, 20))
    raw = bytearray(gzip.decompress((folder / "phase_40.nii.gz").read_bytes()))
    raw[80:92] = np.zeros(3, "<f4").tobytes()  # pixdim[1:4] of the NIfTI header
    raw[254:256] = np.zeros(1, "<i2").tobytes()  # no sform, so that pixdim counts
    (folder / "phase_40.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    return forecast(folder)


def two_dimensional(folder: Path, case: Path) -> Arguments:
    return forecast(write_image(folder / "radiograph.nii.gz", breathing_volume(0.5)[10], (4.0, 4.0)))


def duplicate_phases(folder: Path, case: Path) -> Arguments:
    write_case(folder, range(0, 100, 20))
    write_image(folder / "phase_040.nii.gz", breathing_volume(0.1))
    return forecast(folder)


def colour_image(folder: Path, case: Path) -> Arguments:
    for percent in range(0, 60, 20):
        rgb = np.stack([breathing_volume(0.5).astype(np.uint8)] * 3, axis=-1)
        image = sitk.GetImageFromArray(rgb, isVector=True)
        sitk.WriteImage(image, str(folder / f"phase_{percent:02d}.mha"))
    return forecast(folder)


def complex_image(folder: Path, case: Path) -> Arguments:
    import nibabel as nib

    for percent in range(0, 60, 20):
        data = breathing_volume(0.5).astype(np.complex64)
        nib.save(nib.Nifti1Image(data, np.eye(4)), folder / f"phase_{percent:02d}.nii.gz")
    return forecast(folder)


def corrupt_dicom(folder: Path, case: Path) -> Arguments:
    for index in range(3):
        (folder / f"{index}.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff\x00garbage" * 20)
    return forecast(folder)


def bad_phases_option(folder: Path, case: Path) -> Arguments:
    return forecast(case, "--phases", "0,ten,20")


def compare_without_common_counts(folder: Path, case: Path) -> Arguments:
    return ("compare", case, "--observe", "12", "--methods", "persistence,mean", "--out", folder / "comparison")


def compare_unknown_method(folder: Path, case: Path) -> Arguments:
    return ("compare", case, "--observe", "3", "--methods", "persistence,clairvoyance", "--out", folder / "comparison")


def compare_without_methods(folder: Path, case: Path) -> Arguments:
    return ("compare", case, "--observe", "3", "--methods", ",", "--out", folder / "comparison")


def report_of_nothing(folder: Path, case: Path) -> Arguments:
    return ("report", folder)


def report_of_broken_json(folder: Path, case: Path) -> Arguments:
    (folder / "forecast.json").write_text("{")
    return ("report", folder)


def phantom_without_voxels(folder: Path, case: Path) -> Arguments:
    return ("phantom", folder / "patient", "--size", "0", "64", "64")


def phantom_spacing(folder: Path, case: Path) -> Arguments:
    return ("phantom", folder / "patient", "--spacing", "-1")


def phantom_format(folder: Path, case: Path) -> Arguments:
    return ("phantom", folder / "patient", "--format", "jpeg")


def phantom_over_a_file(folder: Path, case: Path) -> Arguments:
    (folder / "taken").write_text("mine\n")
    return ("phantom", folder / "taken")


def unknown_reference(folder: Path, case: Path) -> Arguments:
    return ("register", case, "--reference", "T55", "--out", folder / "fields")


def unknown_engine(folder: Path, case: Path) -> Arguments:
    return ("register", case, "--method", "guessing", "--out", folder / "fields")


def inspect_of_nothing(folder: Path, case: Path) -> Arguments:
    return ("inspect", folder, "--json")


BAD_INPUTS: list[tuple[Callable[[Path, Path], Arguments], list[str]]] = [
    (nonexistent, ["nowhere"]),
    (empty_folder, ["input"]),
    (text_file, ["notes.txt"]),
    (folder_of_text, ["input"]),
    (truncated_nifti, ["phase_40.nii.gz"]),
    (nan_voxels, ["phase_40.nii.gz"]),
    (mixed_geometry, ["phase_80"]),
    (one_phase, ["phase"]),
    (observe_too_few, ["--observe", "2"]),
    (observe_too_many, ["--observe", "9", "11"]),
    (observe_all, ["--observe", "T90"]),
    (observe_not_a_number, ["--observe", "half"]),
    (observe_missing, ["--observe", "--help"]),
    (unknown_method, ["clairvoyance", "persistence", "video"]),
    (bound_as_method, ["closest-observed", "compare"]),
    (unknown_device, ["abacus", "auto", "cpu"]),
    (absent_device, ["cuda:99", "cpu"]),
    (unknown_option, ["--colour", "--help"]),
    (unknown_command, ["prophesy", "--help"]),
    (trace_is_no_trace, ["trace.csv"]),
    (trace_missing, ["trace.csv"]),
    (out_is_a_file, ["--out", "taken"]),
    (out_below_a_file, ["--out", "taken"]),
    (out_is_the_input, ["--out", "input"]),
    (zero_spacing, ["phase_40.nii.gz"]),
    (two_dimensional, ["radiograph.nii.gz"]),
    (duplicate_phases, ["phase_40.nii.gz"]),
    (colour_image, ["phase_00.mha"]),
    (complex_image, ["phase_00.nii.gz"]),
    (corrupt_dicom, ["input"]),
    (bad_phases_option, ["--phases", "ten"]),
    (compare_without_common_counts, ["--observe", "12"]),
    (compare_unknown_method, ["clairvoyance", "persistence"]),
    (compare_without_methods, ["--methods"]),
    (report_of_nothing, ["forecast.json"]),
    (report_of_broken_json, ["report_data.npz"]),
    (phantom_without_voxels, ["--size"]),
    (phantom_spacing, ["--spacing"]),
    (phantom_format, ["--format", "nifti", "dicom"]),
    (phantom_over_a_file, ["taken"]),
    (unknown_reference, ["--reference", "T55", "T50"]),
    (unknown_engine, ["guessing", "svf"]),
    (inspect_of_nothing, ["input"]),
]


@pytest.mark.parametrize(("make", "words"), BAD_INPUTS, ids=[make.__name__ for make, _ in BAD_INPUTS])
def test_bad_input_gets_one_line_and_leaves_nothing(
    make: Callable[[Path, Path], Arguments], words: list[str], case: Path, tmp_path: Path, run: Run
) -> None:
    folder = tmp_path / "input"
    folder.mkdir()
    arguments = make(folder, case)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}

    answer = run(*arguments)

    assert answer.code == 2, answer.err
    assert len(answer.complaints) == 1, answer.err
    assert answer.complaints[0].startswith("rtmotion: ")
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.complaints[0]
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before
