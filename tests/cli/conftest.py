"""A small breathing case on disk, and a way to run a command as a user would."""

from pathlib import Path

import pytest

from rtmotion_cli.main import main
from tests.cli.breathing_case import Answer, Run, write_case


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in this process, in an empty current folder; also what C++ libraries say is caught."""
    here = tmp_path / "cwd"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("COLUMNS", "200")

    def run_command(*arguments: object) -> Answer:
        capfd.readouterr()
        code = main([str(a) for a in arguments])
        captured = capfd.readouterr()
        return Answer(code, captured.out, captured.err)

    return run_command


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten phases; read only."""
    return write_case(tmp_path_factory.mktemp("patient") / "breathing case", range(0, 100, 10))


@pytest.fixture(scope="session")
def short_case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first four of ten phases; read only."""
    return write_case(tmp_path_factory.mktemp("patient") / "short", range(0, 40, 10))
