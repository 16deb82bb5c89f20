"""What the training of networks that predict images keeps of a synthetic patient: its phases, scanned and clean."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rtmotion.errors import ReadError
from rtmotion.field import resample
from rtmotion.training import SyntheticPatient
from rtmotion.weights import save_weights
from rtmotion_baselines.generative.clip import cell_grid, image_grid


@dataclass(frozen=True, eq=False)
class ImagePatient:
    """A synthetic patient, all phases of the cycle.

    Attributes:
        scanned: HU with noise and artefacts, at 4 mm, float16, shape (n, z, y, x).
        clean: HU without, same shape.
        body: On the cells of 8 mm, bool, shape (n, z/2, y/2, x/2).
        fractions: Of the cycle, float64, shape (n,).
    """

    scanned: Tensor
    clean: Tensor
    body: Tensor
    fractions: Tensor


def prepare(patient: SyntheticPatient) -> ImagePatient:
    """Brings a synthetic patient to the grids of the networks."""
    image = image_grid(patient.grid)
    cells = cell_grid(image)
    scanned, clean = (resample(v, patient.grid, image).half().cpu() for v in (patient.rendered, patient.clean))
    body = resample((patient.labels > 0).float(), patient.grid, cells) > 0.5
    return ImagePatient(scanned, clean, body.cpu(), torch.as_tensor(patient.fractions))


def save_patient(patient: ImagePatient, path: Path) -> None:
    """Writes a prepared patient as safetensors."""
    save_weights(vars(patient), path, {"prepared_for": "image networks"})


def load_patient(path: Path) -> ImagePatient:
    """Reads a prepared patient.

    Raises:
        ReadError: If the file is no patient prepared for networks that predict images.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return ImagePatient(**load_file(path))
    except (OSError, SafetensorError, TypeError) as error:
        raise ReadError(f"{path}: a prepared patient was expected; remove the file to have it made anew") from error
