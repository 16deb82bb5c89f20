"""A chest of boxes whose diaphragm moves by known amounts, and a forecast of it that knows them."""

import itertools
from typing import Any

import numpy as np
import torch

from rtmotion.field import DisplacementField
from rtmotion.forecasting import Forecast, Waveform
from rtmotion.grid import Grid
from rtmotion.sequence import Phase, PhaseSequence, Volume

RISE_MM = (0.0, 2.0, 4.0, 5.0, 4.0, 2.0)
"""How far the diaphragm has risen in each phase."""

EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>"
OBSERVED = 3


def every_direction() -> list[tuple[float, ...]]:
    """The 48 directions whose axes lie along the world's."""
    found = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            for axis, world in enumerate(order):
                matrix[world, axis] = signs[axis]
            found.append(tuple(matrix.reshape(-1).tolist()))
    return found


def chest(rise: float, size: tuple[int, int, int] = (40, 32, 36), spacing: float = 4.0) -> Volume:
    """Tissue with two lungs whose floor lies `rise` mm above its lowest position."""
    grid = Grid(size, (spacing,) * 3)
    x, y, z = (torch.arange(n) for n in size)
    z, y, x = torch.meshgrid(z, y, x, indexing="ij")
    hu = torch.full(grid.shape, -1000.0)
    hu[(x > 2) & (x < size[0] - 3) & (y > 2) & (y < size[1] - 3)] = 40.0
    inside = (y > 6) & (y < size[1] - 7) & (z < size[2] - 5)
    left = (x > size[0] // 2 + 1) & (x < size[0] - 6)
    right = (x > 5) & (x < size[0] // 2 - 2)
    # the share of lung in each voxel, so that the floor moves by less than a voxel
    share = (z + 0.5 - (10.0 + rise / spacing)).clamp(0, 1)
    lung = inside & (left | right)
    hu[lung] = (40.0 - 840.0 * share)[lung]
    hu[(x == size[0] - 8) & lung & (z > 20)] = -300.0  # something on the patient's left alone
    return Volume(hu, grid)


def sequence() -> PhaseSequence:
    """The six phases."""
    phases = tuple(Phase.of_percent(100 * i / len(RISE_MM)) for i in range(len(RISE_MM)))
    return PhaseSequence(phases, tuple(chest(rise) for rise in RISE_MM))


def forecast_of(observed: PhaseSequence, truth: PhaseSequence, *, fields: bool = True) -> Forecast:
    """A forecast that knows how far the diaphragm rises, and shows the last observed volume."""
    rises = RISE_MM[len(observed) :]
    grid = observed.grid
    displacements, uncertainty = [], []
    for rise in rises:
        data = torch.zeros(3, *grid.shape)
        data[2] = -rise  # where it was in the reference phase: below
        displacements.append(DisplacementField(data, grid))
        uncertainty.append(torch.full(grid.shape, 0.5))
    fraction = np.linspace(0, 1, 21)
    wave = 0.5 - 0.5 * np.cos(2 * np.pi * fraction)
    return Forecast(
        "shift",
        truth.phases,
        (observed.volumes[-1],) * len(truth),
        observed.phases[0] if fields else None,
        tuple(displacements) if fields else None,
        tuple(uncertainty) if fields else None,
        Waveform(fraction, wave, wave - 0.1, wave + 0.1, np.array([[0.0, 0.0], [0.3, 0.6]])) if fields else None,
        {"register": 1.5, EVIL: 0.2},
        (f"a warning with {EVIL}",),
        {"nothing": float("nan"), "array": np.arange(3), "text": EVIL},
    )


def rows_of(truth: PhaseSequence) -> list[dict[str, Any]]:
    """Metric rows as forecast.json has them."""
    return [
        {"phase": label, "region": region, "metric": "mae", "value": 10.0 + i, "unit": "HU"}
        for i, label in enumerate(truth.labels)
        for region in ("body", "lung")
    ]


def info() -> dict[str, Any]:
    """What the command line tells the report, with hostile texts."""
    return {"case": EVIL, "device": "cpu", "seed": 0, "options": {"trace": EVIL}, "versions": {"rtmotion": "0"}}
