"""The header of a DICOM file: one record a slice, multi-frame images taken apart."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from rtmotion_data.readers.dicom_values import (
    PIXEL_DATA,
    binary,
    decimals,
    decimals_of,
    get,
    integer,
    item,
    pixel_start,
    tag_of,
    text,
    words,
)

HEAD_BYTES = 65536
"""Most headers of single slices, private elements and all, fit into so many bytes."""

_UNMARKED = (b"\x08\x00\x05\x00", b"\x08\x00\x08\x00", b"\x08\x00\x00\x00")
"""Files without the preamble begin with one of these elements of group 0008."""

DICOM_DIRECTORY = "1.2.840.10008.1.3.10"

_KEYWORDS = (
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "AcquisitionTime",
    "Modality",
    "Manufacturer",
    "SeriesDescription",
    "PatientName",
    "PatientID",
    "ProtocolName",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "AcquisitionNumber",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "FrameOfReferenceUID",
    "TemporalPositionIdentifier",
    "NumberOfTemporalPositions",
    "ImageComments",
    "NominalPercentageOfRespiratoryPhase",
    "StartingRespiratoryPhase",
    "EndingRespiratoryPhase",
    "StartingRespiratoryAmplitude",
    "EndingRespiratoryAmplitude",
    "RespiratorySynchronizationSequence",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PixelSpacing",
    "BitsAllocated",
    "PixelRepresentation",
    "SamplesPerPixel",
    "PixelPaddingValue",
    "RescaleIntercept",
    "RescaleSlope",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "StudyDate",
    "StudyTime",
)


@dataclass(frozen=True)
class Slice:
    """What the header of one image, or of one frame of a multi-frame image, says. Lengths in mm, LPS.

    Attributes:
        path: The file.
        frame: The frame's number in the file, from 0; None where the file holds one image.
        folder: Name of the folder.
        study: StudyInstanceUID; `series`, `frame_of_reference`, `instance` likewise.
        study_date: StudyDate and StudyTime, to order studies; never shown.
        patient: PatientName and PatientID, to keep them out of names; never shown.
        position: ImagePositionPatient, or None.
        orientation: ImageOrientationPatient, six cosines, or None.
        pixel_spacing: Distance of rows, then of columns.
        slope: RescaleSlope, and `intercept` RescaleIntercept.
        padding: PixelPaddingValue as stored, or None.
        signed: Whether the stored values are signed.
        pixels: Where uncompressed 16-bit pixels begin in the file, or None where pydicom has to decode them.
        truncated: The file is shorter than the pixels that it announces.
    """

    path: Path
    frame: int | None = None
    folder: str = ""
    study: str = ""
    study_date: str = ""
    series: str = ""
    frame_of_reference: str = ""
    instance: str = ""
    patient: tuple[str, ...] = field(default=(), repr=False)
    modality: str = ""
    image_type: tuple[str, ...] = ()
    manufacturer: str = ""
    description: str = ""
    comments: str = field(default="", repr=False)
    protocol: str = ""
    series_number: int | None = None
    acquisition_number: int | None = None
    acquisition_time: str = ""
    instance_number: int | None = None
    respiratory_percent: float | None = None
    respiratory_states: tuple[str, str] = ("", "")
    respiratory_amplitudes: tuple[float, float] | None = None
    temporal_position: int | None = None
    temporal_positions: int | None = None
    rows: int = 0
    columns: int = 0
    position: tuple[float, ...] | None = None
    orientation: tuple[float, ...] | None = None
    pixel_spacing: tuple[float, ...] | None = None
    slope: float = 1.0
    intercept: float = 0.0
    padding: int | None = None
    signed: bool = False
    pixels: int | None = None
    truncated: bool = False

    @property
    def is_image(self) -> bool:
        """Whether it is a CT image that knows where it lies."""
        placed = (
            len(self.position or ()) == 3 and len(self.orientation or ()) == 6 and len(self.pixel_spacing or ()) == 2
        )
        return self.modality == "CT" and placed and self.rows > 0 and self.columns > 0


def read_slices(path: Path) -> list[Slice] | str | None:
    """The slices of a file, None where it is not DICOM, or the reason why it cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            marked = head[128:132] == b"DICM"
            if not marked and head[:4] not in _UNMARKED:
                return None
            size = os.fstat(file.fileno()).st_size
            parsed = _parse_head(head, size, marked) or _parse(file, marked)
        slices = list(_slices(path, *parsed, size))
        if slices and not slices[0].study and not slices[0].modality:
            return "its header is cut off" if marked else None
        return slices
    except PermissionError:
        return "it may not be opened (permission denied)"
    except Exception as error:  # pydicom raises whatever a broken file makes it stumble over
        return f"it is a broken or truncated DICOM file ({type(error).__name__})" if looks_like_dicom(path) else None


