"""What a report is made of survives the disk, and nothing else is taken for it."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rtmotion.errors import ReadError, WriteError
from rtmotion.report import ReportData, load_report_data, render_forecast_report, save_report_data


def test_round_trip(scored: ReportData, tmp_path: Path) -> None:
    file = save_report_data(tmp_path, scored)
    assert file.name == "report_data.npz"
    assert [f.name for f in tmp_path.iterdir()] == ["report_data.npz"]
    loaded = load_report_data(tmp_path)
    assert loaded.sprites == scored.sprites
    assert loaded.facts == scored.facts
    assert render_forecast_report(loaded) == render_forecast_report(scored)


def test_no_pickle_is_in_the_file(scored: ReportData, tmp_path: Path) -> None:
    with zipfile.ZipFile(save_report_data(tmp_path, scored)) as archive:
        for name in archive.namelist():
            np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"report_data.npz: not there; run rtmotion forecast"):
        load_report_data(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"no archive at all"])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "report_data.npz").write_bytes(content)
    with pytest.raises(ReadError, match="cannot be read; run rtmotion forecast again"):
        load_report_data(tmp_path)


def test_a_foreign_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "report_data.npz", facts=np.frombuffer(b'{"schema": "other/1"}', dtype=np.uint8))
    with pytest.raises(ReadError, match=r"rtmotion\.report/1"):
        load_report_data(tmp_path)


def test_a_missing_folder_is_a_write_error(scored: ReportData, tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="cannot be written"):
        save_report_data(tmp_path / "nowhere" / "report_data.npz", scored)
