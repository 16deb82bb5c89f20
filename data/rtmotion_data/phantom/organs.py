"""Mediastinum and upper abdomen: heart, great vessels, gullet, liver, stomach, spleen, kidneys, bowel, fat."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rtmotion_data.phantom.canvas import Canvas
from rtmotion_data.phantom.cavity import Cavity
from rtmotion_data.phantom.motion import BreathingMap
from rtmotion_data.phantom.patient import Tissue
from rtmotion_data.phantom.trees import Tree, grow, join, spline

DIAPHRAGM = 3.0
"""Thickness of the diaphragm, mm."""


@dataclass(frozen=True)
class Mediastinum:
    """What the lungs leave free in the middle of the chest.

    Attributes:
        distance: Signed distance to its surface, mm, negative inside, shape (Z, Y, X).
        heart: Centre of the heart, mm.
        carina: Where the windpipe divides, mm.
        hila: The roots of the right and the left lung, mm.
    """

    distance: Tensor
    heart: tuple[float, float, float]
    carina: tuple[float, float, float]
    hila: tuple[tuple[float, float, float], tuple[float, float, float]]


def _rotation(tilt: float, turn: float) -> np.ndarray:
    """Rows: the axes of an ellipsoid whose first axis points to the left, forwards by `turn`, downwards by `tilt`."""
    first = np.array([np.cos(tilt) * np.cos(turn), -np.cos(tilt) * np.sin(turn), -np.sin(tilt)])
    second = np.cross([0.0, 0.0, 1.0], first)
    second /= np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)])


@dataclass(frozen=True)
class HeartShape:
    """Size and attitude of the heart."""

    radii: tuple[float, float, float]
    rotation: np.ndarray
    size: float


def place_mediastinum(
    canvas: Canvas, cavity: Cavity, breathing: BreathingMap, rng: np.random.Generator
) -> tuple[Mediastinum, HeartShape]:
    """Decides where heart, carina and hila lie, and computes the distance to the mediastinum's surface."""
    b = breathing.build
    size = float(np.clip(rng.normal(1.0, 0.1), 0.8, 1.3)) * b.half_width / 132
    shape = HeartShape(
        (66 * size, 43 * size, 47 * size), _rotation(rng.uniform(0.35, 0.75), rng.uniform(0.4, 0.9)), size
    )
    middle = b.posterior - b.half_depth
    central = float(breathing.dome(torch.tensor(0.12), torch.tensor(-0.3)))
    heart = (24.0 * size + float(rng.uniform(-3, 8)), middle - 0.32 * b.half_depth, b.top - central + 45 * size)
    carina = (
        float(rng.uniform(-5, 5)),
        b.posterior - 0.82 * b.half_depth,
        b.top - b.height * float(rng.uniform(0.36, 0.44)),
    )
    hila = (
        (-40.0 * b.half_width / 132, carina[1] + 4, carina[2] - 26),
        (40.0 * b.half_width / 132, carina[1] + 6, carina[2] - 18),
    )
    y, z = canvas.y, canvas.z
    column = 9 + 10 * torch.exp(-(((y - carina[1] - 12) / 34) ** 2)) + 5 * torch.exp(-(((b.top - z - 40) / 45) ** 2))
    shift = 7 * torch.sigmoid((carina[2] - z) / 30)
    distance = (canvas.x - shift).abs() - column - 3.0 * cavity.coarse
    pad = 4 + float(rng.uniform(0, 5))
    whole = (slice(None), slice(None), slice(None))
    radii = tuple(r + pad for r in shape.radii)
    distance = _union(distance, canvas.ellipsoid_distance(whole, heart, radii, shape.rotation), 12.0)
    atrium = (heart[0] - 38 * size, heart[1] + 12, heart[2] + 12)
    distance = _union(distance, canvas.ellipsoid_distance(whole, atrium, (30 * size, 32 * size, 40 * size)))
    fat_pad = (heart[0] + 42 * size, heart[1] - 26, heart[2] - 34 * size)
    distance = _union(distance, canvas.ellipsoid_distance(whole, fat_pad, (26, 24, 18)))
    _, cy, cz = carina
    knobs = [
        ((10, heart[1] + 12, 0.5 * (heart[2] + cz)), (40 * size, 30, 0.5 * (cz - heart[2]) + 14)),  # atria
        ((24, cy + 6, cz + 36), (18, 28, 15)),  # arch of the aorta
        ((27, cy - 20, cz - 10), (24, 24, 26)),  # pulmonary trunk
        ((-20, cy - 20, cz + 30), (16, 18, 60)),  # superior vena cava
        ((20, b.posterior - 0.3 * b.half_depth, cz - 70), (22, 20, 120)),  # descending aorta
        *(((0.8 * x, y, z), (17, 16, 22)) for x, y, z in hila),
    ]
    for centre, size_of_knob in knobs:
        distance = _union(distance, canvas.ellipsoid_distance(whole, centre, size_of_knob), 9.0)
    distance = distance + 1.2 * cavity.middle
    return Mediastinum(distance, heart, carina, hila), shape


