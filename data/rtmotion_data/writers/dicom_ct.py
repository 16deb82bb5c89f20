"""A volume as a DICOM CT series of an anonymous synthetic patient."""

from pathlib import Path
from typing import Any

import torch

from rtmotion.errors import WriteError
from rtmotion.grid import Grid
from rtmotion.sequence import Phase, Volume
from rtmotion_data.writers.atomic import together

PATIENT = "PHANTOM"
DATE = "20000101"
"""No date of the machine: the same seed writes the same bytes."""


def dicom_uid(*parts: object) -> str:
    """A DICOM UID that depends on nothing but the texts of `parts`.

    >>> dicom_uid("study", 7) == dicom_uid("study", 7) != dicom_uid("study", 8)
    True
    """
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=["rtmotion", *(str(p) for p in parts)]))


def write_ct_series(
    folder: Path,
    volume: Volume,
    phase: Phase,
    *,
    study_uid: str,
    frame_of_reference_uid: str,
    series_number: int,
    description: str | None = None,
    positions: int | None = None,
    intercept: int = -1024,
) -> list[Path]:
    """Writes one phase as a CT Image Storage series, one file a slice, uncompressed, of the patient `PHANTOM`.

    Args:
        folder: Where the slices go (`CT_0000.dcm` ...); files of these names are replaced.
        volume: HU; float volumes are rounded.
        phase: Its label goes into the description and, with `positions`, its place into the temporal position.
        study_uid: Of the study that all phases belong to (`dicom_uid` makes one of a seed).
        frame_of_reference_uid: Common to all phases.
        series_number: One a phase.
        description: Series description; None writes `4D CT, Gated, 30.0%`.
        positions: Number of phases in the cycle, for the temporal position; None leaves it out.
        intercept: Rescale intercept; stored value = HU - intercept, slope 1.

    Returns:
        The files, in slice order.

    Raises:
        WriteError: If the values do not fit 16 bits or a file cannot be written.
    """
    data = volume.data.detach().cpu()
    stored = (data.round() if data.is_floating_point() else data).to(torch.int32) - intercept
    if not bool(torch.isfinite(data.float()).all()) or int(stored.min()) < -32768 or int(stored.max()) > 32767:
        raise WriteError(f"{folder}: {phase.label} holds values that 16 bits do not: CT in HU was expected")
    series_uid = dicom_uid(study_uid, series_number, phase.label)
    names = [f"CT_{index:04d}.dcm" for index in range(volume.grid.size[2])]
    header = _header(volume.grid, study_uid, frame_of_reference_uid, series_uid, intercept)
    header.SeriesNumber = series_number
    header.SeriesDescription = description or f"4D CT, Gated, {100 * phase.fraction:.1f}%"
    if positions is not None:
        header.TemporalPositionIdentifier = round(phase.fraction * positions) + 1
        header.NumberOfTemporalPositions = positions
    with together(folder) as staging:
        for index, name in enumerate(names):
            _place(header, volume.grid, index, dicom_uid(series_uid, index))
            header.PixelData = stored[index].to(torch.int16).numpy().astype("<i2").tobytes()
            header.save_as(staging / name, enforce_file_format=True)
    return [folder / name for name in names]


def _header(grid: Grid, study_uid: str, frame_uid: str, series_uid: str, intercept: int) -> Any:
    """What all slices of a series have in common, but for what names its phase."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    direction = grid.direction_matrix
    out = Dataset()
    out.file_meta = FileMetaDataset()
    out.SOPClassUID = out.file_meta.MediaStorageSOPClassUID = CTImageStorage
    out.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    out.StudyDate = out.SeriesDate = out.AcquisitionDate = out.ContentDate = DATE
    out.StudyTime = out.SeriesTime = out.AcquisitionTime = out.ContentTime = "000000"
    out.AccessionNumber = ""
    out.Modality = "CT"
    out.Manufacturer = "rtmotion"
    out.ReferringPhysicianName = ""
    out.StudyDescription = "synthetic 4D CT"
    out.PatientName = out.PatientID = PATIENT
    out.PatientBirthDate = out.PatientSex = ""
    out.KVP = None
    out.SliceThickness = out.SpacingBetweenSlices = _decimal(grid.spacing[2])[0]
    out.PatientPosition = "HFS"
    out.StudyInstanceUID = study_uid
    out.SeriesInstanceUID = series_uid
    out.FrameOfReferenceUID = frame_uid
    out.PositionReferenceIndicator = ""
    out.StudyID = "1"
    out.AcquisitionNumber = None
    out.ImageOrientationPatient = _decimal(*direction[:, 0], *direction[:, 1])
    out.SamplesPerPixel = 1
    out.PhotometricInterpretation = "MONOCHROME2"
    out.Rows, out.Columns = grid.size[1], grid.size[0]
    out.PixelSpacing = _decimal(grid.spacing[1], grid.spacing[0])
    out.BitsAllocated = out.BitsStored = 16
    out.HighBit = 15
    out.PixelRepresentation = 1
    out.RescaleIntercept = str(intercept)
    out.RescaleSlope = "1"
    out.RescaleType = "HU"
    return out


def _place(header: Any, grid: Grid, index: int, uid: str) -> None:
    """Makes the header that of one slice."""
    position = grid.direction_matrix @ [0.0, 0.0, index * grid.spacing[2]] + grid.origin
    header.SOPInstanceUID = uid
    header.file_meta.MediaStorageSOPInstanceUID = uid
    header.InstanceNumber = index + 1
    header.ImagePositionPatient = _decimal(*position)
    header.SliceLocation = _decimal(float(position @ grid.direction_matrix[:, 2]))[0]


def _decimal(*values: float) -> list[Any]:
    """Decimal strings of at most 16 characters."""
    from pydicom.valuerep import DSfloat

    return [DSfloat(v, auto_format=True) for v in values]
