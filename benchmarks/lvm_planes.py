"""What a large vision model forecasts of a case from axial, coronal and sagittal slices, and from all three.

    python benchmarks/lvm_planes.py popi_4dct_dicom [--observe 5] [--lvm-weights FOLDER] [--sheet sheet.jpg]

Means over the phases to come, body: absolute error of the forecast (HU), of the true phases through tokens and back
(the ceiling: no forecast with these tokens can beat it), and jitter: how much rougher than the true phase the volume is
from slice to slice, along the axis where it is most (HU). Standing still is the last line.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from rtmotion.evaluation.regions import body_mask
from rtmotion.forecasting import Forecast
from rtmotion.lvm.forecaster import FUSED, create, jitter
from rtmotion.lvm.frames import PLANES, to_unit
from rtmotion.sequence import PhaseSequence, Volume
from rtmotion_data.inspection import read

HEAD = ("plane", "error (HU)", "ceiling (HU)", "jitter (HU)", "jitter of the ceiling (HU)", "tokens", "seconds")


def main() -> None:
    """Prints the table and writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", type=Path)
    parser.add_argument("--observe", type=int, default=5)
    parser.add_argument("--lvm-weights", type=Path)
    parser.add_argument("--sheet", type=Path, help="a picture: the true phase half way and what each plane makes of it")
    given = parser.parse_args()
    sequence, _ = read(given.case)
    observed, rest = sequence.observe(given.observe)
    print("| " + " | ".join(HEAD) + " |\n" + "| --- " * len(HEAD) + "|")
    middle = len(rest) // 2
    panels = [panel("truth", rest.volumes[middle], rest.volumes[middle])]
    for plane in (*PLANES, FUSED):
        started = time.perf_counter()
        found = create(lvm_weights=given.lvm_weights, plane=plane).forecast(observed, rest.phases)
        seconds = time.perf_counter() - started
        print(line(plane, rest, found, seconds), flush=True)
        panels.append(panel(plane, found.volumes[middle], rest.volumes[middle]))
    still = float(np.mean([error(observed.volumes[-1], v) for v in rest.volumes]))
    print(f"| standing still | {still:.1f} |" + " |" * (len(HEAD) - 2))
    if given.sheet is not None:
        Image.fromarray(np.hstack(panels)).save(given.sheet, quality=80)


def line(plane: str, truth: PhaseSequence, found: Forecast, seconds: float) -> str:
    """A row of the table."""
    assert found.reconstruct is not None
    ceilings = [found.reconstruct(v) for v in truth.volumes]
    values = [
        np.mean([error(p, v) for p, v in zip(volumes, truth.volumes, strict=True)])
        for volumes in (found.volumes, ceilings)
    ]
    values += [
        np.mean([rougher(p, v) for p, v in zip(volumes, truth.volumes, strict=True)])
        for volumes in (found.volumes, ceilings)
    ]
    cells = [*(f"{v:.1f}" for v in values), f"{found.details['tokens']:,}", f"{seconds:.0f}"]
    return f"| {plane} | " + " | ".join(cells) + " |"


def error(found: Volume, true: Volume) -> float:
    """Mean absolute error in the true body, HU."""
    return float((found.hu - true.hu)[body_mask(true)].abs().mean())


def rougher(found: Volume, true: Volume) -> float:
    """How much rougher from slice to slice than the truth, across the roughest axis, HU."""
    return jitter(found.hu, true.hu, body_mask(true), range(3))


def panel(title: str, found: Volume, true: Volume) -> np.ndarray:
    """The middle coronal and sagittal slice, head up, above the difference from the truth (white: 400 HU too dark)."""
    rows = []
    z, y, x = found.grid.spacing[2], found.grid.spacing[1], found.grid.spacing[0]
    for hu in (to_unit(found.hu), (true.hu - found.hu) / 800 + 0.5):
        shown = []
        for axis, across in ((1, x), (2, y)):
            values = hu.select(axis, hu.shape[axis] // 2).flip(0).clamp(0, 1)
            size = (round(values.shape[1] * across / 2), round(values.shape[0] * z / 2))  # 2 mm a pixel
            shown.append(np.asarray(Image.fromarray((255 * values).to(torch.uint8).numpy()).resize(size)))
        rows.append(np.hstack(shown))
    sheet = Image.fromarray(np.vstack([np.full((16, rows[0].shape[1]), 255, np.uint8), *rows]))
    ImageDraw.Draw(sheet).text((2, 3), title, fill=0)
    return np.asarray(sheet)


if __name__ == "__main__":
    main()
