"""One picture of a compared forecast, small enough that a comparison's page can hold those of all methods."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmotion.errors import ReadError
from rtmotion.report.data import ReportData, load_report_data, save_report_data
from rtmotion.report.slices import TONE_HU, TONE_LEVEL, VIEWS, pack, tile_size

Array = npt.NDArray[Any]

PICTURE_FILE = "picture.npz"
PICTURE_SIDE = 160
PICTURE_QUALITY = 70
"""About 3 kB a picture: those of 25 methods on 10 cases at 3 k are 2 MB."""

LARGEST_DIFFERENCE_HU = 600.0
CORONAL = VIEWS[0]


@dataclass(frozen=True)
class Picture:
    """The same coronal slice of the true phase and of the forecast, 8 bits, JPEG.

    Attributes:
        facts: JSON-compatible: `phase` (label), `width`, `height` (pixels), `mm` (of the slice), `where` (which slice),
            `tone` (levels to HU).
        truth: The true phase; the same for every method of a case and k.
        prediction: The forecast.
    """

    facts: Mapping[str, Any]
    truth: bytes
    prediction: bytes


def take_picture(
    phases: Sequence[Mapping[str, Any]], volumes: Sequence[Array], index: int, view: Mapping[str, Any], where: str
) -> Picture | None:
    """The coronal slice in the future phase that differs most from the last observed one.

    Args:
        phases: With the numbers of their volumes, as `rtmotion.report.collect.gather_tiles` gives them.
        volumes: Upright and cropped, HU.
        index: Of the coronal slice.
        view: The description of the coronal view.
        where: Which slice it is, for the page.

    Returns:
        None where no future phase is known.
    """
    known = [p for p in phases if not p["observed"] and p["truth"] is not None]
    if not known:
        return None
    last = max((p for p in phases if p["observed"]), key=lambda p: float(p["fraction"]))

    def slice_of(number: int) -> Array:
        return volumes[number][:, index, :].astype(np.float32)

    def change(phase: Mapping[str, Any]) -> float:
        difference = np.abs(slice_of(phase["truth"]) - slice_of(last["truth"]))
        return float(difference.clip(0, LARGEST_DIFFERENCE_HU).mean())

    shown = max(known, key=change)
    width, height = tile_size(CORONAL, volumes[0], PICTURE_SIDE)
    facts = {
        "phase": shown["label"],
        "width": width,
        "height": height,
        "mm": view["mm"],
        "where": where,
        "tone": {"hu": TONE_HU, "level": TONE_LEVEL},
    }
    truth, prediction = (
        pack(CORONAL, [volumes[shown[name]]], index, PICTURE_QUALITY, PICTURE_SIDE) for name in ("truth", "prediction")
    )
    return Picture(facts, truth, prediction)


def save_picture(folder: Path, picture: Picture) -> Path:
    """Writes `picture.npz`, beside and then renamed.

    Raises:
        WriteError: If the system refuses.
    """
    images = {"truth": (picture.truth,), "prediction": (picture.prediction,)}
    return save_report_data(folder / PICTURE_FILE, ReportData(picture.facts, images, {}))


def load_picture(folder: Path) -> Picture | None:
    """The picture in a folder; None where there is none that can be read."""
    try:
        data = load_report_data(folder / PICTURE_FILE)
        return Picture(data.facts, data.sprites["truth"][0], data.sprites["prediction"][0])
    except (ReadError, KeyError, IndexError):
        return None
