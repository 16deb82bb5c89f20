"""How far the diaphragm moves along superior-inferior in each phase."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from rtmotion.evaluation.lungs import dome_columns, dome_heights
from rtmotion.evaluation.regions import LUNG_HU, lung_mask, slice_axis
from rtmotion.forecasting import Forecast
from rtmotion.report.orientation import sample_field
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion.types import MaskVolume

Array = npt.NDArray[Any]

REACH_MM = 40.0
"""The dome is looked for this far above and below where it lies in the reference phase."""

INVERSION_STEPS = 8
Z_80 = 1.2816
"""Half the 80 % interval of a normal distribution, in standard deviations."""

MOST_POINTS = 4000

DOME = (
    "Median over the columns through the dome under each lung of the height of the lung's floor (crossing of −400 HU), "
    "relative to the reference phase; up is superior. Observed and true phases: measured in the images. Predicted "
    "phases: the predicted displacement of the same points; bars: 80 % interval from the stated uncertainty of the "
    "displacement magnitude, hence on the safe side."
)
DOME_IMAGES = (
    "Median over the columns through the dome under each lung of the height of the lung's floor (crossing of −400 HU), "
    "measured in the images, relative to the first observed phase; up is superior."
)
REGION = (
    "No dome of the diaphragm was found in the image. Shown instead: mean superior-inferior displacement, relative to "
    "the reference phase, of the 5 % of body voxels that the forecast moves most along that axis; up is superior."
)


def diaphragm_motion(
    forecast: Forecast, observed: PhaseSequence, truth: PhaseSequence | None, body: MaskVolume
) -> dict[str, Any] | None:
    """The SI displacement of the diaphragm in every phase.

    Args:
        forecast: The forecast.
        observed: The observed phases.
        truth: The true phases to come, or None.
        body: The body in the reference phase.

    Returns:
        `definition`, `reference` (label), and `observed`, `truth`, `predicted`, each a mapping of phase label to mm;
        `interval` with half the 80 % interval in mm. None where neither a dome nor a field is there.
    """
    reference = forecast.reference or observed.phases[0]
    volume = observed.volume(reference.label)
    lung = lung_mask(volume, body)
    columns = dome_columns(lung, volume.grid)
    if not columns.any():
        return _moving_region(forecast, reference, body)
    found: dict[str, Any] = {"reference": reference.label}
    points = _dome_points(volume, lung, columns)
    band = _band(volume, points, columns)
    base = _height(volume, band, columns)
    for name, sequence in (("observed", observed), ("truth", truth)):
        found[name] = _heights(sequence.phases, sequence.volumes, band, columns, base) if sequence else {}
    if forecast.displacements is None:
        found["predicted"] = _heights(forecast.targets, forecast.volumes, band, columns, base)
        return {**found, "definition": DOME_IMAGES, "interval": {}}
    predicted, interval = {}, {}
    for i, phase in enumerate(forecast.targets):
        field = forecast.displacements[i]
        at = points.clone()
        for _ in range(INVERSION_STEPS):  # where x + u(x) is the point of the reference phase
            at = points - sample_field(field.data, field.grid, at)
        predicted[phase.label] = float((at - points)[:, 2].median())
        if forecast.uncertainty is not None:
            sd = sample_field(forecast.uncertainty[i][None].expand(3, -1, -1, -1), field.grid, at)[:, 0]
            interval[phase.label] = Z_80 * float(sd.median())
    return {**found, "definition": DOME, "predicted": predicted, "interval": interval}


def _moving_region(forecast: Forecast, reference: Phase, body: MaskVolume) -> dict[str, Any] | None:
    if forecast.displacements is None or not body.any():
        return None
    si = [-f.data[2].detach().cpu()[body] for f in forecast.displacements]
    size = torch.stack([s.abs() for s in si]).mean(dim=0)
    most = size.topk(max(1, size.numel() // 20)).indices
    labels = [p.label for p in forecast.targets]
    interval: Mapping[str, float] = {}
    if forecast.uncertainty is not None:
        sd = [float(u.detach().cpu()[body][most].mean()) for u in forecast.uncertainty]
        interval = {label: Z_80 * value for label, value in zip(labels, sd, strict=True)}
    return {
        "definition": REGION,
        "reference": reference.label,
        "observed": {reference.label: 0.0},
        "truth": {},
        "predicted": {label: float(s[most].mean()) for label, s in zip(labels, si, strict=True)},
        "interval": interval,
    }


def _dome_points(volume: Volume, lung: MaskVolume, columns: MaskVolume) -> torch.Tensor:
    """World points (LPS, mm), shape (n, 3), of the floor of the lungs in the dome's columns."""
    upright = _upright(lung.cpu().numpy(), volume)
    lowest = upright[:, columns.numpy()].argmax(axis=0)
    axis = slice_axis(volume.grid)
    if volume.grid.index_to_world_matrix[2, 2 - axis] < 0:
        lowest = volume.grid.shape[axis] - 1 - lowest
    index = np.insert(np.argwhere(columns.numpy()), axis, lowest, axis=1)[:, ::-1]
    step = max(1, len(index) // MOST_POINTS)
    return volume.grid.index_to_world(torch.from_numpy(index[::step].astype(np.float32)))


def _band(volume: Volume, points: torch.Tensor, columns: MaskVolume) -> MaskVolume:
    """The part of the dome's columns that lies within reach of the dome, on the volume's grid."""
    axis = slice_axis(volume.grid)
    step = abs(float(volume.grid.index_to_world_matrix[2, 2 - axis]))
    at = volume.grid.world_to_index(points)[:, 2 - axis]
    reach = REACH_MM / step
    index = torch.arange(volume.grid.shape[axis], dtype=torch.float32)
    near = (index >= at.min() - reach) & (index <= at.max() + reach)
    shape = [1, 1, 1]
    shape[axis] = -1
    return near.reshape(shape) & columns.unsqueeze(axis)


def _heights(
    phases: Sequence[Phase], volumes: Sequence[Volume], band: MaskVolume, columns: MaskVolume, base: Array
) -> dict[str, float]:
    found = {}
    for phase, volume in zip(phases, volumes, strict=True):
        difference = _height(volume, band, columns) - base
        difference = difference[np.isfinite(difference)]
        if difference.size:
            found[phase.label] = float(np.median(difference))
    return found


def _height(volume: Volume, band: MaskVolume, columns: MaskVolume) -> Array:
    air = (volume.data.detach().cpu() < LUNG_HU) & band
    return dome_heights(volume, air, columns)


def _upright(values: Array, volume: Volume) -> Array:
    axis = slice_axis(volume.grid)
    first = np.moveaxis(values, axis, 0)
    return first if volume.grid.index_to_world_matrix[2, 2 - axis] > 0 else first[::-1]
