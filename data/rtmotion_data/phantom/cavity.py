"""Where every voxel of the canvas lies with respect to the thoracic cavity: the ground that all organs stand on."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rtmotion_data.phantom.canvas import Canvas, noise_octave
from rtmotion_data.phantom.motion import BreathingMap
from rtmotion_data.phantom.patient import Build


@dataclass(frozen=True)
class Cavity:
    """Relative coordinates and distances of all voxels, shape (Z, Y, X) each.

    Attributes:
        u: Relative place to the left: -1 and 1 at the side walls.
        v: Relative place to posterior.
        back: Sine of the direction from the middle of the cavity: 1 at the spine, -1 at the sternum.
        wall: Distance from the cavity's wall, mm, negative inside, along the radius.
        depth: Depth below the lid, mm, shape (Z, 1, 1).
        dome: Depth of the diaphragm below the lid, mm.
        inner: Occupancy of the cavity.
        fine: Noise of unit variance, correlation length about 4 mm.
        middle: The same, about 11 mm.
        coarse: The same, about 32 mm.
    """

    u: Tensor
    v: Tensor
    back: Tensor
    wall: Tensor
    depth: Tensor
    dome: Tensor
    inner: Tensor
    fine: Tensor
    middle: Tensor
    coarse: Tensor


def survey(canvas: Canvas, breathing: BreathingMap, rng: np.random.Generator) -> Cavity:
    """Computes the relative coordinates of all voxels of a canvas, and noise for textures."""
    build = breathing.build
    depth = build.top - canvas.z
    u, v = breathing.relative(canvas.x, canvas.y, depth)
    u, v = u.expand_as(canvas.hu), v.expand_as(canvas.hu)
    r = (u * u + v * v).sqrt_().clamp_min_(1e-4)
    f = breathing.scale(depth)
    size = ((u * (build.half_width * f)) ** 2 + (v * (build.half_depth * f)) ** 2).sqrt_() / r
    wall = (r - breathing.wall_radius(u, v, r)) * size
    # above the lid there is no cavity: the distance grows upwards
    wall = torch.maximum(wall, -depth * 1.0)
    return Cavity(
        u=u.contiguous(),
        v=v.contiguous(),
        back=v / r,
        wall=wall,
        depth=depth,
        dome=breathing.dome(u, v),
        inner=canvas.occupancy(wall),
        fine=noise_octave(rng, canvas, 4.0),
        middle=noise_octave(rng, canvas, 11.0),
        coarse=noise_octave(rng, canvas, 32.0),
    )


@dataclass(frozen=True)
class Outline:
    """The skin, as a superellipse that changes with height; mm.

    Attributes:
        half_width: Half-width, shape (Z, 1, 1).
        front: y of the front.
        back: y of the back.
    """

    half_width: Tensor
    front: Tensor
    back: Tensor

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Signed distance to the skin, first order, mm; negative inside."""
        centre, half = (self.front + self.back) / 2, (self.back - self.front) / 2
        a, b = (x / self.half_width).abs(), ((y - centre) / half).abs()
        n = 2.5
        k = (a**n + b**n).clamp_min(1e-6)
        radius = k ** (1 / n)
        slope = ((a ** (n - 1) / self.half_width) ** 2 + (b ** (n - 1) / half) ** 2).sqrt() * radius ** (1 - n)
        return (radius - 1) / slope.clamp_min(1e-4)


def outline(build: Build, breathing: BreathingMap, z: Tensor) -> Outline:
    """The skin of a patient at the heights z (mm)."""
    s = build.top - z
    shoulders = torch.sigmoid((30 - s) / 16)
    waist = torch.sigmoid((s - build.height) / 35)
    width = build.half_width + build.wall + build.fat
    half_width = width * (1 + (0.14 if build.arms_up else 0.06) * shoulders) - 6 * waist
    size = breathing.scale(s)
    front = build.posterior - 2 * build.half_depth * size - 16 - 0.8 * build.fat
    back = build.posterior + 44 + 0.9 * build.fat - 10 * shoulders
    return Outline(half_width, front - 10 * waist * (1 + build.fat / 40), back)
