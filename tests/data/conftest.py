"""What the tests of readers share."""

from pathlib import Path

import pytest

from tests.data.dicom_maker import Maker


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    """Writes small DICOM series of one study below a folder of their own."""
    return Maker(tmp_path / "study")
