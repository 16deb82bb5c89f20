"""Displacement fields as MetaImage."""

from pathlib import Path

from rtmotion.field import DisplacementField
from rtmotion.interop import field_to_sitk
from rtmotion_data.writers.atomic import refused, replacing

COMPRESSION = 2
"""zlib's level: floats hardly get smaller by more work."""


def write_displacement(path: Path, field: DisplacementField) -> None:
    """Writes a displacement field as compressed `.mha`: float32 vectors in mm, LPS, fixed to moving.

    `sitk.DisplacementFieldTransform(sitk.Cast(sitk.ReadImage(path), sitk.sitkVectorFloat64))` resamples the moving
    image into the fixed one.

    Args:
        path: The file; an existing one is replaced.
        field: The field, on its fixed grid.

    Raises:
        WriteError: If the file cannot be written.
    """
    import SimpleITK as sitk  # noqa: N813

    with replacing(path) as beside:
        try:
            sitk.WriteImage(field_to_sitk(field), str(beside), useCompression=True, compressionLevel=COMPRESSION)
        except RuntimeError as error:
            raise refused(path, OSError("ITK could not write the file")) from error
