"""The trunk around the cavity: skin, fat, muscle, breasts, ribs, sternum, spine, shoulders."""

import math

import numpy as np
import torch
from torch import Tensor

from rtmotion_data.phantom.canvas import Canvas
from rtmotion_data.phantom.cavity import Cavity, outline
from rtmotion_data.phantom.motion import BreathingMap
from rtmotion_data.phantom.patient import Tissue
from rtmotion_data.phantom.trees import Tree, join, polyline

SKIN = 2.0
"""Thickness of the skin, mm."""


def paint_trunk(canvas: Canvas, cavity: Cavity, breathing: BreathingMap, tissue: Tissue) -> None:
    """Skin, fat and muscle everywhere inside the skin; the cavity's contents are painted over it."""
    build = breathing.build
    line = outline(build, breathing, canvas.z)
    skin = line.distance(canvas.x, canvas.y)
    if build.breast:
        middle = float(build.top - 0.55 * build.height)
        front = float(breathing.anterior - 8 - 0.8 * build.fat)
        for side in (-1, 1):
            reach = 40 + 22 * build.breast
            box = canvas.box(
                (side * 78 - reach, front - 60, middle - reach), (side * 78 + reach, front + 60, middle + reach)
            )
            if box is not None:
                bump = canvas.ellipsoid_distance(
                    box, (side * 78, front + 12, middle), (reach - 8, 26 + 26 * build.breast, reach - 8)
                )
                skin[box] = torch.minimum(skin[box], bump)
    skin = skin + 0.8 * cavity.coarse
    inside = canvas.occupancy(skin)
    depth = -skin
    fat_depth = build.fat * (1 + 0.18 * cavity.coarse - 0.35 * cavity.back.clamp(-0.2, 1)).clamp_min(0.25)
    fat_depth = fat_depth + 18 * build.breast * torch.exp(-(((canvas.y - breathing.anterior) / 22) ** 2))
    # planes of fat between the muscles, along which their boundaries wander
    plane = (torch.sin(0.3 * cavity.wall + 1.2 * cavity.coarse) + 0.3 * cavity.middle).abs()
    streak = (1 - plane / (0.16 + 0.008 * build.fat)).clamp(0, 1) * (cavity.wall > 13)
    streak = streak * (0.45 + 0.6 * cavity.middle - 0.3 * cavity.coarse).clamp(0, 1)
    axilla = torch.exp(-(((canvas.x.abs() - 0.93 * build.half_width) / 24) ** 2) - ((cavity.depth - 42) / 26) ** 2)
    muscle_hu = tissue.muscle + 6 * cavity.fine + 5 * cavity.middle
    fat_hu = tissue.fat + 7 * cavity.fine + 4 * cavity.coarse
    fatness = torch.maximum(canvas.occupancy(depth - fat_depth), streak * 0.75)
    fatness = torch.maximum(fatness, (1.6 * axilla * (cavity.wall > 16) + 0.35 * cavity.middle * axilla).clamp(0, 0.9))
    hu = torch.lerp(muscle_hu, fat_hu, fatness)
    hu = torch.lerp(hu, torch.full_like(hu, 15.0), canvas.occupancy(depth - SKIN))
    if build.breast:
        gland = (canvas.y < breathing.anterior - 4) & (cavity.middle > 0.7) & (depth > 9)
        hu = torch.where(gland, hu + 90, hu)
    canvas.paint(inside, hu, "soft_tissue")


def paint_bones(
    canvas: Canvas, cavity: Cavity, breathing: BreathingMap, tissue: Tissue, rng: np.random.Generator
) -> None:
    """Ribs with cartilage, sternum, spine, collar bones, shoulder blades, humeri."""
    _ribs(canvas, cavity, breathing, tissue, rng)
    _spine(canvas, breathing, tissue, cavity, rng)
    _sternum(canvas, cavity, breathing, tissue)
    _shoulders(canvas, cavity, breathing, tissue)


