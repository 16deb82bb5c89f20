"""`rtmotion register`: displacement fields from a reference phase to all others, with what they are worth."""

import json
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtmotion.errors import PhaseError, RtmotionError
from rtmotion_cli.cases import read_case, versions
from rtmotion_cli.landmark_run import TABLE, errors_table, evaluate_fields, landmark_sets
from rtmotion_cli.output_folder import check_output, default_output, remove_stale
from rtmotion_cli.registration_masks import NAMED, similarity_masks
from rtmotion_cli.terminal import Terminal

if TYPE_CHECKING:
    from rtmotion.evaluation.landmark_sets import LandmarkEvaluation
    from rtmotion.registration import Registration, RegistrationEngine
    from rtmotion.sequence import PhaseSequence

SCHEMA = "rtmotion.register/1"
SUMMARY = "register.json"
NATIVE = "svf"

CONVENTIONS = {
    "displacement": "mm, LPS; u(x) on the grid of the phase takes its point x to the point x + u(x) of the reference",
    "mae": "HU in the body: the reference, warped to the phase, against the phase; before: not warped",
    "folding": "% of the voxels of the body at which the map folds",
    "mean_displacement": "mm, over the body",
    "seconds": "wall time of each registration; of a groupwise one an equal share",
}
"""What the numbers of register.json are."""


@dataclass(frozen=True)
class RegistrationRequest:
    """What the user asked for.

    Attributes:
        paths: The input: one folder or file, or one 3D file a phase.
        method: Name of the registration engine.
        reference: Label of the phase that the fields point to; None takes the first.
        out: Output folder; None takes `<case>_fields` in the current folder.
        study: Which study of the folder.
        phases: Percentages of the phases as text, where nothing says them.
        device: Torch device.
        seed: Of everything random.
        landmarks: File or folder of landmarks; None takes those that lie beside the images or came with them.
        mask: Where the images are compared: `lung`, `body` or the name of a file; None leaves it to the engine.
        weights: File of the weights of an engine whose weights the user brings.
    """

    paths: tuple[Path, ...]
    method: str = NATIVE
    reference: str | None = None
    out: Path | None = None
    study: str | None = None
    phases: str | None = None
    device: str = "cpu"
    seed: int = 0
    landmarks: Path | None = None
    mask: str | None = None
    weights: Path | None = None


def run_registration(request: RegistrationRequest, terminal: Terminal) -> dict[str, Any]:
    """Registers all phases to the reference and writes their fields.

    Returns:
        What register.json holds, and `folder`.

    Raises:
        RtmotionError: If the input, an option or the output folder is of no use; nothing is written then.
    """
    from rtmotion.registration import register_sequence

    engine = make_engine(request.method, request.seed, request.device, request.weights)
    if request.out is not None:
        check_output(request.out)
    case = read_case(request.paths, terminal, request.study, request.phases)
    out = check_output(request.out or default_output(case.found.name, "fields"), case.files)
    reference = reference_index(case.sequence, request.reference)
    sets, said = landmark_sets(case, request.landmarks, case.sequence.labels[reference])
    terminal.warn([*case.found.warnings, *said])
    masks = similarity_masks(case.sequence, request.mask)
    # torch engines compute where the volumes lie; the others bring them to the CPU
    volumes = case.sequence.to(request.device)
    with terminal.progress(request.method) as step:
        registrations = register_sequence(
            engine, volumes, reference, lambda done, total: step("phases", done, total), masks
        )
    with terminal.progress("measuring the fields"):
        rows = [measure(case.sequence, index, reference, r) for index, r in enumerate(registrations)]
        evaluations = evaluate_fields(sets, case.sequence, reference, registrations)
    summary = {
        "schema": SCHEMA,
        "input": case.found.to_json(folders=False),
        "method": request.method,
        "settings": settings_of(engine),
        "mask": mask_named(request.mask),
        "conventions": CONVENTIONS,
        "reference": case.sequence.labels[reference],
        "device": request.device,
        "seed": request.seed,
        "versions": versions(),
        "seconds": {case.sequence.labels[i]: r.seconds for i, r in enumerate(registrations)},
        "fields": rows,
        "landmarks": [e.to_json() for e in evaluations],
        "warnings": list(dict.fromkeys([*case.found.warnings, *said])),
    }
    with terminal.progress(f"writing {out}"):
        _write(out, summary, registrations, evaluations)
    return {"folder": str(out), **summary}


