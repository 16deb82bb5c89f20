"""`rtmotion register`: displacement fields from a reference phase to all others, with what they are worth."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtmotion.errors import PhaseError
from rtmotion_cli.cases import read_case, versions
from rtmotion_cli.output_folder import check_output, default_output, remove_stale
from rtmotion_cli.terminal import Terminal

if TYPE_CHECKING:
    from rtmotion.registration import Registration, RegistrationEngine
    from rtmotion.sequence import PhaseSequence

SCHEMA = "rtmotion.register/1"
SUMMARY = "register.json"
NATIVE = "svf"


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
    """

    paths: tuple[Path, ...]
    method: str = NATIVE
    reference: str | None = None
    out: Path | None = None
    study: str | None = None
    phases: str | None = None
    device: str = "cpu"
    seed: int = 0


def run_registration(request: RegistrationRequest, terminal: Terminal) -> dict[str, Any]:
    """Registers all phases to the reference and writes their fields.

    Returns:
        What register.json holds, and `folder`.

    Raises:
        RtmotionError: If the input, an option or the output folder is of no use; nothing is written then.
    """
    from rtmotion.registration import register_sequence

    engine = make_engine(request.method, request.seed)
    if request.out is not None:
        check_output(request.out)
    case = read_case(request.paths, terminal, request.study, request.phases)
    out = check_output(request.out or default_output(case.found.name, "fields"), case.files)
    reference = reference_index(case.sequence, request.reference)
    terminal.warn(case.found.warnings)
    # the native engine computes where the volumes lie; the others know the CPU alone
    volumes = case.sequence.to(request.device) if request.method == NATIVE else case.sequence
    with terminal.progress(request.method) as step:
        registrations = register_sequence(engine, volumes, reference, lambda done, total: step("phases", done, total))
    with terminal.progress("measuring the fields"):
        rows = [measure(case.sequence, index, reference, r) for index, r in enumerate(registrations)]
    summary = {
        "schema": SCHEMA,
        "input": case.found.to_json(folders=False),
        "method": request.method,
        "reference": case.sequence.labels[reference],
        "device": request.device,
        "seed": request.seed,
        "versions": versions(),
        "seconds": {case.sequence.labels[i]: r.seconds for i, r in enumerate(registrations)},
        "fields": rows,
        "warnings": list(case.found.warnings),
    }
    with terminal.progress(f"writing {out}"):
        _write(out, summary, registrations, case.sequence)
    return {"folder": str(out), **summary}


def make_engine(name: str, seed: int) -> "RegistrationEngine":
    """The registration engine of that name, the native one or a baseline's, with the seed where it draws at random.

    Raises:
        UnknownNameError: If there is none of that name.
    """
    from rtmotion_baselines.registration.engines import create_engine

    engine = create_engine(name)
    return create_engine(name, seed=seed) if hasattr(engine, "seed") else engine


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
    """The entry of a phase in register.json: residuals in HU, folding in % of the body, landmark errors in mm."""
    from rtmotion.evaluation.fields import folding_percent
    from rtmotion.evaluation.intensity import mae
    from rtmotion.evaluation.landmarks import identity_errors, summarise, target_registration_errors
    from rtmotion.evaluation.regions import body_mask

    label, fixed, moving = sequence.labels[index], sequence.volumes[index], sequence.volumes[reference]
    field = registration.displacement.to("cpu")
    body = body_mask(fixed)
    if not bool(body.any()):
        body[:] = True
    row: dict[str, Any] = {
        "phase": label,
        "displacement": f"dvf_{sequence.phases[index].percent:02d}.mha",
        "mae_before": mae(moving.hu, fixed.hu, body),
        "mae": mae(field.warp(moving.hu), fixed.hu, body),
        "folding": folding_percent(field.data, field.grid, body),
        "mean_displacement": float(field.magnitude[body].mean()),
    }
    here, there = sequence.landmarks.get(label), sequence.landmarks.get(sequence.labels[reference])
    if here is not None and there is not None:
        row["tre_before"] = asdict(summarise(identity_errors(here, there)))
        row["tre"] = asdict(summarise(target_registration_errors(field, here, there)))
    return row


def _write(
    out: Path, summary: dict[str, Any], registrations: "tuple[Registration, ...]", sequence: "PhaseSequence"
) -> None:
    from rtmotion_data.writers.atomic import together, write_json
    from rtmotion_data.writers.metaimage import write_displacement

    former = _listed_fields(out)
    with together(out, last=SUMMARY) as staging:
        for row, registration in zip(summary["fields"], registrations, strict=True):
            write_displacement(staging / row["displacement"], registration.displacement)
        write_json(staging / SUMMARY, summary)
    remove_stale(out, former, _listed_fields(out))


def _listed_fields(folder: Path) -> list[str]:
    """The fields that register.json of a folder lists; none where there is none."""
    try:
        fields = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["fields"]
        return [str(row["displacement"]) for row in fields]
    except (OSError, ValueError, KeyError, TypeError):
        return []
