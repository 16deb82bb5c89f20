"""The voxels of DICOM slices as Hounsfield units, read in parallel straight into the volumes."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rtmotion.errors import MissingExtraError, ReadError
from rtmotion_data.readers.dicom_folder import Progress, read_all
from rtmotion_data.readers.dicom_headers import Slice

AIR_FLOOR = -1024
"""HU: lower values (outside the field of view) are raised to this."""

TISSUE_HU = (-950, 3071)
"""A padding value that means such a HU cannot be told from tissue and is left as it is."""

HU_MAX = 32767

DECODERS = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"

Target = tuple[Slice, npt.NDArray[np.int16]]


def padding_hu(image: Slice) -> float | None:
    """The HU that the padding value of a slice stands for, or None where it has none."""
    return None if image.padding is None else image.padding * image.slope + image.intercept


def is_padded(image: Slice) -> bool:
    """Whether the slice has a padding value that cannot be mistaken for tissue."""
    value = padding_hu(image)
    return value is not None and not TISSUE_HU[0] < value < TISSUE_HU[1]


def read_volumes(stacks: Sequence[Sequence[Slice]], progress: Progress | None = None) -> list[Tensor]:
    """Reads the voxels of several volumes.

    Rescale slope and intercept are those of each slice. Voxels of the padding value, and all below -1024 HU, become
    -1024 HU; fractions of a HU (fractional slopes) are rounded. No more than the volumes themselves and one slice a
    thread is held in memory.

    Args:
        stacks: The slices of each volume in the order in which they are stacked, all of one size.
        progress: Called with the number of files read and of all.

    Returns:
        HU, int16, shape (z, y, x), one a stack.

    Raises:
        ReadError: If a file is truncated or its pixels cannot be decoded.
        MissingExtraError: If no decoder is installed for a compressed file.
    """
    volumes = [torch.empty((len(s), s[0].rows, s[0].columns), dtype=torch.int16) for s in stacks]
    by_file: dict[Path, list[Target]] = defaultdict(list)
    for stack, volume in zip(stacks, volumes, strict=True):
        array = volume.numpy()
        for k, image in enumerate(stack):
            by_file[image.path].append((image, array[k]))

    def read(path: Path) -> None:
        _read_file(path, by_file[path])

    read_all(list(by_file), read, progress)
    return volumes


def _read_file(path: Path, targets: Sequence[Target]) -> None:
    """Fills the slices that one file holds."""
    if all(image.pixels is not None for image, _ in targets):
        stored: Iterator[npt.NDArray[Any]] = _plain(path, targets)
    else:
        stored = _decoded(path, targets)
    for (image, target), values in zip(targets, stored, strict=True):
        if values.shape != target.shape:
            raise ReadError(f"{path} holds {values.shape} pixels where its header announces {target.shape}")
        _to_hu(image, values, target)


def _plain(path: Path, targets: Sequence[Target]) -> Iterator[npt.NDArray[Any]]:
    """Uncompressed 16-bit pixels, straight from their place in the file."""
    try:
        with path.open("rb") as file:
            for image, target in targets:
                file.seek((image.pixels or 0) + (image.frame or 0) * 2 * target.size)
                content = file.read(2 * target.size)
                if len(content) < 2 * target.size:
                    raise ReadError(f"{path} ends before its pixels do: copy or export it again")
                yield np.frombuffer(content, "<i2" if image.signed else "<u2").reshape(target.shape)
    except OSError as error:
        raise ReadError(f"{path} cannot be read ({error.strerror}): check its permissions") from error


def _decoded(path: Path, targets: Sequence[Target]) -> Iterator[npt.NDArray[Any]]:
    """Pixels of any other transfer syntax, decoded by pydicom and what it finds installed."""
    from pydicom import dcmread
    from pydicom.pixels.utils import iter_pixels

    frames = [image.frame for image, _ in targets if image.frame is not None]
    name = "unknown transfer syntax"
    try:
        dataset = dcmread(path)
        if meta := getattr(dataset, "file_meta", None):
            name = meta.TransferSyntaxUID.name
        if frames:
            yield from iter_pixels(dataset, indices=frames)
        else:
            yield dataset.pixel_array
    except Exception as error:
        text = " ".join(str(error).split())
        if "missing dependencies" in text or "plugin" in text.lower():
            raise MissingExtraError(
                f"{path} is compressed ({name}) and no decoder for it is installed: {DECODERS}"
            ) from error
        raise ReadError(f"the pixels of {path} ({name}) cannot be decoded: {text[:200]}") from error


def _to_hu(image: Slice, stored: npt.NDArray[Any], target: npt.NDArray[np.int16]) -> None:
    """Stored values to HU, in place of the target."""
    shift = int(image.intercept)
    plain = image.slope == 1.0 and image.intercept == shift and stored.dtype in (np.uint16, np.int16)
    if plain and int(stored.min()) + shift >= -HU_MAX - 1 and int(stored.max()) + shift <= HU_MAX:
        # what fits 16 bits in the end is exact modulo 2^16 on the way
        np.add(stored.view(np.int16), np.uint16(shift % 65536).astype(np.int16), out=target)
    else:
        hu = stored * np.float64(image.slope) + image.intercept
        target[...] = np.rint(np.clip(hu, AIR_FLOOR, HU_MAX, out=hu), out=hu)
    if is_padded(image):
        target[stored == image.padding] = AIR_FLOOR
    np.maximum(target, AIR_FLOOR, out=target)
