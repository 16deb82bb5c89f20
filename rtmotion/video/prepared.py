"""What training keeps of a patient: the phases, their registered motion and the truth, on the working grid.

The motion is that of the registration that the forecaster runs, with its errors: a network that is shown true fields
learns to trust them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rtmotion.cycle.observed import observe_motion
from rtmotion.errors import ReadError
from rtmotion.field import exp, resample
from rtmotion.registration import SvfRegistration
from rtmotion.registration.region import near_body
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion.training import SyntheticPatient
from rtmotion.types import VectorStack
from rtmotion.video.tokens import WORKING_SPACING_MM
from rtmotion.video.working import on_working_grid
from rtmotion.weights import save_weights


@dataclass(frozen=True, eq=False)
class PreparedPatient:
    """A patient on the working grid, all phases of the cycle.

    Attributes:
        images: HU, float16, shape (n, z, y, x).
        velocities: Registered, each phase to the first, mm, LPS, float16, shape (n, 3, z, y, x).
        truth: True displacement, each phase (fixed) to the first (moving), mm, LPS, float16, shape (n, 3, z, y, x).
        body: Where errors count, bool, shape (n, z, y, x).
        fractions: Of the cycle, float64, shape (n,).
    """

    images: Tensor
    velocities: Tensor
    truth: Tensor
    body: Tensor
    fractions: Tensor


def prepare(patient: SyntheticPatient) -> PreparedPatient:
    """Registers all phases of a synthetic patient to the first and keeps what training needs (half a minute)."""
    phases = tuple(Phase(float(f)) for f in patient.fractions)
    sequence = PhaseSequence(phases, tuple(Volume(v, patient.grid) for v in patient.rendered))
    return prepare_sequence(sequence, patient.labels > 0, patient.displacements)


def prepare_case(sequence: PhaseSequence) -> PreparedPatient:
    """A real patient, for fine-tuning: what the whole cycle's registration says stands for the truth."""
    return prepare_sequence(sequence, torch.stack([near_body(v) for v in sequence.volumes]))


def prepare_sequence(
    sequence: PhaseSequence, body: Tensor, displacements: VectorStack | None = None
) -> PreparedPatient:
    """Registers all phases of a sequence to the first and keeps what training needs.

    Args:
        sequence: All phases of a cycle.
        body: Where errors count, bool, shape (n, z, y, x).
        displacements: The true ones, each phase (fixed) to the first (moving), mm, LPS, shape (n, 3, z, y, x); None
            takes the registered ones, as for a real patient, whose motion is not known otherwise.
    """
    motion = observe_motion(sequence, SvfRegistration(), 0)
    seen = on_working_grid(sequence, motion)
    if displacements is None:
        truth = torch.stack([resample(exp(v, motion.grid), motion.grid, seen.grid) for v in motion.velocities])
    else:
        truth = torch.stack([resample(u, sequence.grid, seen.grid) for u in displacements])
    return PreparedPatient(
        seen.images.half().cpu(),
        seen.velocities.half().cpu(),
        truth.half().cpu(),
        (resample(body.float(), sequence.grid, seen.grid) > 0.5).cpu(),
        torch.as_tensor(np.asarray(sequence.fractions)),
    )


def save_patient(patient: PreparedPatient, path: Path) -> None:
    """Writes a prepared patient as safetensors."""
    save_weights(vars(patient), path, {"working_spacing_mm": str(WORKING_SPACING_MM)})


def load_patient(path: Path) -> PreparedPatient:
    """Reads a prepared patient.

    Raises:
        ReadError: If the file is no prepared patient.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return PreparedPatient(**load_file(path))
    except (OSError, SafetensorError, TypeError) as error:
        raise ReadError(f"{path}: a prepared patient was expected; remove the file to have it made anew") from error
