"""Small DICOM CT series of known content, in the dialects of the vendors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SHAPE = (6, 5, 4)  # z, y, x
PATIENT = "Doe^Jane"


def hu_of(phase: float, shape: tuple[int, int, int] = SHAPE) -> npt.NDArray[np.int16]:
    """Voxels that tell phase and position apart, HU, shape (z, y, x)."""
    z, y, x = np.indices(shape)
    return np.asarray(round(phase) + 100 * z + 10 * y + x - 900, dtype=np.int16)


@dataclass(frozen=True)
class Maker:
    """Writes series below a folder; every UID that is not given is new."""

    root: Path
    study: str = field(default_factory=generate_uid)
    frame: str = field(default_factory=generate_uid)

    def series(
        self,
        folder: str,
        hu: npt.NDArray[np.int16],
        *,
        description: str = "",
        number: int | None = 1,
        spacing: tuple[float, float, float] = (2.0, 1.5, 3.0),
        origin: tuple[float, float, float] = (-10.0, -20.0, -30.0),
        orientation: Sequence[float] = AXIAL,
        step: Sequence[float] | None = None,
        skip: Sequence[int] = (),
        uid: str = "",
        study: str = "",
        frame: str = "",
        slope: float | Sequence[float] = 1.0,
        intercept: float = -1024.0,
        signed: bool = False,
        padding: int | None = None,
        stored: npt.NDArray[Any] | None = None,
        instances: Sequence[int] | None = None,
        tags: Mapping[str, Any] | None = None,
        prefix: str = "ct",
    ) -> list[Path]:
        """Writes one file a slice and returns them in the order of z.

        `spacing` is (x, y, z) in mm; `step` the way from slice to slice in mm, the normal times spacing z if not given.
        """
        uid = uid or generate_uid()
        normal = np.cross(orientation[:3], orientation[3:])
        steps = np.asarray(step if step is not None else normal * spacing[2])
        slopes = [float(slope)] * len(hu) if isinstance(slope, (int, float)) else list(slope)
        where = self.root / folder
        where.mkdir(parents=True, exist_ok=True)
        paths = []
        for k, image in enumerate(hu):
            if k in skip:
                continue
            dataset = self._header(study or self.study, uid, frame or self.frame)
            dataset.SeriesDescription = description
            if number is not None:
                dataset.SeriesNumber = number
            dataset.InstanceNumber = len(hu) - k if instances is None else instances[k]
            dataset.ImagePositionPatient = [round(float(v), 4) for v in np.asarray(origin) + k * steps]
            dataset.ImageOrientationPatient = list(orientation)
            dataset.PixelSpacing = [spacing[1], spacing[0]]
            dataset.RescaleSlope, dataset.RescaleIntercept = str(slopes[k])[:16], intercept
            values = np.rint((image - intercept) / slopes[k]) if stored is None else stored[k]
            self._pixels(dataset, values, signed)
            if padding is not None:
                dataset.add_new(0x00280120, "SS" if signed else "US", padding)
            for keyword, value in (tags or {}).items():
                setattr(dataset, keyword, value[k] if isinstance(value, list) else value)
            path = where / f"{prefix}{k:03d}.dcm"
            dataset.save_as(path, enforce_file_format=True)
            paths.append(path)
        return paths

    def cycle(self, pattern: str, percents: Sequence[float] = range(0, 100, 10), **options: Any) -> None:
        """One series a phase, in folders of their own; `{}` in the pattern stands for the percentage."""
        start = options.pop("number", 500)
        for i, p in enumerate(percents):
            text = pattern.format(p)
            self.series(f"s{i}", hu_of(p), description=text, number=start + i, **options)

    def enhanced(self, name: str, percents: Sequence[float], hu: Mapping[float, npt.NDArray[np.int16]]) -> Path:
        """One enhanced multi-frame file with all phases, frames of a slice next to each other, z descending."""
        dataset = self._header(self.study, generate_uid(), self.frame, EnhancedCTImageStorage)
        shared, frames, pixels = Dataset(), [], []
        measures = Dataset()
        measures.PixelSpacing = [1.5, 2.0]
        shared.PixelMeasuresSequence = Items([measures])
        plane = Dataset()
        plane.ImageOrientationPatient = list(AXIAL)
        shared.PlaneOrientationSequence = Items([plane])
        values = Dataset()
        values.RescaleSlope, values.RescaleIntercept = 1, -1024
        shared.PixelValueTransformationSequence = Items([values])
        for k in reversed(range(SHAPE[0])):
            for p in percents:
                groups, position, sync = Dataset(), Dataset(), Dataset()
                position.ImagePositionPatient = [-10.0, -20.0, -30.0 + 3.0 * k]
                groups.PlanePositionSequence = Items([position])
                sync.NominalPercentageOfRespiratoryPhase = float(p)
                groups.RespiratorySynchronizationSequence = Items([sync])
                frames.append(groups)
                pixels.append(hu[p][k] + 1024)
        dataset.SharedFunctionalGroupsSequence = Items([shared])
        dataset.PerFrameFunctionalGroupsSequence = Items(frames)
        dataset.NumberOfFrames = len(frames)
        self._pixels(dataset, np.stack(pixels), signed=False)
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / name
        dataset.save_as(path, enforce_file_format=True)
        return path

    def other(self, name: str, modality: str) -> Path:
        """A DICOM object that is no image."""
        dataset = self._header(self.study, generate_uid(), self.frame, "1.2.840.10008.5.1.4.1.1.481.3")
        dataset.Modality = modality
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / name
        dataset.save_as(path, enforce_file_format=True)
        return path

    def _header(self, study: str, series: str, frame: str, sop_class: str = CTImageStorage) -> FileDataset:
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = pydicom.uid.UID(sop_class)
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = study, series, frame
        dataset.Modality, dataset.Manufacturer = "CT", "TEST"
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = PATIENT, "ID-4711", "19500101"
        dataset.StudyDate, dataset.StudyTime = "20240101", "120000"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        return dataset

    def _pixels(self, dataset: Dataset, values: npt.NDArray[Any], signed: bool) -> None:
        dataset.Rows, dataset.Columns = values.shape[-2:]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.PixelRepresentation = int(signed)
        dataset.PixelData = values.astype("<i2" if signed else "<u2").tobytes()
