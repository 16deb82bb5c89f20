"""The channels whose squared differences a registration makes small."""

import torch
import torch.nn.functional as F
from torch import Tensor

from rtmotion.types import ScalarVolume

HU_WINDOW = (-1000.0, 100.0)
"""Below: air outside and artefacts; above: bone and contrast, which would outweigh the lung."""

HU_UNIT = 100.0
"""A difference of this many HU counts 1."""


def box_mean(image: Tensor, radius: int) -> Tensor:
    """The mean over a cube of side 2·radius + 1 voxels, smaller at the border; shape (n, c, z, y, x) kept."""
    for axis in (2, 3, 4):
        reach = min(radius, image.shape[axis] - 1)
        if reach > 0:
            size, padding = [1, 1, 1], [0, 0, 0]
            size[axis - 2], padding[axis - 2] = 2 * reach + 1, reach
            image = F.avg_pool3d(image, size, 1, padding, count_include_pad=False)
    return image


def channels(hu: ScalarVolume, *, hu_weight: float, local_weight: float, radius: int, noise: float) -> Tensor:
    """The windowed HU, and the same standardised by its local mean and standard deviation.

    Where two images are locally standardised, half their mean squared difference is 1 − local NCC: the second
    channel gives the local correlation at the price of a squared difference, since the moving one is standardised
    once, before it is warped. Warping before or after standardising differs by the local change of scale only.

    Args:
        hu: HU, shape (z, y, x).
        hu_weight: Weight of the squared difference of HU, in units of 100 HU.
        local_weight: Weight of the squared difference of the standardised image.
        radius: Half width of the cube of the local mean, voxels.
        noise: HU; a local contrast well below it does not count.

    Returns:
        Shape (1, channels, z, y, x), each channel times the root of its weight; channels of weight 0 are left out.
    """
    image = hu.clamp(*HU_WINDOW)[None, None] / HU_UNIT
    found = []
    if hu_weight > 0:
        found.append(hu_weight**0.5 * image)
    if local_weight > 0:
        mean = box_mean(image, radius)
        variance = (box_mean(image * image, radius) - mean * mean).clamp_min(0) + (noise / HU_UNIT) ** 2
        found.append(local_weight**0.5 * (image - mean) * torch.rsqrt(variance))
    return torch.cat(found, dim=1)
