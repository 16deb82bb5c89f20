"""`rtmotion inspect`: what is in there."""

from typing import TYPE_CHECKING, Annotated

import typer

from rtmotion.errors import ReadError
from rtmotion_cli.cases import inspect_paths
from rtmotion_cli.options import InputPath, Json, Phases, Quiet, Study, UnusedDevice, UnusedSeed, Verbose
from rtmotion_cli.terminal import Terminal, write_json, write_line, write_table

if TYPE_CHECKING:
    from rtmotion_data.found import FoundSequence, Inspection


def inspect(
    path: InputPath,
    study: Study = None,
    phases: Phases = None,
    quick: Annotated[bool, typer.Option("--quick", help="Headers only: no look for sorting artefacts.")] = False,
    json: Json = False,
    device: UnusedDevice = "auto",
    seed: UnusedSeed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Shows what is at PATH: phases in order with the evidence for each label, geometry, and what is wrong with it."""
    inspection = inspect_paths(path, Terminal(quiet, verbose), study, phases, artefacts=not quick)
    if json:
        write_json(inspection.to_json())
    else:
        show(inspection)
    if not inspection.sequences:
        reasons = "; ".join(dict.fromkeys(f"{a.description}: {a.reason}" for a in inspection.set_aside))
        raise ReadError(f"{path[0]}: no phase sequence found ({reasons or 'nothing that looks like CT'})")


def show(inspection: "Inspection") -> None:
    """The inspection as tables on stdout."""
    for found in inspection.sequences:
        write_line(f"{found.name}: {len(found.phases)} phases, {found.format}, {geometry(found)}")
        rows = [(p.label, f"{p.fraction:.2f}", f"{p.confidence:.2f}", len(p.files), p.evidence) for p in found.phases]
        write_table(("phase", "fraction", "confidence", "files", "evidence"), rows, ("fraction", "confidence", "files"))
        for landmarks in found.landmarks:
            checks = (
                "; ".join(c.describe() for c in landmarks.checks(found.grid)) or "nothing is published to check with"
            )
            write_line(f"landmarks: {landmarks.name} in {', '.join(landmarks.labels)}: {checks}")
        for warning in found.warnings:
            write_line(f"warning: {warning}")
    if inspection.set_aside:
        write_line("set aside:")
        write_table(("what", "why"), [(a.description, a.reason) for a in inspection.set_aside])


def geometry(found: "FoundSequence") -> str:
    """Size, spacing and origin in words."""
    size = " × ".join(str(n) for n in found.grid.size)
    spacing = " × ".join(f"{s:.4g}" for s in found.grid.spacing)
    origin = ", ".join(f"{o:.1f}" for o in found.grid.origin)
    axes = "axes along L, P, S" if found.grid.is_axis_aligned else "axes not along L, P, S"
    return f"{size} voxels of {spacing} mm, origin ({origin}) mm LPS, {axes}"
