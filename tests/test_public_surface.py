"""The public surface, written down: a change here is a change for every user."""

import inspect
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer.main

import rtmotion
from rtmotion_cli.main import app

PUBLIC_NAMES = {
    "BreathingTrace",
    "DisplacementField",
    "Forecast",
    "Forecaster",
    "Grid",
    "Phase",
    "PhaseSequence",
    "Volume",
    "__version__",
    "available_forecasters",
    "find_method",
}

COMMON = {"--json", "--device", "--seed", "--quiet", "--verbose"}
COMMAND_OPTIONS = {
    "inspect": {"--study", "--phases", "--quick"},
    "phantom": {"--phases", "--size", "--spacing", "--format"},
    "forecast": {
        *("--observe", "--method", "--out", "--trace", "--samples", "--study", "--phases"),
        *("--adapt", "--no-adapt", "--weights", "--calibration", "--lvm-weights", "--plane", "--steps"),
    },
    "compare": {
        *("--observe", "--methods", "--preset", "--out", "--scheduler", "--workers", "--threads"),
        *("--phantoms", "--phantom-seed", "--phantom-spacing", "--keep-volumes", "--study"),
    },
    "methods": set(),
    "register": {"--method", "--reference", "--mask", "--weights", "--out", "--landmarks", "--study", "--phases"},
    "report": set(),
    "calibrate": {"--observe", "--out", "--weights"},
    "train": {"--out", "--steps", "--workers", "--cases", "--patients"},
    "demo": {"--out"},
}


def test_the_names_of_the_package() -> None:
    assert set(rtmotion.__all__) == PUBLIC_NAMES
    for name in rtmotion.__all__:
        assert getattr(rtmotion, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="forecast_the_lottery"):
        _ = rtmotion.forecast_the_lottery


def test_every_public_name_says_what_it_is() -> None:
    undocumented = [n for n in PUBLIC_NAMES - {"__version__"} if not inspect.getdoc(getattr(rtmotion, n))]
    assert not undocumented


def test_the_commands_and_their_options() -> None:
    group = typer.main.get_command(app)
    commands = group.commands  # type: ignore[attr-defined]
    found = {
        name: {
            option
            for parameter in command.params
            for option in [*parameter.opts, *parameter.secondary_opts]
            if option.startswith("--")
        }
        for name, command in commands.items()
    }
    assert found == {name: options | COMMON for name, options in COMMAND_OPTIONS.items()}


def test_the_version_is_one(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == rtmotion.__version__
    assert f"\nversion: {rtmotion.__version__}\n" in (repository / "CITATION.cff").read_text(encoding="utf-8")


def test_the_forecasters_are_entry_points() -> None:
    assert {p.name for p in entry_points(group="rtmotion.forecasters")} >= {"core", "baselines"}


def test_every_direct_dependency_is_pinned(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    lines = (repository / "constraints.txt").read_text(encoding="utf-8").lower().splitlines()
    pinned = {line.partition("==")[0].replace("_", "-") for line in lines if "==" in line}
    names = {r.partition(">")[0].partition("[")[0].lower().replace("_", "-") for r in wanted}
    assert names - pinned == set()


def test_the_package_runs_without_an_installed_script() -> None:
    command = [sys.executable, "-m", "rtmotion_cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"rtmotion {rtmotion.__version__}\n"
