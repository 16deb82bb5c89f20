"""How the texts of options are read."""

import doctest
from pathlib import Path

import pytest

from rtmotion.errors import RtmotionError, WriteError
from rtmotion_cli import options, output_folder, terminal
from rtmotion_cli.options import join_spacing, parse_names, parse_numbers, parse_observe, parse_phases, resolve_device
from rtmotion_cli.output_folder import check_output, file_name, remove_stale


@pytest.mark.parametrize("module", [options, output_folder, terminal])
def test_the_examples_in_the_docstrings_hold(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0


def test_phases_are_percentages_in_the_order_given() -> None:
    assert parse_phases("0,10, 20.5") == [0.0, 10.0, 20.5]
    assert parse_phases(None) is None


@pytest.mark.parametrize("text", ["0,100", "-1,5", "10,10", "a", "", "nan", "0,,1"])
def test_impossible_phases_are_refused(text: str) -> None:
    with pytest.raises(RtmotionError, match="--phases"):
        parse_phases(text)


@pytest.mark.parametrize("text", ["1", "0", "-3", "3.5", "five", "3,x", ""])
def test_impossible_counts_are_refused(text: str) -> None:
    with pytest.raises(RtmotionError, match="--observe"):
        parse_observe(text)


def test_names_are_kept_in_order_without_repeats() -> None:
    assert parse_names(" b,a ,b,") == ["b", "a"]


@pytest.mark.parametrize("text", ["inf", "1,inf", "-inf"])
def test_infinite_numbers_are_refused(text: str) -> None:
    with pytest.raises(RtmotionError, match="--spacing"):
        parse_numbers(text, "--spacing")


@pytest.mark.parametrize("arguments", [["phantom", "7", "--spacing", "2"], ["phantom", "--spacing", "2", "7", "-q"]])
def test_one_spacing_stays_one(arguments: list[str]) -> None:
    assert join_spacing(arguments) == arguments


def test_cpu_is_a_device_and_auto_finds_one() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in {"cpu", "cuda:0"}


@pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:x", "cpu:0", "CPU"])
def test_unknown_devices_are_refused(text: str) -> None:
    with pytest.raises(RtmotionError, match="--device"):
        resolve_device(text)


def test_an_output_folder_is_checked_but_not_made(tmp_path: Path) -> None:
    assert check_output(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert not (tmp_path / "a").exists()


def test_an_output_folder_with_the_input_is_refused_even_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(WriteError, match="holds the input"):
        check_output(tmp_path / "link", [tmp_path / "in" / "phase_00.nii.gz"])


def test_stale_files_go_and_others_stay(tmp_path: Path) -> None:
    for name in ("old", "new", "mine"):
        (tmp_path / name).touch()
    outside = tmp_path.parent / "outside"
    outside.touch()
    remove_stale(tmp_path, ["old", "new", "../outside"], ["new"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "new"]
    assert outside.exists()


@pytest.mark.parametrize("text", ["", "..", "/", "<>"])
def test_a_name_of_nothing_is_still_a_name(text: str) -> None:
    assert file_name(text) == "case"
