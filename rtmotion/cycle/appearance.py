"""The image of a forecast: observed phases warped onto the predicted anatomy, blended, with the density of the lung.

Which observed phases: those near to the target in motion, which is near in amplitude *and* rate, since the distance is
taken between whole fields. Blending several averages their noise, as motion-compensated averaging of a 4D CT does. The
less is known of the target's motion, the less it matters which phase is near, and the more evenly all count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rtmotion.cycle.waveforms import Array
from rtmotion.field import compose, exp, gaussian_smooth, jacobian_determinant, resample, warp
from rtmotion.grid import Grid
from rtmotion.sequence import Volume
from rtmotion.types import ScalarVolume, VectorBatch, VectorVolume


@dataclass(frozen=True)
class AppearanceConfig:
    """How the observed phases make the image.

    Attributes:
        sources: At most this many observed phases are blended; 1 takes the nearest alone, None all that count.
        reach: Phases this far away in motion, in units of the largest distance between observed phases, count e^-½;
            chosen on generated patients that no table shows.
        density: Whether the lung's density follows its volume (mass is kept: (HU + 1000) scales with the Jacobian).
        parenchyma: HU between which lung tissue counts as parenchyma; the density change fades out over 100 HU
            outside. Vessels, airways and tumours keep their HU.
        density_smoothing: The volume change is averaged over this distance within the parenchyma, mm (standard
            deviation): that of single voxels is noise of the registration.
    """

    sources: int | None = None
    reach: float = 0.25
    density: bool = True
    parenchyma: tuple[float, float] = (-950.0, -600.0)
    density_smoothing: float = 10.0


def blend_weights(gram: Array, products: Array, config: AppearanceConfig, doubt: float = 0.0) -> Array:
    """How much each observed phase counts in the image of a target.

    Args:
        gram: Inner products of the observed velocities, mm² a voxel, shape (k, k).
        products: Inner products of the target's velocity with the observed ones, mm² a voxel, shape (k,).
        config: Reach and number of sources.
        doubt: Variance of the target's velocity, mm² a voxel; adds to the square of the reach.

    Returns:
        Shape (k,), sums to 1; zero for phases that are not used.
    """
    norms = np.diag(gram)
    distance = norms - 2 * np.asarray(products)  # squared, up to what all of them share
    largest = float(np.max(norms[:, None] + norms[None, :] - 2 * gram)) + 1e-30
    score = -0.5 * (distance - distance.min()) / (config.reach**2 * largest + doubt)
    weights = np.exp(score)
    weights[np.argsort(-weights, kind="stable")[config.sources or len(weights) :]] = 0.0
    weights[weights < 0.02 * weights.max()] = 0.0
    return np.asarray(weights / weights.sum())


def parenchyma_share(hu: ScalarVolume, config: AppearanceConfig) -> ScalarVolume:
    """How much of a voxel is taken as lung parenchyma, 0 to 1, from its HU."""
    low, high = config.parenchyma
    return ((hu - (low - 50.0)) / 100.0).clamp(0, 1) * (((high + 50.0) - hu) / 100.0).clamp(0, 1)


def render(
    target_velocity: VectorVolume,
    velocities: VectorBatch,
    velocity_grid: Grid,
    volumes: Sequence[Volume],
    weights: Array,
    config: AppearanceConfig,
) -> Tensor:
    """The predicted volume.

    Args:
        target_velocity: Target phase to reference, mm, LPS, on `velocity_grid`, shape (3, z, y, x).
        velocities: Observed phases to reference, shape (k, 3, z, y, x).
        velocity_grid: Grid of the velocities.
        volumes: The observed volumes, all on one grid.
        weights: Of the observed phases, shape (k,), see `blend_weights`.
        config: Density handling.

    Returns:
        HU, float32, on the volumes' grid.
    """
    grid = volumes[0].grid
    image = torch.zeros(grid.shape, device=target_velocity.device)
    to_reference = exp(target_velocity, velocity_grid)
    for i in np.flatnonzero(weights).tolist():
        # target -> reference -> observed phase i
        onto = compose(to_reference, exp(-velocities[i], velocity_grid), velocity_grid)
        warped = warp(volumes[i].hu.to(onto.device), resample(onto, velocity_grid, grid), grid)
        if config.density:
            warped = with_density(warped, grid, onto, velocity_grid, config)
        image += float(weights[i]) * warped
    return image


def with_density(
    warped: ScalarVolume, grid: Grid, displacement: VectorVolume, field_grid: Grid, config: AppearanceConfig
) -> ScalarVolume:
    """A warped volume whose lung tissue has kept its mass: HU + 1000 scales with the Jacobian, pooled over tissue.

    Args:
        warped: HU on `grid`.
        grid: Grid of the volume.
        displacement: The warp, mm, LPS, on `field_grid`, shape (3, z, y, x).
        field_grid: Grid of the warp.
        config: What is lung tissue, and over which distance the volume change is pooled.
    """
    share = parenchyma_share(warped, config)
    tissue = resample(share, grid, field_grid)
    sigma = [config.density_smoothing / s for s in field_grid.spacing]
    growth = torch.log(jacobian_determinant(displacement, field_grid).clamp(0.3, 3.0))
    pooled = gaussian_smooth(growth * tissue, sigma) / gaussian_smooth(tissue, sigma).clamp_min(0.02)
    return warped + share * (warped + 1000.0) * (resample(pooled, field_grid, grid).exp() - 1.0)
