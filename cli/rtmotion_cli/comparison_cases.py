"""The cases of `rtmotion compare`: what lies at the paths, and patients that are generated where they are needed."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rtmotion.errors import PhaseError, ReadError, RtmotionError
from rtmotion_cli.cases import inspect_paths, said_while_reading
from rtmotion_cli.output_folder import check_output
from rtmotion_cli.terminal import Terminal

if TYPE_CHECKING:
    from rtmotion.evaluation.cohort import Case
    from rtmotion.sequence import PhaseSequence
    from rtmotion_data.found import FoundSequence
    from rtmotion_data.phantom import PhantomConfig

FIRST_SEED = 900_000
"""Generated patients of a comparison start here: nothing that ships was trained on a seed from here on."""

FIELD_OF_VIEW_MM = (360.0, 288.0, 264.0)
"""Of a generated patient along x, y, z: the whole chest."""

PHANTOM_PHASES = 10


def look_at_cases(
    paths: Iterable[Path], observe: Iterable[int], out: Path, study: str | None, terminal: Terminal
) -> "dict[str, FoundSequence]":
    """What is at each path by the name of its case, in the order of the paths.

    Raises:
        RtmotionError: If a path holds no sequence or several, or has too few phases for a k.
    """
    found: dict[str, FoundSequence] = {}
    for path in paths:
        sequences = inspect_paths([path], terminal, study).sequences
        if len(sequences) != 1:
            names = ", ".join(s.name for s in sequences) or "none"
            raise ReadError(f"{path}: one phase sequence is needed for a case, found {names}; choose one with --study")
        check_counts(observe, len(sequences[0].phases), str(path))
        check_output(out, [file for phase in sequences[0].phases for file in phase.files])
        found[unique_name(sequences[0].name, path, found)] = sequences[0]
    terminal.warn([f"{name}: {w}" for name, f in found.items() for w in f.warnings])
    return found


def check_counts(observe: Iterable[int], phases: int, where: str) -> None:
    """Refuses numbers of observed phases that a case does not have.

    Raises:
        PhaseError: If one leaves nothing to forecast, or nothing to forecast from.
    """
    for k in observe:
        if not 2 <= k < phases:
            raise PhaseError(f"--observe {k}: {where} has {phases} phases, so that 2 to {phases - 1} can be observed")


def unique_name(name: str, path: Path, taken: "dict[str, FoundSequence]") -> str:
    """The name of a case, with the folder above or a number where another case has it already."""
    candidates = [name, f"{path.absolute().parent.name} {name}", *(f"{name} {i}" for i in range(2, len(taken) + 3))]
    return next(c for c in candidates if c.lower() not in {t.lower() for t in taken})


def make_case(name: str, path: Path, found: "FoundSequence", study: str | None) -> "Case":
    """The case as the evaluator takes it; its fingerprint changes when a file does."""
    from rtmotion.evaluation.cohort import Case

    files = sorted({file for phase in found.phases for file in phase.files})
    states = [f"{file.absolute()} {(state := file.stat()).st_size} {state.st_mtime_ns}" for file in files]
    return Case(name, partial(load_sequence, path.absolute(), study), "\n".join(states))


def load_sequence(path: Path, study: str | None) -> "PhaseSequence":
    """The sequence at a path; a function of a module, so that it travels to another process."""
    from rtmotion_data.inspection import read

    with said_while_reading():
        return read(path, study=study)[0]


def phantom_cases(count: int, first_seed: int, spacing: float, observe: Iterable[int]) -> "dict[str, Case]":
    """Generated patients by name, made in the process that needs them and written nowhere.

    Args:
        count: How many; may be 0.
        first_seed: The seed of the first; the next ones follow.
        spacing: Voxel size, mm.
        observe: The numbers of observed phases.

    Raises:
        RtmotionError: If the spacing makes no patient.
        PhaseError: If a k leaves nothing to forecast, or nothing to forecast from.
    """
    from rtmotion.evaluation.cohort import Case

    if count:
        check_counts(observe, PHANTOM_PHASES, "a generated patient")
        if not 1 <= spacing <= 12:
            raise RtmotionError(f"--phantom-spacing takes 1 to 12 mm, got {spacing:g}")
    config = phantom_config(spacing)
    return {
        f"phantom {seed}": Case(f"phantom {seed}", partial(make_patient, seed, spacing), repr(config))
        for seed in range(first_seed, first_seed + count)
    }


def phantom_config(spacing: float) -> "PhantomConfig":
    """The configuration of the generated patients: the whole chest, in voxels of `spacing` mm."""
    from rtmotion_data.phantom import PhantomConfig

    x, y, z = (round(extent / spacing) for extent in FIELD_OF_VIEW_MM)
    return PhantomConfig(size=(x, y, z), spacing=(spacing, spacing, spacing), phases=PHANTOM_PHASES)


def make_patient(seed: int, spacing: float) -> "PhaseSequence":
    """The generated patient of a seed; a function of a module, so that it travels to another process."""
    from rtmotion_data.phantom import make_phantom

    return make_phantom(seed, phantom_config(spacing)).sequence