def _parse(file: BinaryIO, marked: bool) -> tuple[Any, int, bytes]:
    """The header as pydicom has it, where it ends, and the bytes that follow."""
    from pydicom import dcmread

    file.seek(0)
    tags = [tag_of(keyword) for keyword in _KEYWORDS]
    dataset = dcmread(file, stop_before_pixels=True, force=not marked, specific_tags=tags)
    at = file.tell()
    return dataset, at, file.read(12)


def _parse_head(head: bytes, size: int, marked: bool) -> tuple[Any, int, bytes] | None:
    """The same from the first bytes of the file alone, which is much faster; None where the header is longer."""
    try:
        dataset, at, end = _parse(BytesIO(head), marked)
    except Exception:
        return None
    return (dataset, at, end) if end[:4] == PIXEL_DATA or len(head) == size else None


def looks_like_dicom(path: Path) -> bool:
    """Whether a file carries DICOM's mark behind its preamble, or begins as one without a preamble."""
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except OSError:
        return False
    return start[128:] == b"DICM" or start[:4] in _UNMARKED


def _slices(path: Path, dataset: Any, at: int, end: bytes, size: int) -> Iterator[Slice]:
    meta = getattr(dataset, "file_meta", None)
    if text(meta, "MediaStorageSOPClassUID") == DICOM_DIRECTORY:
        return
    syntax = get(meta, "TransferSyntaxUID", lambda uid: uid)
    compressed = syntax is not None and (syntax.is_compressed or syntax.is_deflated)
    rows, columns = binary(dataset, "Rows") or 0, binary(dataset, "Columns") or 0
    bits = binary(dataset, "BitsAllocated") or 16
    frames = integer(dataset, "NumberOfFrames") or 1
    count = rows * columns * frames * (bits // 8)
    implicit, little = dataset.original_encoding
    modality = text(dataset, "Modality")
    sync = item(dataset, sequence="RespiratorySynchronizationSequence")
    signed = bool(binary(dataset, "PixelRepresentation"))
    slope, intercept = decimals(dataset, "RescaleSlope"), decimals(dataset, "RescaleIntercept")
    plain = not compressed and bits == 16 and binary(dataset, "SamplesPerPixel") in (None, 1)
    start = pixel_start(end, at, implicit, little, count) if plain else None
    whole = Slice(
        path=path,
        folder=path.parent.name,
        study=text(dataset, "StudyInstanceUID"),
        study_date=text(dataset, "StudyDate") + text(dataset, "StudyTime"),
        series=text(dataset, "SeriesInstanceUID"),
        frame_of_reference=text(dataset, "FrameOfReferenceUID"),
        instance=text(dataset, "SOPInstanceUID"),
        patient=(text(dataset, "PatientName"), text(dataset, "PatientID")),
        modality=modality,
        image_type=words(dataset, "ImageType"),
        manufacturer=text(dataset, "Manufacturer"),
        description=text(dataset, "SeriesDescription"),
        comments=text(dataset, "ImageComments"),
        protocol=text(dataset, "ProtocolName"),
        series_number=integer(dataset, "SeriesNumber"),
        acquisition_number=integer(dataset, "AcquisitionNumber"),
        acquisition_time=text(dataset, "AcquisitionTime"),
        instance_number=integer(dataset, "InstanceNumber"),
        respiratory_percent=_respiratory_percent(sync, dataset),
        respiratory_states=_respiratory_states(sync if sync is not None else dataset),
        respiratory_amplitudes=_respiratory_amplitudes(sync if sync is not None else dataset),
        temporal_position=integer(dataset, "TemporalPositionIdentifier"),
        temporal_positions=integer(dataset, "NumberOfTemporalPositions"),
        rows=rows,
        columns=columns,
        position=decimals(dataset, "ImagePositionPatient"),
        orientation=decimals(dataset, "ImageOrientationPatient"),
        pixel_spacing=decimals(dataset, "PixelSpacing"),
        slope=slope[0] if slope and slope[0] else 1.0,
        intercept=intercept[0] if intercept else 0.0,
        padding=_padding(binary(dataset, "PixelPaddingValue"), signed),
        truncated=not compressed and modality == "CT" and size < (start or 0) + count,
        pixels=start,
        signed=signed,
    )
    per_frame = get(dataset, "PerFrameFunctionalGroupsSequence", list)
    if per_frame:
        yield from _frames(whole, item(dataset, sequence="SharedFunctionalGroupsSequence"), per_frame)
    else:
        yield whole


def _padding(value: int | None, signed: bool) -> int | None:
    # some writers store the padding of signed pixels as unsigned
    return value - 65536 if value is not None and signed and value > 32767 else value


def _respiratory_percent(*datasets: Any) -> float | None:
    for dataset in datasets:
        value = get(dataset, "NominalPercentageOfRespiratoryPhase", float)
        if value is not None:
            return value
    return None


def _respiratory_states(dataset: Any) -> tuple[str, str]:
    return (text(dataset, "StartingRespiratoryPhase"), text(dataset, "EndingRespiratoryPhase"))


def _respiratory_amplitudes(dataset: Any) -> tuple[float, float] | None:
    start, end = (get(dataset, f"{at}RespiratoryAmplitude", float) for at in ("Starting", "Ending"))
    return None if start is None or end is None else (start, end)


def _frames(whole: Slice, shared: Any, per_frame: Sequence[Any]) -> Iterator[Slice]:
    """One record a frame of an enhanced multi-frame image, from its own and the shared functional groups."""
    contents = [item(own, shared, sequence="FrameContentSequence") for own in per_frame]
    times = {get(c, "TemporalPositionIndex", int) for c in contents} - {None}
    for number, (own, content) in enumerate(zip(per_frame, contents, strict=True)):
        values = item(own, shared, sequence="PixelValueTransformationSequence")
        measures = item(own, shared, sequence="PixelMeasuresSequence")
        sync = item(own, shared, sequence="RespiratorySynchronizationSequence")
        slope, intercept = get(values, "RescaleSlope", float), get(values, "RescaleIntercept", float)
        percent = _respiratory_percent(sync)
        yield replace(
            whole,
            frame=number,
            instance=f"{whole.instance}#{number}",
            comments=text(content, "FrameComments") or whole.comments,
            acquisition_number=get(content, "FrameAcquisitionNumber", int),
            acquisition_time=text(content, "FrameAcquisitionDateTime"),
            instance_number=number,
            respiratory_percent=whole.respiratory_percent if percent is None else percent,
            respiratory_states=_respiratory_states(sync) if sync is not None else whole.respiratory_states,
            respiratory_amplitudes=_respiratory_amplitudes(sync) or whole.respiratory_amplitudes,
            temporal_position=get(content, "TemporalPositionIndex", int),
            temporal_positions=len(times) or None,
            position=get(item(own, shared, sequence="PlanePositionSequence"), "ImagePositionPatient", decimals_of),
            orientation=get(
                item(own, shared, sequence="PlaneOrientationSequence"), "ImageOrientationPatient", decimals_of
            ),
            pixel_spacing=get(measures, "PixelSpacing", decimals_of),
            slope=whole.slope if slope is None else slope,
            intercept=whole.intercept if intercept is None else intercept,
        )
