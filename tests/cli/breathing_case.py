"""A small chest that breathes, as files, and what a command answers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813

SIZE = (28, 24, 20)
SPACING = (4.0, 4.0, 5.0)


@dataclass(frozen=True)
class Answer:
    """What a command left: its exit code, stdout and stderr."""

    code: int
    out: str
    err: str

    @property
    def complaints(self) -> list[str]:
        return self.err.splitlines()


Run = Callable[..., Answer]


def breathing_volume(inhale: float, size: tuple[int, int, int] = SIZE) -> npt.NDArray[np.int16]:
    """A chest of soft tissue with two lungs over a dome that moves down with `inhale` (0 to 1); shape (z, y, x)."""
    x, y, z = size
    zz, yy, xx = np.meshgrid(np.arange(z), np.arange(y), np.arange(x), indexing="ij")
    volume = np.full((z, y, x), -1000.0)
    volume[((xx - x / 2) / (0.45 * x)) ** 2 + ((yy - y / 2) / (0.42 * y)) ** 2 < 1] = 40.0
    dome = z * (0.35 - 0.12 * inhale)
    for centre in (0.3, 0.7):
        lung = ((xx - centre * x) / (0.16 * x)) ** 2 + ((yy - y / 2) / (0.3 * y)) ** 2 < 1
        volume[lung & (zz > dome) & (zz < 0.92 * z)] = -800.0
    texture = 60.0 * np.sin(xx * 1.3) * np.sin(yy * 1.1) * np.sin((zz + 2.0 * inhale) * 0.9)
    volume[volume > -900] += texture[volume > -900]
    return volume.astype(np.int16)


def write_image(path: Path, array: npt.NDArray[np.generic], spacing: tuple[float, ...] = SPACING) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-50.0, -40.0, 10.0)[: image.GetDimension()])
    sitk.WriteImage(image, str(path))
    return path


def inhale_at(fraction: float) -> float:
    return 0.5 + 0.5 * float(np.cos(2 * np.pi * fraction))


def write_case(folder: Path, percentages: range | list[int], size: tuple[int, int, int] = SIZE) -> Path:
    """One NIfTI a phase."""
    folder.mkdir(parents=True, exist_ok=True)
    for percent in percentages:
        write_image(folder / f"phase_{percent:02d}.nii.gz", breathing_volume(inhale_at(percent / 100), size))
    return folder
