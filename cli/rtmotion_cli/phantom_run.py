"""`rtmotion phantom`: makes a synthetic patient and writes it."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtmotion.errors import RtmotionError, UnknownNameError, WriteError
from rtmotion_cli.options import parse_numbers
from rtmotion_cli.output_folder import check_output
from rtmotion_cli.terminal import Terminal

FORMATS = ["nifti", "dicom"]
LARGEST = 1024
"""Voxels along an axis."""


@dataclass(frozen=True)
class PhantomRequest:
    """What the user asked for.

    Attributes:
        out: Output folder, new or empty.
        phases: Number of phases of the cycle.
        size: Voxels along x, y, z.
        spacing: Voxel spacing in mm as text, one number or three.
        format: `nifti` or `dicom`.
        device: Torch device.
        seed: Of everything random.
    """

    out: Path
    phases: int = 10
    size: tuple[int, int, int] = (128, 128, 96)
    spacing: str = "3"
    format: str = "nifti"
    device: str = "cpu"
    seed: int = 0


def run_phantom(request: PhantomRequest, terminal: Terminal) -> dict[str, Any]:
    """Makes the phantom and writes it.

    Returns:
        The folder, the phase labels, the seed and the seconds it took.

    Raises:
        RtmotionError: If an option or the output folder is of no use; nothing is written then.
    """
    spacing = check_geometry(request)
    check_output(request.out)
    if request.out.is_dir() and any(request.out.iterdir()):
        raise WriteError(f"{request.out} is not empty: a phantom takes a new or an empty folder")

    from rtmotion_data.phantom import PhantomConfig, make_phantom
    from rtmotion_data.writers.phantom import write_phantom

    started = time.perf_counter()
    config = PhantomConfig(size=request.size, spacing=spacing, phases=request.phases)
    with terminal.progress("making the patient"):
        phantom = make_phantom(request.seed, config, device=request.device)
    made = time.perf_counter()
    with terminal.progress(f"writing {request.out}"):
        write_phantom(request.out, phantom, format=request.format)
    return {
        "folder": str(request.out),
        "phases": list(phantom.sequence.labels),
        "seed": request.seed,
        "seconds": {"making": made - started, "writing": time.perf_counter() - made},
    }


def check_geometry(request: PhantomRequest) -> tuple[float, float, float]:
    """The spacing along x, y, z in mm.

    Raises:
        RtmotionError: If size, spacing or format make no phantom.
    """
    if request.format not in FORMATS:
        raise UnknownNameError("--format", request.format, FORMATS)
    if max(request.size) > LARGEST:
        given = " ".join(str(n) for n in request.size)
        raise RtmotionError(f"--size takes three sizes of at most {LARGEST} voxels, got {given}")
    numbers = parse_numbers(request.spacing, "--spacing")
    if len(numbers) not in (1, 3):
        raise RtmotionError(f"--spacing takes one or three spacings in mm, got {request.spacing!r}")
    x, y, z = numbers if len(numbers) == 3 else numbers * 3
    return (x, y, z)
