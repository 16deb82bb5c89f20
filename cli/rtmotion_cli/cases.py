"""What is read at a path, for every command in the same way."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rtmotion_cli.options import parse_phases
from rtmotion_cli.terminal import Terminal

if TYPE_CHECKING:
    from rtmotion.sequence import PhaseSequence
    from rtmotion_data.found import FoundSequence, Inspection


@dataclass(frozen=True, eq=False)
class Case:
    """A phase sequence with what is known of its origin.

    Attributes:
        sequence: The volumes in memory.
        found: What the reader found.
    """

    sequence: "PhaseSequence"
    found: "FoundSequence"

    @property
    def files(self) -> list[Path]:
        """The files that it was read from."""
        return [file for phase in self.found.phases for file in phase.files]


def inspect_paths(
    paths: Sequence[Path],
    terminal: Terminal,
    study: str | None = None,
    phases: str | None = None,
    *,
    artefacts: bool = False,
) -> "Inspection":
    """What is at a path (or in several files, one a phase); `artefacts` reads the voxels too."""
    from rtmotion_data.inspection import inspect

    with terminal.progress(f"looking at {paths[0]}") as step:
        return inspect(
            list(paths),
            study=study,
            phases=parse_phases(phases),
            artefacts=artefacts,
            progress=lambda done, total: step("files", done, total),
        )


def read_case(paths: Sequence[Path], terminal: Terminal, study: str | None = None, phases: str | None = None) -> Case:
    """The phase sequence at a path (or in several files, one a phase); its warnings are said."""
    from rtmotion_data.inspection import read

    with terminal.progress(f"reading {paths[0]}") as step:
        sequence, found = read(
            list(paths),
            study=study,
            phases=parse_phases(phases),
            progress=lambda done, total: step("files", done, total),
        )
    terminal.warn(found.warnings)
    return Case(sequence, found)


def versions() -> dict[str, str]:
    """The versions behind a result."""
    import platform
    from importlib.metadata import version

    names: Sequence[str] = ("rtmotion", "torch", "numpy", "scipy", "SimpleITK")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