def make_engine(name: str, seed: int, device: str = "cpu", weights: Path | None = None) -> "RegistrationEngine":
    """The registration engine of that name, with the seed, device and weights where it takes them.

    Raises:
        UnknownNameError: If there is none of that name.
        MissingExtraError: If its optional package is not installed.
        RtmotionError: If there are weights for an engine that takes none.
    """
    from rtmotion_baselines.registration.engines import find_engine

    card = find_engine(name)
    if weights is not None and not card.takes("weights"):
        raise RtmotionError(f"--weights: {name} takes no file of weights; leave it out")
    wanted = {"seed": seed, "device": device, "weights": None if weights is None else str(weights)}
    return card.create(**{option: value for option, value in wanted.items() if card.takes(option)})


def settings_of(engine: "RegistrationEngine") -> dict[str, Any]:
    """The options of an engine as register.json lists them; none that names a file."""
    if not is_dataclass(engine) or isinstance(engine, type):
        return {}
    return {
        f.name: value
        for f in fields(engine)
        if f.name not in ("name", "weights")
        and isinstance(value := getattr(engine, f.name), (bool, int, float, str, tuple))
    }


def mask_named(choice: str | None) -> str:
    """How register.json names the mask."""
    return "of the engine" if choice is None else choice if choice in NAMED else "file"


def reference_index(sequence: "PhaseSequence", label: str | None) -> int:
    """The index of the reference phase.

    Raises:
        PhaseError: If the sequence has no phase of that label.
    """
    if label is None:
        return 0
    if label not in sequence.labels:
        raise PhaseError(f"--reference {label}: there is no such phase; there are {', '.join(sequence.labels)}")
    return sequence.labels.index(label)


def measure(sequence: "PhaseSequence", index: int, reference: int, registration: "Registration") -> dict[str, Any]:
    """The entry of a phase in register.json: residuals in HU, folding in % of the body, displacement in mm."""
    from rtmotion.evaluation.fields import folding_percent
    from rtmotion.evaluation.intensity import mae
    from rtmotion.evaluation.regions import body_mask

    label, fixed, moving = sequence.labels[index], sequence.volumes[index], sequence.volumes[reference]
    field = registration.displacement.to("cpu")
    body = body_mask(fixed)
    if not bool(body.any()):
        body[:] = True
    return {
        "phase": label,
        "displacement": f"dvf_{sequence.phases[index].percent:02d}.mha",
        "mae_before": mae(moving.hu, fixed.hu, body),
        "mae": mae(field.warp(moving.hu), fixed.hu, body),
        "folding": folding_percent(field.data, field.grid, body),
        "mean_displacement": float(field.magnitude[body].mean()),
    }


def _write(
    out: Path,
    summary: dict[str, Any],
    registrations: "tuple[Registration, ...]",
    evaluations: "list[LandmarkEvaluation]",
) -> None:
    from rtmotion_data.writers.atomic import together, write_json, write_text
    from rtmotion_data.writers.metaimage import write_displacement

    former = _listed_files(out)
    with together(out, last=SUMMARY) as staging:
        for row, registration in zip(summary["fields"], registrations, strict=True):
            write_displacement(staging / row["displacement"], registration.displacement)
        if evaluations:
            write_text(staging / TABLE, errors_table(evaluations))
        write_json(staging / SUMMARY, summary)
    remove_stale(out, former, _listed_files(out))


def _listed_files(folder: Path) -> list[str]:
    """The files that register.json of a folder stands for; none where there is none."""
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        return [
            *(str(row["displacement"]) for row in summary["fields"]),
            *([TABLE] if summary.get("landmarks") else []),
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []
