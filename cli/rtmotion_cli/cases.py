"""What is read at a path, for every command in the same way."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rtmotion.errors import ReadWarning
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

    with terminal.progress(f"looking at {paths[0]}") as step, said_while_reading() as said:
        inspection = inspect(
            list(paths),
            study=study,
            phases=parse_phases(phases),
            artefacts=artefacts,
            progress=lambda done, total: step("files", done, total),
        )
    if len(inspection.sequences) != 1:
        return inspection
    return replace(inspection, sequences=(with_warnings(inspection.sequences[0], said),))


def read_case(paths: Sequence[Path], terminal: Terminal, study: str | None = None, phases: str | None = None) -> Case:
    """The phase sequence at a path (or in several files, one a phase)."""
    from rtmotion_data.inspection import read

    with terminal.progress(f"reading {paths[0]}") as step, said_while_reading() as said:
        sequence, found = read(
            list(paths),
            study=study,
            phases=parse_phases(phases),
            progress=lambda done, total: step("files", done, total),
        )
    return Case(sequence, with_warnings(found, said))


@contextmanager
def said_while_reading() -> Iterator[list[str]]:
    """Gathers what the readers notice only when they read the voxels; the list is filled when the body ends."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ReadWarning)
        yield said
    said.extend(str(w.message) for w in caught if issubclass(w.category, ReadWarning))


def with_warnings(found: "FoundSequence", said: Sequence[str]) -> "FoundSequence":
    """What was found, with further warnings, each once."""
    return replace(found, warnings=tuple(dict.fromkeys([*found.warnings, *said])))


def versions() -> dict[str, str]:
    """The versions behind a result."""
    import platform
    from importlib.metadata import version

    names: Sequence[str] = ("rtmotion", "torch", "numpy", "scipy", "SimpleITK")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
