"""A sheet of what the methods of a comparison predict, on the same coronal slice.

    python benchmarks/comparison_pictures.py comparison --out sheet.jpg --methods video,simvp --cases popi_4dct_dicom

A row a case: the true phase, then a column a method, with the difference from the truth below (-400 to 400 HU, white:
too dark a prediction). The phase is the one that differs most from the last observed one.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from rtmotion.evaluation.cohort import folder_name
from rtmotion.report.picture import load_picture

WIDTH, LABEL, GAP = 220, 18, 4
DIFFERENCE_HU = 400.0


def main() -> None:
    """Writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what rtmotion compare wrote")
    parser.add_argument("--observe", type=int, default=5)
    parser.add_argument("--methods", required=True)
    parser.add_argument("--cases", required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    methods = arguments.methods.split(",")
    rows = []
    for case in arguments.cases.split(","):
        columns = []
        for method in methods:
            folder = arguments.folder / "cases" / folder_name(case) / str(arguments.observe) / folder_name(method)
            picture = load_picture(folder)
            if picture is None:
                raise SystemExit(f"{folder}: no picture")
            levels, hu = picture.facts["tone"]["level"], picture.facts["tone"]["hu"]
            truth, found = (
                np.asarray(Image.open(io.BytesIO(b)).convert("L")) for b in (picture.truth, picture.prediction)
            )
            off = np.interp(truth, levels, hu) - np.interp(found, levels, hu)
            shown = ((off.clip(-DIFFERENCE_HU, DIFFERENCE_HU) / DIFFERENCE_HU + 1) * 127.5).astype(np.uint8)
            if not columns:
                columns.append(panel(f"{case}, {picture.facts['phase']}", truth, np.full_like(shown, 255)))
            columns.append(panel(method, found, shown))
        rows.append(np.hstack(columns))
    Image.fromarray(np.vstack(rows)).save(arguments.out, quality=80)


def panel(title: str, above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """A column of the sheet: a line of text and two pictures."""
    height = round(WIDTH * above.shape[0] / above.shape[1])
    sheet = Image.new("L", (WIDTH + GAP, LABEL + 2 * (height + GAP)), 255)
    ImageDraw.Draw(sheet).text((2, 3), title, fill=0)
    for place, values in enumerate((above, below)):
        picture = Image.fromarray(values).resize((WIDTH, height), Image.Resampling.BICUBIC)
        sheet.paste(picture, (0, LABEL + place * (height + GAP)))
    return np.asarray(sheet)


if __name__ == "__main__":
    main()
