"""The volume that the anatomy is painted on: HU, lung mass and labels at end-exhale, and brushes for simple shapes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

LABELS: dict[str, int] = {
    "outside": 0,
    "soft_tissue": 1,
    "lung_left": 2,
    "lung_right": 3,
    "heart": 4,
    "liver": 5,
    "tumour": 6,
    "bones": 7,
    "airways": 8,
    "aorta": 9,
    "stomach": 10,
    "spleen": 11,
    "kidneys": 12,
}
"""Label values; `soft_tissue` is all inside the skin that has no name of its own."""

Box = tuple[slice, slice, slice]
CHUNK = 4_000_000
"""Voxels that a brush computes at once: bounds the memory."""


@dataclass
class Canvas:
    """An axis-aligned volume being painted.

    Attributes:
        x: Positions of the columns, mm, shape (1, 1, X).
        y: Positions of the rows, mm, shape (1, Y, 1).
        z: Positions of the slices, mm, shape (Z, 1, 1).
        spacing: Voxel size (x, y, z), mm.
        hu: HU at end-exhale, shape (Z, Y, X).
        mass: The part of HU + 1000 that is lung parenchyma and thins out in inhalation, shape (Z, Y, X).
        labels: uint8, values of `LABELS`, shape (Z, Y, X).
    """

    x: Tensor
    y: Tensor
    z: Tensor
    spacing: tuple[float, float, float]
    hu: Tensor
    mass: Tensor
    labels: Tensor

    @property
    def edge(self) -> float:
        """Width over which surfaces pass from outside to inside, mm: about one voxel."""
        return 1.1 * math.prod(self.spacing) ** (1 / 3)

    @property
    def device(self) -> torch.device:
        """Where the volume lies."""
        return self.hu.device

    def occupancy(self, distance: Tensor) -> Tensor:
        """Part of a voxel that is inside a surface, from the signed distance (mm, negative inside)."""
        return (0.5 - distance / self.edge).clamp_(0, 1)

    def box(self, low: Sequence[float], high: Sequence[float]) -> Box | None:
        """The voxels between two corners (x, y, z), mm; None where there are none."""
        slices = []
        for axis, a, b in zip((self.x, self.y, self.z), low, high, strict=True):
            line = axis.reshape(-1)
            first, step = float(line[0]), float(line[1] - line[0])
            start = max(0, int(np.ceil((a - first) / step)))
            stop = min(len(line), int(np.floor((b - first) / step)) + 1)
            if stop <= start:
                return None
            slices.append(slice(start, stop))
        return (slices[2], slices[1], slices[0])

    def axes(self, box: Box) -> tuple[Tensor, Tensor, Tensor]:
        """x, y and z of a box, broadcasting."""
        return self.x[:, :, box[2]], self.y[:, box[1]], self.z[box[0]]

    def paint(self, occupancy: Tensor, value: Tensor | float, label: str | None = None, box: Box | None = None) -> None:
        """Blends a tissue in: HU where the occupancy is 1, the old HU where it is 0."""
        where: Box = box or (slice(None), slice(None), slice(None))
        hu = self.hu[where]
        hu += occupancy * (value - hu)
        self.mass[where] *= 1 - occupancy
        if label is not None:
            self.labels[where][occupancy > 0.5] = LABELS[label]

    def ellipsoid(
        self,
        centre: Sequence[float],
        radii: Sequence[float],
        value: Tensor | float,
        label: str | None = None,
        *,
        rotation: npt.NDArray[np.float64] | None = None,
        only: Tensor | None = None,
        wobble: Tensor | None = None,
    ) -> None:
        """Paints an ellipsoid; `only` is an occupancy to stay inside of, `wobble` mm added to the distance."""
        reach = max(radii) * 1.15 + 2 * self.edge
        box = self.box([c - reach for c in centre], [c + reach for c in centre])
        if box is None:
            return
        distance = self.ellipsoid_distance(box, centre, radii, rotation)
        if wobble is not None:
            distance = distance + wobble[box]
        occupancy = self.occupancy(distance)
        if only is not None:
            occupancy = occupancy * only[box]
        self.paint(occupancy, value[box] if isinstance(value, Tensor) else value, label, box)

    def ellipsoid_distance(
        self,
        box: Box,
        centre: Sequence[float],
        radii: Sequence[float],
        rotation: npt.NDArray[np.float64] | None = None,
    ) -> Tensor:
        """Signed distance to an ellipsoid, first order, mm."""
        x, y, z = self.axes(box)
        d = (x - centre[0], y - centre[1], z - centre[2])
        turn = np.eye(3) if rotation is None else rotation
        k = g = torch.zeros((), device=self.device)
        for row, radius in zip(turn, radii, strict=True):
            component = (float(row[0]) * d[0] + float(row[1]) * d[1] + float(row[2]) * d[2]) / radius
            k = k + component * component
            g = g + (component / radius) ** 2
        return (k - k.sqrt()) / g.sqrt().clamp_min(1e-6)

    def capsules(
        self, start: Tensor, end: Tensor, start_radius: Tensor, end_radius: Tensor, sharpness: float = 1.0
    ) -> Tensor:
        """Occupancy of round cones between points, at any size, thinner than a voxel included.

        Args:
            start: Shape (n, 3), mm.
            end: Shape (n, 3), mm.
            start_radius: Shape (n,), mm.
            end_radius: Shape (n,), mm.
            sharpness: Above 1 narrows the blur of the edge.

        Returns:
            Shape (Z, Y, X), the largest occupancy of any capsule.
        """
        shape = self.hu.shape
        flat = torch.zeros(self.hu.numel(), device=self.device)
        spacing = torch.tensor(self.spacing, device=self.device)
        origin = torch.stack([self.x.reshape(-1)[0], self.y.reshape(-1)[0], self.z.reshape(-1)[0]])
        limit = torch.tensor([shape[2], shape[1], shape[0]], device=self.device)
        sigma = 0.5 * self.edge / sharpness
        start, end, start_radius, end_radius = _short_pieces(start, end, start_radius, end_radius, 2 * self.edge)
        middle = torch.round(((start + end) / 2 - origin) / spacing).long()
        reach = torch.maximum(start_radius, end_radius) + 1.6 * sigma + 0.5 * (end - start).norm(dim=1)
        half = torch.ceil(reach[:, None] / spacing + 0.5).long().amax(dim=1)
        visible = ((middle + half[:, None] >= 0) & (middle - half[:, None] < limit)).all(dim=1)
        for h in torch.unique(half[visible]).tolist():
            line = torch.arange(-h, h + 1, device=self.device)
            offset = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), dim=-1).reshape(-1, 3)
            members = (visible & (half == h)).nonzero()[:, 0]
            for part in members.split(max(1, CHUNK // len(offset))):
                index = middle[part, None, :] + offset
                valid = ((index >= 0) & (index < limit)).all(dim=-1)
                place = index * spacing + origin - start[part, None, :]
                along = (end[part] - start[part])[:, None, :]
                t = ((place * along).sum(-1) / (along * along).sum(-1).clamp_min(1e-9)).clamp(0, 1)
                distance = (place - t[..., None] * along).norm(dim=-1)
                radius = start_radius[part, None] + t * (end_radius - start_radius)[part, None]
                occupancy = (1 - torch.exp(-0.5 * (radius / sigma) ** 2)) * _edge(distance, radius, sigma)
                linear = (index[..., 2] * shape[1] + index[..., 1]) * shape[2] + index[..., 0]
                valid &= occupancy > 0.004
                flat.scatter_reduce_(0, linear[valid], occupancy[valid], "amax")
        return flat.reshape(shape)


def _edge(distance: Tensor, radius: Tensor, sigma: float) -> Tensor:
    """Profile across a blurred cylinder, 1 on its axis: a Gaussian where thin, a smooth step where thick."""
    inner = (radius - 1.2 * sigma).clamp_min(0)
    outer = radius + 1.6 * sigma
    t = ((outer - distance) / (outer - inner)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def _short_pieces(
    start: Tensor, end: Tensor, start_radius: Tensor, end_radius: Tensor, length: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cuts capsules into pieces not longer than `length` (or their own radius), so that their boxes are small."""
    longest = torch.maximum(torch.full_like(start_radius, length), 1.5 * torch.maximum(start_radius, end_radius))
    count = torch.ceil((end - start).norm(dim=1) / longest).long().clamp_min(1)
    which = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    first = torch.cumsum(count, 0) - count
    step = (torch.arange(len(which), device=count.device) - first[which]) / count[which]
    after = step + 1.0 / count[which]
    direction, growth = (end - start)[which], (end_radius - start_radius)[which]
    return (
        start[which] + step[:, None] * direction,
        start[which] + after[:, None] * direction,
        start_radius[which] + step * growth,
        start_radius[which] + after * growth,
    )


def noise_octave(rng: np.random.Generator, canvas: Canvas, length: float) -> Tensor:
    """Smooth noise of unit variance with a correlation length in mm, shape (Z, Y, X)."""
    shape = canvas.hu.shape
    coarse = [max(4, int(np.ceil(n * s / length)) + 3) for n, s in zip(shape, canvas.spacing[::-1], strict=True)]
    coarse = [min(c, n) for c, n in zip(coarse, shape, strict=True)]
    seed = torch.from_numpy(rng.standard_normal(coarse, dtype=np.float32)).to(canvas.device)
    smooth = F.interpolate(seed[None, None], size=tuple(shape), mode="trilinear", align_corners=True)[0, 0]
    return smooth / 0.58  # linear interpolation in three directions leaves about a third of the variance