def _union(a: Tensor, b: Tensor, soft: float = 6.0) -> Tensor:
    """Smooth union of two distances."""
    h = (0.5 + 0.5 * (b - a) / soft).clamp(0, 1)
    return torch.lerp(b, a, h) - soft * h * (1 - h)


def paint_abdomen(
    canvas: Canvas, cavity: Cavity, breathing: BreathingMap, tissue: Tissue, rng: np.random.Generator
) -> None:
    """Fills the cavity: fat, then below the domes the organs of the upper abdomen, then the diaphragm."""
    b = breathing.build
    below = (cavity.depth - cavity.dome) * 0.93
    canvas.paint(cavity.inner, tissue.fat + 12 + 9 * cavity.fine + 8 * cavity.middle, "soft_tissue")
    space = canvas.occupancy(2.5 - below) * canvas.occupancy(cavity.wall + 3.5)
    texture = tissue.texture * (3 * cavity.fine + 3 * cavity.middle)
    middle = b.posterior - b.half_depth
    top = b.top - b.height
    wobble = 4 * cavity.coarse
    # bowel and stomach first: liver and spleen press on them
    for _ in range(5):
        where = (rng.uniform(-60, 110), middle + rng.uniform(-60, 20), top - rng.uniform(75, 150))
        radius = rng.uniform(16, 30)
        gas = float(rng.random() < 0.5)
        value = torch.lerp(
            35 + texture,
            torch.full_like(texture, -960.0),
            gas * canvas.occupancy(canvas.y - where[1] + 4).expand_as(texture),
        )
        canvas.ellipsoid(where, (radius + 3, radius + 3, radius + 3), 42.0, "soft_tissue", only=space, wobble=wobble)
        canvas.ellipsoid(where, (radius, radius, radius), value, "soft_tissue", only=space, wobble=wobble)
    stomach = (58 + rng.uniform(-8, 8), middle - rng.uniform(5, 25), top - b.left_lower - rng.uniform(30, 48))
    radii = (rng.uniform(32, 44), rng.uniform(34, 48), rng.uniform(32, 46))
    level = stomach[1] - rng.uniform(-5, 30)
    filling = torch.lerp(22 + 3 * texture, torch.full_like(texture, -970.0), canvas.occupancy(canvas.y - level))
    canvas.ellipsoid(stomach, [r + 4 for r in radii], 45.0, "stomach", only=space, wobble=wobble)
    canvas.ellipsoid(stomach, radii, filling, "stomach", only=space, wobble=wobble)
    spleen = (0.66 * b.half_width, b.posterior - 0.55 * b.half_depth, top - b.left_lower - rng.uniform(38, 55))
    canvas.ellipsoid(spleen, (30, 42, 48), tissue.spleen + texture, "spleen", only=space, wobble=wobble)
    for side in (-1, 1):
        kidney = (side * 58.0, b.posterior - 26, top - 105 - (18 if side < 0 else 5))
        canvas.ellipsoid(kidney, (27, 25, 52), 32 + 0.8 * tissue.contrast + texture, "kidneys", only=space)
        canvas.ellipsoid(kidney, (10, 12, 24), tissue.fat, None, only=space)
    # the liver: everything under the right dome, thinning out to the left
    edge = rng.uniform(20, 55)
    depth = below.clamp_min(0)
    lower = depth - (rng.uniform(105, 150) - 0.75 * (canvas.x + 70).clamp_min(0))
    left = (canvas.x - edge + 0.25 * depth + 0.3 * (canvas.y - middle)) * 0.85
    liver = canvas.occupancy(torch.maximum(lower, left) + wobble + 3 - 0.1 * depth) * space
    canvas.paint(liver, tissue.liver + texture, "liver")
    anchor = np.array([-15.0, middle - 5, top - 70])
    goals = np.stack(
        [rng.uniform(-0.8 * b.half_width, 20, 60), middle + rng.uniform(-50, 55, 60), top - rng.uniform(8, 120, 60)], 1
    )
    vessels = grow(rng, anchor, [goals[:30], goals[30:]], 0.9, 6.0)
    occupied = canvas.capsules(*vessels.tensors(canvas.device)) * liver
    canvas.paint(occupied, tissue.liver + (35 + 0.2 * tissue.contrast if tissue.contrast else -13), "liver")
    sheet = canvas.occupancy((below - 0.5).abs() - DIAPHRAGM / 2) * canvas.occupancy(cavity.wall + 1)
    canvas.paint(sheet, tissue.muscle + texture, None)


