"""The landmarks of the POPI-model and of its six successors: text files with a header `#X Y Z` and mm.

POPI-model (Vandemeulebroucke, Sarrut, Clarysse, ICCR 2007): `NN-Landmarks.pts`, 41 points a phase, of which the last
is an image artefact and is not counted; mm from the first voxel of the preprocessed images (482 × 360 × 141, cropped
from the DICOM series); chosen in T10, end-inhale.

The six patients of 2011 (Vandemeulebroucke, Rit, Kybic, Clarysse, Sarrut, Med Phys 38(1), 166-178): `NN.pts` in a
folder of the patient's letters; mm in the world of the MetaImage files, whose y differs from that of the DICOM series
by an offset; the reference phase is T50, T60 for patient 1.

Both as their publishers describe them (github.com/open-vv/popi-model).
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from rtmotion.errors import ReadError
from rtmotion.grid import Grid
from rtmotion.landmarks import LandmarkSet
from rtmotion_data.readers.point_files import read_point_file, same_count

MODEL_SIZE = (482, 360, 141)
"""Voxels of the POPI-model's preprocessed images, from whose first one its landmarks are measured."""

MODEL_POINTS = 41
MODEL_REFERENCE = "T10"
MODEL_BREATH = ("T10", "T60")
MODEL_IDENTITY_MM: Mapping[str, float] = {
    "T00": 0.5,
    "T20": 0.5,
    "T30": 2.2,
    "T40": 4.3,
    "T50": 5.8,
    "T60": 6.1,
    "T70": 5.0,
    "T80": 3.7,
    "T90": 2.1,
}
"""Published mean distance of the 40 landmarks from T10 before registration, mm, to one decimal."""


@dataclass(frozen=True)
class Patient:
    """One of the six patients of 2011.

    Attributes:
        number: As in the publishers' table.
        reference: The phase in which the landmarks were chosen.
        dicom_offset_mm: What is added to y of the landmarks where the images are the DICOM series.
    """

    number: int
    reference: str
    dicom_offset_mm: float


PATIENTS: Mapping[str, Patient] = {
    "bl": Patient(1, "T60", 85.9375),
    "ng": Patient(2, "T50", 54.6875),
    "dx": Patient(3, "T50", 54.4921875),
    "gt": Patient(4, "T50", 55.46875),
    "mm2": Patient(5, "T50", 55.078125),
    "bh": Patient(6, "T50", 55.078125),
}
"""By the name of the folder in which the publishers keep the patient."""

_MODEL = re.compile(r"(\d{2})-landmarks\.pts$", re.I)
_POINTS = re.compile(r"(\d{2})\.pts$", re.I)


def popi_landmark_sets(
    folder: Path,
    grid: Grid,
    labels: Collection[str],
    *,
    dicom: bool = False,
    model_size: tuple[int, int, int] = MODEL_SIZE,
) -> tuple[LandmarkSet, ...]:
    """The POPI landmarks in a folder (or its `pts`); none where no file is named like them.

    Args:
        folder: Where the `.pts` files are; for the patients of 2011 it or a folder above it has the patient's letters.
        grid: The grid of the images.
        labels: The phases that the images have; files of others are left alone.
        dicom: Whether the images are the DICOM series, not the MetaImage files.
        model_size: Size of the POPI-model's preprocessed images.

    Raises:
        ReadError: If a file is malformed, has more or fewer points than the others, or belongs to other images.
    """
    beside = [f for place in (folder, folder / "pts") if place.is_dir() for f in sorted(place.iterdir())]
    model = {f"T{m[1]}": f for f in beside if (m := _MODEL.match(f.name))}
    if model:
        return _model(_kept(model, labels), grid, model_size)
    points = {f"T{m[1]}": f for f in beside if (m := _POINTS.match(f.name))}
    return _patient(_kept(points, labels), grid, dicom) if points else ()


def _kept(files: Mapping[str, Path], labels: Collection[str]) -> dict[str, Path]:
    """The files of the phases that the images have.

    Raises:
        ReadError: If there are fewer than two.
    """
    kept = {label: file for label, file in files.items() if label in labels}
    if len(kept) < 2:
        first = next(iter(files.values()))
        raise ReadError(
            f"{first.parent}: landmarks of {', '.join(sorted(files))}, of which the images have "
            f"{', '.join(sorted(kept)) or 'none'}: two phases are needed; the two digits in a file's name are its phase"
        )
    return kept


def _model(files: Mapping[str, Path], grid: Grid, size: tuple[int, int, int]) -> tuple[LandmarkSet, ...]:
    if grid.size != size:
        wanted, there = (" × ".join(str(n) for n in s) for s in (size, grid.size))
        raise ReadError(
            f"{next(iter(files.values()))}: the POPI-model's landmarks are measured from the first voxel of its "
            f"preprocessed images of {wanted} voxels; these images have {there}: take the MetaImage files"
        )
    stored = {file: read_point_file(file)[0] for file in files.values()}
    same_count(stored)
    spacing = torch.tensor(grid.spacing, dtype=torch.float64)
    count = len(next(iter(stored.values())))
    counted = count - 1 if count == MODEL_POINTS else count
    points = {label: grid.index_to_world(stored[file][:counted] / spacing) for label, file in files.items()}
    published = {(MODEL_REFERENCE, label): mm for label, mm in MODEL_IDENTITY_MM.items()}
    return (
        LandmarkSet(
            f"POPI-model, {counted} landmarks",
            "popi-model",
            points,
            "mm from the centre of the first voxel, along the axes of the images",
            reference=MODEL_REFERENCE,
            published=published if counted == MODEL_POINTS - 1 else {},
            breath=MODEL_BREATH,
        ),
    )


def _patient(files: Mapping[str, Path], grid: Grid, dicom: bool) -> tuple[LandmarkSet, ...]:
    where = next(iter(files.values())).absolute()
    letters = next((part.lower() for part in reversed(where.parent.parts) if part.lower() in PATIENTS), None)
    patient = PATIENTS[letters] if letters is not None else None
    if dicom and patient is None:
        raise ReadError(
            f"{where.parent}: POPI landmarks need an offset in y on DICOM, and only the patient's folder says which: "
            f"keep them in a folder named {', '.join(PATIENTS)}, or take the MetaImage files"
        )
    stored = {file: read_point_file(file)[0] for file in files.values()}
    same_count(stored)
    offset = patient.dicom_offset_mm if dicom and patient is not None else 0.0
    shift = torch.tensor([0.0, offset, 0.0], dtype=torch.float64)
    count = len(next(iter(stored.values())))
    outside = sum(int((~grid.contains(points + shift)).sum()) for points in stored.values())
    if outside:
        whose = "another patient" if dicom else "MetaImage files, whose y differs from that of DICOM"
        share = f"{outside} of {count * len(stored)} landmarks"
        raise ReadError(f"{where.parent}: {share} lie outside the images: they are those of {whose}")
    name = "POPI 2011" if patient is None else f"POPI 2011 patient {patient.number}"
    units = "mm, world of the MetaImage files" + (f", y + {offset:g} mm for DICOM" if dicom else "")
    reference = None if patient is None else patient.reference
    points = {label: stored[file] + shift for label, file in files.items()}
    return (LandmarkSet(f"{name}, {count} landmarks", "popi-2011", points, units, reference),)
