"""Analytic sequences that are small enough to be scored in milliseconds."""

import math
from collections.abc import Sequence

import torch

from rtmotion.field import DisplacementField, world_coordinates
from rtmotion.forecasting import Forecast
from rtmotion.grid import Grid
from rtmotion.sequence import BreathingTrace, Phase, PhaseSequence, Volume

GRID = Grid((24, 20, 16), (4.0, 4.0, 5.0), (-46.0, -38.0, 10.0))
AMPLITUDE_MM = 6.0


def tumour_centre(fraction: float) -> torch.Tensor:
    """Where the tumour's centre is, LPS mm, shape (3,): most superior at fraction 0.5, with hysteresis along AP."""
    angle = 2 * math.pi * fraction
    return torch.tensor([2.0, -4.0 + 3.0 * math.sin(angle), 46.0 - AMPLITUDE_MM * math.cos(angle)])


def chest(fraction: float, grid: Grid = GRID, seed: int = 0) -> torch.Tensor:
    """HU of an elliptic body with one lung of moving texture and a moving tumour; air outside. Float32, (z, y, x)."""
    x, y, z = world_coordinates(grid)
    centre = tumour_centre(fraction)
    shift = float(centre[2]) - 46.0
    body = (x / 42) ** 2 + (y / 34) ** 2 < 1
    lung = (x / 30) ** 2 + (y / 24) ** 2 < 1
    texture = 60 * torch.sin(0.31 * x + 0.2 * seed) * torch.cos(0.27 * y) + 50 * torch.sin(0.25 * (z - shift))
    distance = torch.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
    inside = -800 + texture + (840 - texture) * torch.sigmoid((12.0 - distance) / 1.5)
    return torch.where(lung, inside, torch.where(body, torch.tensor(40.0), torch.tensor(-1000.0)))


def tumour_mask(fraction: float, grid: Grid = GRID) -> torch.Tensor:
    """The tumour's voxels, bool, (z, y, x)."""
    centre = tumour_centre(fraction)
    return ((world_coordinates(grid) - centre[:, None, None, None]) ** 2).sum(dim=0) < 12.0**2


def breathing(n: int = 10, grid: Grid = GRID, seed: int = 0) -> PhaseSequence:
    """A whole cycle of n phases with a landmark at the tumour's centre, one beside it, and the tumour's mask."""
    phases = tuple(Phase(i / n) for i in range(n))
    beside = torch.tensor([5.0, 0.0, 0.0])
    return PhaseSequence(
        phases,
        tuple(Volume(chest(p.fraction, grid, seed).to(torch.int16), grid) for p in phases),
        {p.label: torch.stack([tumour_centre(p.fraction), tumour_centre(p.fraction) + beside]) for p in phases},
        {"tumour": {p.label: tumour_mask(p.fraction, grid) for p in phases}},
    )


def shift_field(fraction: float, reference: float, grid: Grid = GRID) -> DisplacementField:
    """The field from a phase (fixed) to the reference (moving) that is exact for the tumour: one shift everywhere."""
    shift = tumour_centre(reference) - tumour_centre(fraction)
    return DisplacementField(shift[:, None, None, None].expand(3, *grid.shape).contiguous(), grid)


class Shifted:
    """A forecaster that knows how the tumour moves, and carries the first observed phase along."""

    name = "shifted"

    def __init__(self, uncertainty: float | None = None) -> None:
        self.uncertainty = uncertainty

    def forecast(
        self, observed: PhaseSequence, targets: Sequence[Phase], trace: BreathingTrace | None = None
    ) -> Forecast:
        first, grid = observed.phases[0], observed.grid
        fields = tuple(shift_field(t.fraction, first.fraction, grid) for t in targets)
        volumes = tuple(Volume(f.warp(observed.volumes[0].hu), grid) for f in fields)
        sd = None if self.uncertainty is None else tuple(torch.full(grid.shape, self.uncertainty) for _ in targets)
        return Forecast(self.name, tuple(targets), volumes, first, fields, sd, seconds={"shift": 0.1})
