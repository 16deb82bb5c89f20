"""Pairs and sequences of volumes whose motion is known, on a grid that is oblique and anisotropic."""

import math

import torch

from rtmotion.field import exp, gaussian_smooth, warp, world_coordinates
from rtmotion.grid import Grid
from rtmotion.sequence import Phase, PhaseSequence, Volume

ANGLE = math.radians(20)
# a turn about the patient's long axis, with the index axes of row and column exchanged
OBLIQUE = (-math.sin(ANGLE), math.cos(ANGLE), 0.0, math.cos(ANGLE), math.sin(ANGLE), 0.0, 0.0, 0.0, -1.0)
GRID = Grid((40, 36, 24), (2.0, 2.0, 3.0), (-30.0, 12.0, 50.0), OBLIQUE)


def texture(grid: Grid = GRID, seed: int = 0) -> torch.Tensor:
    """Blobs of about 5 mm, lung HU."""
    noise = torch.randn(grid.shape, generator=torch.Generator().manual_seed(seed))
    smooth = gaussian_smooth(noise, [5.0 / s for s in grid.spacing])
    return -500 + 150 * smooth / smooth.std()


def motion(height: float = 1.0, grid: Grid = GRID) -> torch.Tensor:
    """A smooth displacement of up to about 7 mm times the height, mm, LPS; no two components are alike."""
    x = world_coordinates(grid) - world_coordinates(grid).mean(dim=(1, 2, 3), keepdim=True)
    bump = height * torch.exp(-x.square().sum(dim=0) / (2 * 22.0**2))
    return exp(torch.stack([3 * bump, -2 * bump, 6 * bump]), grid)


def pair() -> tuple[Volume, Volume, torch.Tensor]:
    """Fixed, moving, and the displacement from fixed to moving."""
    moving, truth = texture(), motion()
    return Volume(warp(moving, truth, GRID), GRID), Volume(moving, GRID), truth


def sequence(heights: tuple[float, ...]) -> PhaseSequence:
    """Phases whose displacement to the texture is `motion(height)`."""
    reference = texture()
    volumes = tuple(Volume(warp(reference, motion(h), GRID), GRID) for h in heights)
    return PhaseSequence(tuple(Phase(i / 10) for i in range(len(heights))), volumes)


def inner(field: torch.Tensor, margin: int = 5) -> torch.Tensor:
    """A field without its border."""
    return field[..., margin:-margin, margin:-margin, margin:-margin]


def mean_error(found: torch.Tensor, truth: torch.Tensor) -> float:
    """The mean length of the difference away from the border, mm."""
    return float(inner(found - truth).norm(dim=0).mean())
