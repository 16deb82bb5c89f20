"""Branching trees: vessels and airways that reach the periphery of an organ."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

FloatArray = npt.NDArray[np.float64]

MURRAY = 3.0
"""The radii at a bifurcation obey r₀³ = r₁³ + r₂³ (Murray, Proc. Natl. Acad. Sci. 1926, doi 10.1073/pnas.12.3.207)."""


@dataclass(frozen=True)
class Tree:
    """A tree as round cones.

    Attributes:
        start: Beginning of each segment, mm, shape (n, 3).
        end: Its end.
        start_radius: Radius at the beginning, mm, shape (n,).
        end_radius: Radius at the end.
        forks: Points where a branch divides in two, mm, shape (m, 3).
        fork_radius: Radius of the parent there, mm, shape (m,).
    """

    start: FloatArray
    end: FloatArray
    start_radius: FloatArray
    end_radius: FloatArray
    forks: FloatArray
    fork_radius: FloatArray

    def shifted(self, side: FloatArray, grow: float, smallest: float) -> "Tree":
        """A companion tree beside this one: the airways beside the arteries.

        Args:
            side: Direction in which it lies, shape (3,).
            grow: Its radius relative to this tree's.
            smallest: Segments whose radius would be smaller are left out, mm.
        """
        keep = self.end_radius * grow > smallest

        def moved(points: FloatArray, radius: FloatArray) -> FloatArray:
            return np.asarray(points[keep] + side * (radius[keep] * (1 + grow) + 0.7)[:, None])

        return Tree(
            moved(self.start, self.start_radius),
            moved(self.end, self.end_radius),
            self.start_radius[keep] * grow,
            self.end_radius[keep] * grow,
            np.empty((0, 3)),
            np.empty(0),
        )

    def tensors(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Start, end and radii as float32 tensors, for `Canvas.capsules`."""
        start, end, first, last = (
            torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32)).to(device)
            for a in (self.start, self.end, self.start_radius, self.end_radius)
        )
        return start, end, first, last


def join(trees: list[Tree]) -> Tree:
    """Several trees as one."""
    return Tree(*(np.concatenate([getattr(t, name) for t in trees]) for name in Tree.__dataclass_fields__))


def grow(
    rng: np.random.Generator, root: FloatArray, groups: list[FloatArray], tip_radius: float, cap: float = 9.0
) -> Tree:
    """Grows a tree from a root to all targets: each branch divides what it serves in two.

    Args:
        rng: The source of randomness.
        root: Where it begins, shape (3,), mm.
        groups: Targets of each lobe, shapes (n, 3), mm; every lobe has a branch of its own.
        tip_radius: Radius at the targets, mm.
        cap: Largest radius, mm.
    """
    starts: list[FloatArray] = []
    ends: list[FloatArray] = []
    first: list[float] = []
    last: list[float] = []
    forks: list[FloatArray] = []
    fork_radius: list[float] = []
    total = sum(len(g) for g in groups)
    stack = [(np.asarray(root, dtype=float), min(cap, _radius(total, tip_radius)), g) for g in groups if len(g)]
    while stack:
        point, before, targets = stack.pop()
        n = len(targets)
        radius = min(cap, before, _radius(n, tip_radius))
        end = targets[0] if n == 1 else point + rng.uniform(0.3, 0.5) * (targets.mean(axis=0) - point)
        # a branch is bent: two pieces through a point beside its middle
        way = end - point
        length = float(np.sqrt(way @ way))
        middle = point + 0.5 * way + rng.normal(0, 0.06, 3) * length
        half = 0.5 * (before + radius) if before < 1.4 * radius else radius
        tip = radius if n > 1 else 0.7 * radius
        starts += [point, middle]
        ends += [middle, end]
        first += [half, radius]
        last += [radius, tip]
        if n > 1:
            forks.append(end)
            fork_radius.append(radius)
            axis = rng.normal(0, 1, 3) * (targets.std(axis=0) ** 2 + 1e-6)
            order = np.argsort(targets @ axis)
            cut = int(np.clip(round(n * rng.uniform(0.25, 0.75)), 1, n - 1))
            stack.append((end, radius, targets[order[:cut]]))
            stack.append((end, radius, targets[order[cut:]]))
    return Tree(
        np.array(starts).reshape(-1, 3),
        np.array(ends).reshape(-1, 3),
        np.array(first),
        np.array(last),
        np.array(forks).reshape(-1, 3),
        np.array(fork_radius),
    )


def _radius(targets: int, tip: float) -> float:
    return float(tip * targets ** (1 / MURRAY))


def polyline(points: list[tuple[float, float, float]], radii: list[float]) -> Tree:
    """A tube through points."""
    p = np.asarray(points, dtype=float)
    r = np.asarray(radii, dtype=float)
    return Tree(p[:-1], p[1:], r[:-1], r[1:], np.empty((0, 3)), np.empty(0))


def spline(points: list[tuple[float, float, float]], radii: list[float], pieces: int = 6) -> Tree:
    """A smooth tube through points (Catmull–Rom)."""
    p = np.asarray(points, dtype=float)
    padded = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, 1, pieces, endpoint=False)[:, None]
    curve = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(padded[:-3], padded[1:-2], padded[2:-1], padded[3:], strict=True)
    ]
    line = np.concatenate([*curve, p[-1:]])
    width = np.interp(np.linspace(0, len(p) - 1, len(line)), np.arange(len(p)), radii)
    return Tree(line[:-1], line[1:], width[:-1], width[1:], np.empty((0, 3)), np.empty(0))