def _bone(
    canvas: Canvas, distance: Tensor, shell: float, cortex: float, marrow: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Occupancy and HU of a bone with a cortical shell, from the signed distance to its surface."""
    inside = canvas.occupancy(distance)
    core = canvas.occupancy(distance + shell)
    value = core * marrow + (1 - core) * cortex
    return inside, value


def _blend(canvas: Canvas, where: Tensor, inside: Tensor, value: Tensor, label: bool = True) -> None:
    """Paints on packed voxels."""
    old = canvas.hu[where]
    canvas.hu[where] = old + inside * (value - old)
    if label:
        canvas.labels[where] = torch.where(inside > 0.5, torch.full_like(canvas.labels[where], 7), canvas.labels[where])


def _ribs(canvas: Canvas, cavity: Cavity, breathing: BreathingMap, tissue: Tissue, rng: np.random.Generator) -> None:
    build = breathing.build
    spacing = build.height / rng.uniform(7.6, 8.6)
    slope = rng.uniform(62, 88)
    where = (cavity.wall > -1) & (cavity.wall < 17) & (cavity.depth > -8) & (cavity.back < 0.96)
    wall, back, u = cavity.wall[where], cavity.back[where], cavity.u[where]
    s = cavity.depth.expand_as(cavity.wall)[where]
    forward = (1 - back) / 2
    # down and forward to the side, then the cartilage turns up again towards the sternum
    drop = slope * forward.clamp(0, 0.8) ** 0.9 - 46 * (forward - 0.8).clamp_min(0) / 0.2
    # the first ribs are shorter and flatter
    level = (
        s
        - drop * (0.35 + 0.65 * (s / (0.5 * build.height)).clamp(0, 1))
        - 4 * torch.sign(u)
        + 2.5 * torch.sin(0.11 * s + slope)
    ) / spacing
    number = torch.round(level)
    along = (level - number) * spacing
    exists = (number >= 0) & (number <= 11) & (level > -0.4)
    centre = 6.5 + 0.8 * torch.cos(3 * number)
    half_height = 5.2 - 1.4 * torch.exp(-(((back - 0.93) / 0.15) ** 2))
    thick = 3.3 + 0.5 * torch.sin(2 * number)
    k = (((wall - centre) / thick) ** 2 + (along / half_height) ** 2).sqrt()
    distance = torch.where(exists, (k - 1) * 4.2, torch.full_like(k, 99.0))
    cartilage = torch.sigmoid((forward - 0.86) / 0.02)
    fine = cavity.fine[where]
    cortex = torch.lerp(torch.full_like(k, tissue.cortex), torch.full_like(k, 130.0), cartilage)
    marrow = torch.lerp(tissue.marrow + 40 * fine, torch.full_like(k, 105.0), cartilage)
    inside = canvas.occupancy(distance)
    core = canvas.occupancy(distance + 1.7)
    _blend(canvas, where, inside, core * marrow + (1 - core) * cortex)


def _spine(canvas: Canvas, breathing: BreathingMap, tissue: Tissue, cavity: Cavity, rng: np.random.Generator) -> None:
    build = breathing.build
    period, disc = rng.uniform(22.5, 27), rng.uniform(4, 6.5)
    cy = build.posterior - 1.0
    box = canvas.box((-52, cy - 30, -1e4), (52, cy + 75, 1e4))
    if box is None:
        return
    x, y, z = canvas.axes(box)
    fine, coarse = cavity.fine[box], cavity.middle[box]
    level = (z + rng.uniform(0, 20)) / period
    along = (level - torch.round(level)) * period  # 0 in the middle of a vertebra
    waist = 1 - 0.12 * torch.cos(along / period * 2 * math.pi).clamp_min(0)
    rx, ry = 16.5 * waist, 14.0 * waist
    body = ((x / rx) ** 2 + ((y - cy) / ry) ** 2).sqrt()
    round_distance = (body - 1) * 14
    vertebra = torch.maximum(round_distance, along.abs() - (period - disc) / 2)
    inside = canvas.occupancy(round_distance - 0.5)
    canvas.paint(inside, 85 + 8 * fine, "soft_tissue", box)
    inside, value = _bone(canvas, vertebra, 1.3, 0.55 * tissue.cortex, tissue.marrow + 45 * fine + 20 * coarse)
    canvas.paint(inside, value, "bones", box)
    # arch and processes
    canal = cy + 23.0
    ring = (((x / 14.5) ** 2 + ((y - canal) / 12.0) ** 2).sqrt() - 1) * 12.5
    height = 8 - 0.1 * (y - cy)
    arch = torch.maximum(ring, along.abs() - height)
    tilt = along + 0.45 * (y - canal)  # spinous processes point downwards
    spinous = torch.maximum(torch.maximum(x.abs() - 3.2, (y - canal - 24).abs() - 20), tilt.abs() - 7.5)
    reach = 34.0
    transverse = torch.maximum(
        torch.maximum(((y - canal + 3 - 0.25 * x.abs()).abs() - 4.5), (along - 3).abs() - 5.0), x.abs() - reach
    )
    bone = torch.minimum(torch.minimum(arch, spinous), transverse)
    inside, value = _bone(canvas, bone, 1.6, 0.6 * tissue.cortex, tissue.marrow + 120 + 40 * fine)
    canvas.paint(inside, value, "bones", box)
    hole = (((x / 9.5) ** 2 + ((y - canal) / 8.0) ** 2).sqrt() - 1) * 8.5
    canvas.paint(canvas.occupancy(hole).expand_as(fine), 18 + 5 * fine, "soft_tissue", box)
    cord = (((x / 5.5) ** 2 + ((y - canal) / 4.5) ** 2).sqrt() - 1) * 5
    canvas.paint(canvas.occupancy(cord).expand_as(fine), 38 + 4 * fine, "soft_tissue", box)


def _sternum(canvas: Canvas, cavity: Cavity, breathing: BreathingMap, tissue: Tissue) -> None:
    build = breathing.build
    where = (cavity.back < -0.7) & (cavity.wall > 0) & (cavity.wall < 20) & (cavity.u.abs() < 0.4)
    s = cavity.depth.expand_as(cavity.wall)[where]
    x = canvas.x.expand_as(cavity.wall)[where]
    half = 16 + 12 * torch.sigmoid((38 - s) / 8) - 7 * torch.sigmoid((s - 0.68 * build.height) / 8)
    distance = torch.maximum((cavity.wall[where] - 8.5).abs() - 5.0, x.abs() - half)
    distance = torch.maximum(distance, torch.maximum(8 - s, s - 0.78 * build.height))
    inside, value = _bone(canvas, distance, 1.2, 0.5 * tissue.cortex, tissue.marrow + 35 * cavity.fine[where])
    _blend(canvas, where, inside, value)


def _shoulders(canvas: Canvas, cavity: Cavity, breathing: BreathingMap, tissue: Tissue) -> None:
    build = breathing.build
    top, w = build.top, build.half_width
    front = build.posterior - 2 * build.half_depth * build.lid
    tubes: list[Tree] = []
    arms: list[Tree] = []
    for side in (-1, 1):
        tubes.append(
            polyline(
                [
                    (side * 20, front - 6, top - 14),
                    (side * 55, front - 2, top - 2),
                    (side * 0.85 * w, front + 26, top + (16 if build.arms_up else 4)),
                    (side * (w + 14), front + 46, top + (20 if build.arms_up else 8)),
                ],
                [10, 6.5, 6, 7],
            )
        )
        if build.arms_up:
            tubes.append(
                polyline([(side * (w + 22), front + 55, top - 2), (side * (w + 16), front + 50, top + 90)], [22, 13])
            )
        else:
            shoulder, elbow = (side * (w + 30), front + 50, top - 6), (side * (w + 62), front + 60, top - 300)
            arms.append(polyline([shoulder, (side * (w + 52), front + 55, top - 60), elbow], [22, 14, 12]))
            tubes.append(arms[-1])
        # the blade's spine and border
        tubes.append(
            polyline(
                [(side * (w + 10), front + 62, top - 6), (side * 0.62 * w, build.posterior + 24, top - 22)],
                [9, 4.5],
            )
        )
        tubes.append(
            polyline(
                [(side * (w + 8), front + 70, top - 14), (side * 0.86 * w, build.posterior + 14, top - 110)],
                [8, 4],
            )
        )
    angle = torch.atan2(cavity.v, cavity.u.abs())
    low = 0.32 + 0.0035 * (cavity.depth - 10).clamp_min(0)
    blade = torch.maximum((cavity.wall - 24 - 1.5 * cavity.coarse).abs() - 1.6, (low - angle) * w)
    blade = torch.maximum(
        torch.maximum(blade, (angle - 0.95) * w), torch.maximum(12 - cavity.depth, cavity.depth - 125)
    )
    inside = canvas.occupancy(blade)
    canvas.paint(inside, 0.65 * tissue.cortex, "bones")
    tree = join(tubes)
    start, end, first, last = tree.tensors(canvas.device)
    body = (canvas.labels > 0).float() if build.arms_up else torch.ones_like(canvas.hu)
    if arms:
        begin, finish, *_ = join(arms).tensors(canvas.device)
        arm = canvas.capsules(begin, finish, torch.full_like(begin[:, 0], 46.0), torch.full_like(begin[:, 0], 42.0))
        arm = arm * (canvas.labels == 0)
        canvas.paint(arm, tissue.muscle - 90 * (cavity.coarse + 0.4 * cavity.middle > 0.5), "soft_tissue")
    outer = canvas.capsules(start, end, first, last) * body
    core = canvas.capsules(start, end, (first - 2.2).clamp_min(0.3), (last - 2.2).clamp_min(0.3)) * body
    canvas.paint(outer, tissue.cortex, "bones")
    canvas.paint(core, tissue.marrow + 30 * cavity.fine, "bones")
