"""How far the spread of drawn samples is from what it should be: a factor learned on patients of the validation.

Samples of a network that was trained briefly differ by too little, or by noise that it has not learned to take off. One
factor for all voxels makes the 80 % interval hold as often as it says, as far as the next patient is like those of the
validation (the idea is that of split conformal prediction: Lei et al., JASA 113(523), 2018). What a scan shows differs
from the anatomy by its noise as well, which is estimated on the observed phases of the patient at hand.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rtmotion.types import AnyVolume

LEVEL = 0.8
HALF_OF_LEVEL = 1.2816
"""The interval that is made right, and its half width in standard deviations of a normal distribution."""

SOFT_TISSUE_HU = (-150.0, 150.0)
"""Where noise is looked for: even tissue."""

SD_OF_MEDIAN = 1.4826
"""A normal distribution's standard deviation over the median of its absolute values."""

LARGEST = 100.0
BISECTIONS = 40


def sample_sd(samples: Tensor) -> Tensor:
    """Standard deviation of what a further sample would be from the mean of the others, over the first axis."""
    return ((1 + 1 / len(samples)) * samples.var(dim=0)).sqrt()


def scan_noise(hu: AnyVolume) -> float:
    """Standard deviation of the noise of a scan, HU: how voxels of soft tissue differ from their neighbours along x.

    The median of absolute second differences, which edges hardly move; after Immerkær, CVIU 64(2), 1996. Noise that
    goes together from voxel to voxel is underestimated. A volume without soft tissue has 0.

    Args:
        hu: Shape (z, y, x).
    """
    values = hu.detach().float()
    if values.shape[-1] < 3:
        return 0.0
    middle = values[..., 1:-1]
    tissue = (middle > SOFT_TISSUE_HU[0]) & (middle < SOFT_TISSUE_HU[1])
    off = (middle - (values[..., :-2] + values[..., 2:]) / 2)[tissue].abs()
    return float(SD_OF_MEDIAN * off.median() / math.sqrt(1.5)) if len(off) else 0.0


def widening(errors: Sequence[Tensor], spreads: Sequence[Tensor], noises: Sequence[float]) -> float:
    """The factor on a spread with which its 80 % intervals hold 80 % of the truth.

    Args:
        errors: Absolute errors, one tensor a patient, any shape.
        spreads: Standard deviations between samples, same shapes and unit.
        noises: Standard deviation of the scan's noise, one a patient, same unit.

    Returns:
        0 where the noise alone explains the errors, at most 100.
    """
    variance = torch.cat([torch.full_like(e, n * n).flatten() for e, n in zip(errors, noises, strict=True)])
    error, spread = (torch.cat([t.flatten() for t in ts]) for ts in (errors, spreads))

    def held(factor: float) -> float:
        return float((error <= HALF_OF_LEVEL * (variance + (factor * spread).square()).sqrt()).double().mean())

    low, high = 0.0, LARGEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if held(middle) >= LEVEL else (middle, high)
    return high
