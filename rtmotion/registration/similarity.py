"""Similarity of two volumes, made for the inner loop of a registration."""

import torch
import torch.nn.functional as F
from torch import Tensor


def box_mean(image: Tensor, radius: int) -> Tensor:
    """The mean over a cube of side 2·radius + 1 voxels, smaller at the border; shape (n, c, z, y, x) kept."""
    for axis in range(3):
        if image.shape[2 + axis] == 1:
            continue
        size, padding = [1, 1, 1], [0, 0, 0]
        r = min(radius, image.shape[2 + axis] - 1)
        size[axis], padding[axis] = 2 * r + 1, r
        image = F.avg_pool3d(image, size, 1, padding, count_include_pad=False)
    return image


def local_ncc(fixed: Tensor, warped: Tensor, radius: int, floor: float) -> Tensor:
    """Local normalised cross-correlation, between -1 and 1.

    Args:
        fixed: Shape (1, 1, z, y, x).
        warped: The same shape.
        radius: Half width of the cubic window, voxels.
        floor: Standard deviation of noise, in the unit of the images: structures well below it do not count.

    Returns:
        Shape (1, 1, z, y, x).
    """
    moments = box_mean(torch.cat([fixed, warped, fixed * fixed, warped * warped, fixed * warped], dim=1), radius)
    mean_f, mean_w, square_f, square_w, product = moments.split(1, dim=1)
    variance_f = (square_f - mean_f * mean_f).clamp_min(0) + floor**2
    variance_w = (square_w - mean_w * mean_w).clamp_min(0) + floor**2
    return (product - mean_f * mean_w) * torch.rsqrt(variance_f * variance_w)
