"""What training keeps of a patient: the phases, their registered motion and the truth, on the working grid.

The motion is that of the registration that the forecaster runs, with its errors: a network that is shown true fields
learns to trust them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rtmotion.cycle.observed import observe_motion
from rtmotion.errors import ReadError
from rtmotion.field import exp, gaussian_smooth, resample
from rtmotion.grid import Grid
from rtmotion.registration import SvfRegistration
from rtmotion.registration.region import near_body
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion.types import VectorStack
from rtmotion.video.tokens import WORKING_SPACING_MM
from rtmotion.video.working import on_working_grid
from rtmotion.weights import save_weights

LUNG_BELOW = -400.0
"""HU in the body below which a voxel counts as lung."""

LUNG_WEIGHT = 2.0
EDGE_HU_PER_MM = 30.0
"""How much more a voxel of the lung counts than another of the body, and the edge that counts as much again."""


class SyntheticPatient(Protocol):
    """What is needed of a synthetic patient: the tensors of the phantom's training stream.

    See `rtmotion_data.phantom.PhantomTensors`.
    """

    @property
    def rendered(self) -> Tensor:
        """HU as scanned, shape (n, z, y, x)."""
        ...

    @property
    def clean(self) -> Tensor:
        """HU without noise and artefacts, shape (n, z, y, x)."""
        ...

    @property
    def labels(self) -> Tensor:
        """0 outside the body, shape (n, z, y, x)."""
        ...

    @property
    def displacements(self) -> Tensor:
        """Phase j (fixed) to the first phase (moving), mm, LPS, shape (n, 3, z, y, x)."""
        ...

    @property
    def grid(self) -> Grid:
        """The common grid."""
        ...

    @property
    def fractions(self) -> npt.NDArray[np.float64]:
        """Phase fractions, shape (n,)."""
        ...


@dataclass(frozen=True, eq=False)
class PreparedPatient:
    """A patient on the working grid, all phases of the cycle.

    Attributes:
        images: HU, float16, shape (n, z, y, x).
        velocities: Registered, each phase to the first, mm, LPS, float16, shape (n, 3, z, y, x).
        truth: True displacement, each phase (fixed) to the first (moving), mm, LPS, float16, shape (n, 3, z, y, x).
        weight: How much an error counts at each voxel, 0 outside the body, float16, shape (n, z, y, x).
        fractions: Of the cycle, float64, shape (n,).
    """

    images: Tensor
    velocities: Tensor
    truth: Tensor
    weight: Tensor
    fractions: Tensor


def prepare(patient: SyntheticPatient) -> PreparedPatient:
    """Registers all phases of a synthetic patient to the first and keeps what training needs (half a minute)."""
    phases = tuple(Phase(float(f)) for f in patient.fractions)
    sequence = PhaseSequence(phases, tuple(Volume(v, patient.grid) for v in patient.rendered))
    return prepare_sequence(sequence, patient.clean, patient.labels > 0, patient.displacements)


def prepare_case(sequence: PhaseSequence) -> PreparedPatient:
    """A real patient, for fine-tuning: what the whole cycle's registration says stands for the truth."""
    images = torch.stack([v.hu for v in sequence.volumes])
    return prepare_sequence(sequence, images, torch.stack([near_body(v) for v in sequence.volumes]))


def prepare_sequence(
    sequence: PhaseSequence, clean: Tensor, body: Tensor, displacements: VectorStack | None = None
) -> PreparedPatient:
    """Registers all phases of a sequence to the first and keeps what training needs.

    Args:
        sequence: All phases of a cycle.
        clean: HU that say where lung and edges are, shape (n, z, y, x).
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
    weight = torch.stack([_weight(c, b, sequence.grid, seen.grid) for c, b in zip(clean, body, strict=True)])
    return PreparedPatient(
        seen.images.half().cpu(),
        seen.velocities.half().cpu(),
        truth.half().cpu(),
        weight.half().cpu(),
        torch.as_tensor(np.asarray(sequence.fractions)),
    )


def _weight(clean: Tensor, body: Tensor, grid: Grid, working: Grid) -> Tensor:
    """How much an error of the field counts: more in the lung, and where it shifts an edge."""
    smooth = gaussian_smooth(clean.float(), [0.5, 0.5, 0.5])
    slopes = torch.gradient(smooth, spacing=[float(s) for s in reversed(grid.spacing)])
    edge = torch.stack(slopes).square().sum(dim=0).sqrt() / EDGE_HU_PER_MM
    inside = body.float()
    return resample(inside * (1.0 + LUNG_WEIGHT * (clean < LUNG_BELOW) + edge), grid, working)


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