def paint_mediastinum(
    canvas: Canvas,
    cavity: Cavity,
    breathing: BreathingMap,
    tissue: Tissue,
    place: Mediastinum,
    shape: HeartShape,
    rng: np.random.Generator,
) -> Tensor:
    """Heart, great vessels, gullet, lymph nodes; returns the occupancy of the aorta's course for the lungs' border."""
    b = breathing.build
    above = canvas.occupancy(cavity.depth - cavity.dome + 1.5) * canvas.occupancy(cavity.wall + 2)
    heart, size = place.heart, shape.size
    grain = tissue.texture * (3.5 * cavity.fine + 3 * cavity.middle)
    pool = tissue.blood + grain
    wall = tissue.muscle + 0.35 * tissue.contrast + grain
    wobble = 4.0 * cavity.coarse
    atrium = (heart[0] - 36 * size, heart[1] + 10, heart[2] + 12)
    canvas.ellipsoid(atrium, (26 * size, 28 * size, 36 * size), pool, "heart", only=above, wobble=wobble)
    left_atrium = (heart[0] - 10, heart[1] + 34 * size, heart[2] + 22 * size)
    canvas.ellipsoid(left_atrium, (32 * size, 20 * size, 24 * size), pool, "heart", only=above, wobble=wobble)
    canvas.ellipsoid(heart, shape.radii, wall, "heart", rotation=shape.rotation, only=above, wobble=wobble)
    axis, across = shape.rotation[0], shape.rotation[1]
    ventricle = np.array(heart) + 12 * size * axis + 12 * size * across
    canvas.ellipsoid(
        ventricle.tolist(), (36 * size, 19 * size, 22 * size), pool, "heart", rotation=shape.rotation, only=above
    )
    right = np.array(heart) - 6 * size * axis - 22 * size * across
    canvas.ellipsoid(
        right.tolist(), (40 * size, 15 * size, 30 * size), pool - 4, "heart", rotation=shape.rotation, only=above
    )
    groove = canvas.capsules(*_grooves(heart, shape).tensors(canvas.device)) * above
    canvas.paint(0.8 * groove, tissue.fat + 20, None)
    cx, cy, cz = place.carina
    root = (heart[0] - 14, heart[1] + 8, heart[2] + 36 * size)
    r = 13.0 * size * float(rng.uniform(0.9, 1.2))
    back = b.posterior - 0.3 * b.half_depth
    arch = [
        root,
        (root[0] - 8, cy - 26, cz + 18),
        (2.0, cy - 14, cz + 44),
        (22.0, cy + 10, cz + 36),
        (27.0, back - 6, cz + 8),
    ]
    aorta = spline(
        [*arch, (24.0, back, cz - 60), (14.0, back, b.top - b.height - 20), (8.0, back, b.top - b.height - 200)],
        [r * 1.15, r * 1.15, r * 1.05, r, r * 0.95, r * 0.88, r * 0.8, r * 0.75],
    )
    tubes: list[tuple[Tree, str | None, Tensor]] = [
        (
            spline(
                [(-24, cy - 24, cz + 75), (-24, cy - 22, cz + 20), (atrium[0] + 6, atrium[1] - 4, atrium[2] + 20)],
                [8, 10, 11],
            ),
            None,
            pool,
        ),
        (
            spline(
                [(heart[0] + 8, heart[1] - 8, heart[2] + 34 * size), (16, cy - 26, cz - 2), (20, cy - 6, cz - 8)],
                [14, 14, 12],
            ),
            None,
            pool,
        ),
        (
            spline(
                [(16, cy - 18, cz - 6), (-6, cy - 14, cz - 16), (place.hila[0][0] + 4, *place.hila[0][1:])], [12, 11, 9]
            ),
            None,
            pool,
        ),
        (spline([(18, cy - 12, cz - 4), (place.hila[1][0] - 4, *place.hila[1][1:])], [11, 9]), None, pool),
        (aorta, "aorta", pool),
        (spline([(-4, cy - 22, cz + 44), (-16, cy - 18, cz + 80), (-20, cy - 14, cz + 140)], [6.5, 6, 5]), None, pool),
        (spline([(10, cy - 12, cz + 44), (17, cy - 4, cz + 80), (22, cy - 2, cz + 140)], [5, 4.5, 4.5]), None, pool),
        (spline([(20, cy - 2, cz + 42), (28, cy + 4, cz + 80), (48, cy - 2, cz + 120)], [5, 5, 5]), None, pool),
        (
            spline(
                [
                    (3, cy + 14, cz + 140),
                    (6, cy + 15, cz),
                    (9, back - 14, cz - 70),
                    (22, back - 30, b.top - b.height - 30),
                ],
                [7, 7.5, 8, 8],
            ),
            None,
            30 + 2 * grain,
        ),
        (
            spline([(-12, heart[1] + 24, heart[2] - 20), (-16, heart[1] + 36, b.top - b.height - 90)], [13, 12]),
            None,
            pool - 8,
        ),
    ]
    inner = canvas.occupancy(torch.minimum(cavity.wall + 1, cavity.depth))
    course = torch.zeros_like(canvas.hu)
    for tree, label, value in tubes:
        occupied = canvas.capsules(*tree.tensors(canvas.device)) * inner
        canvas.paint(occupied, value, label)
        if label == "aorta":
            course = occupied
    nodes = rng.integers(3, 9)
    for _ in range(int(nodes)):
        where = (cx + rng.uniform(-22, 22), cy + rng.uniform(-30, 12), cz + rng.uniform(-30, 60))
        canvas.ellipsoid(
            where, rng.uniform(3, 6, 3).tolist(), tissue.muscle, None, only=canvas.occupancy(place.distance + 3)
        )
    return course


def _grooves(heart: tuple[float, float, float], shape: HeartShape) -> Tree:
    """The fat-filled grooves that part atria and ventricles."""
    axis, across, third = shape.rotation
    angle = np.linspace(0, 2 * np.pi, 13)
    base = np.array(heart) - 0.42 * shape.radii[0] * axis
    ring = base + 0.93 * (
        shape.radii[1] * np.cos(angle)[:, None] * across + shape.radii[2] * np.sin(angle)[:, None] * third
    )
    front = np.array(heart) - across * shape.radii[1] * 0.5
    line = [
        tuple(front + t * shape.radii[0] * axis - third * 4 - across * shape.radii[1] * 0.5 * np.sqrt(1 - t * t))
        for t in np.linspace(-0.5, 0.9, 6)
    ]
    points = [tuple(p) for p in ring]
    return join([spline(points, [4.5] * len(points), 2), spline(line, [3.5] * len(line), 2)])
