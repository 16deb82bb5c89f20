"""Lungs: parenchyma, fissures, vessel and airway trees, tumours, emphysema, effusion."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rtmotion_data.phantom.canvas import LABELS, Canvas, noise_octave
from rtmotion_data.phantom.cavity import Cavity
from rtmotion_data.phantom.motion import BreathingMap
from rtmotion_data.phantom.organs import Mediastinum
from rtmotion_data.phantom.patient import Tissue
from rtmotion_data.phantom.trees import FloatArray, Tree, grow, join, spline

SIDES = ("lung_right", "lung_left")


@dataclass(frozen=True)
class Lungs:
    """What the painting of the lungs leaves behind.

    Attributes:
        forks: Vessel bifurcations, canonical mm, shape (n, 3).
        fork_radius: Radius of the vessel there, mm, shape (n,).
        tumours: Centres of the tumours, canonical mm.
    """

    forks: FloatArray
    fork_radius: FloatArray
    tumours: list[list[float]]


def paint_lungs(
    canvas: Canvas,
    cavity: Cavity,
    breathing: BreathingMap,
    tissue: Tissue,
    place: Mediastinum,
    course: Tensor,
    rng: np.random.Generator,
) -> Lungs:
    """Paints both lungs between wall, domes and mediastinum, with all that grows in them."""
    b = breathing.build
    side_x = canvas.x.sign()
    apex = ((canvas.x.abs() - 0.37 * b.half_width) / (0.31 * b.half_width)) ** 2
    apex = apex + ((canvas.y - b.posterior + 0.95 * b.half_depth * b.lid) / (1.05 * b.half_depth * b.lid)) ** 2
    top = 4 + 26 * apex.clamp_max(4.0) - cavity.depth
    distance = torch.maximum(cavity.wall + 1.3, 2.8 + (cavity.depth - cavity.dome) * 0.93)
    distance = torch.maximum(distance, torch.maximum(top * 0.8, -place.distance))
    lung = canvas.occupancy(distance) * (1 - course)
    # effusion: fluid behind, up to a level that lies
    fluid = torch.zeros_like(lung)
    for sign, depth in zip((-1, 1), tissue.effusion, strict=True):
        if depth:
            level = b.posterior - depth + 0.12 * (b.top - b.height - canvas.z).clamp(-120, 40).neg()
            fluid = torch.maximum(fluid, canvas.occupancy(level - canvas.y) * (side_x == sign))
    canvas.paint(lung * fluid, 8 + 4 * cavity.fine, "soft_tissue")
    lung = lung * (1 - fluid)
    oblique, horizontal = _fissures(canvas, breathing, cavity)
    density = _parenchyma(canvas, cavity, breathing, tissue, oblique, rng)
    sheet = torch.exp(-((oblique / (0.55 * canvas.edge)) ** 2))
    middle_lobe = (side_x < 0) & (oblique < 0)
    sheet = torch.maximum(sheet, torch.exp(-((horizontal / (0.55 * canvas.edge)) ** 2)) * middle_lobe)
    sheet = sheet * min(1.0, 1.0 / canvas.edge) * 0.42
    hu = density - 1000
    old = canvas.hu.clone()
    canvas.hu.copy_(old + lung * (hu - old))
    canvas.mass.copy_(lung * density)
    for name, sign in zip(SIDES, (-1, 1), strict=True):
        canvas.labels[(lung > 0.5) & (side_x.expand_as(lung) == sign)] = LABELS[name]
    canvas.paint(sheet * lung, -100.0)
    lobe = torch.where(oblique > 0, 2, torch.where((side_x < 0) & (horizontal < 0), 1, 0))
    forks = _trees(canvas, breathing, tissue, place, lung, lobe, rng)
    centres = _tumours(canvas, cavity, tissue, lung, distance, lobe, rng)
    return Lungs(*forks, centres)


def _fissures(canvas: Canvas, breathing: BreathingMap, cavity: Cavity) -> tuple[Tensor, Tensor]:
    """Signed distances, mm: behind the oblique fissure is positive, above the horizontal one is positive."""
    b = breathing.build
    middle = b.posterior - 0.9 * b.half_depth
    height = b.top - 0.58 * b.height
    bend = 2.5 * cavity.coarse + 8 * torch.cos(canvas.x / 45)
    # from high behind to the front of the diaphragm
    oblique = 0.62 * (canvas.y - middle) - 0.78 * (canvas.z - height) - 6 + bend
    horizontal = canvas.z - (b.top - 0.55 * b.height) - 0.1 * (canvas.x + 60) + 2.0 * cavity.coarse
    return oblique, horizontal


def _parenchyma(
    canvas: Canvas, cavity: Cavity, breathing: BreathingMap, tissue: Tissue, oblique: Tensor, rng: np.random.Generator
) -> Tensor:
    """Density of the lung, HU + 1000: gradient, lobules, the dependent part, emphysema."""
    b = breathing.build
    behind = (canvas.y - b.posterior + b.half_depth) / b.half_depth
    density = 1000 + tissue.parenchyma + 0.5 * tissue.gradient * behind.clamp(-1.2, 1.2)
    grain = noise_octave(rng, canvas, 2.2 * max(canvas.edge, 2.0))
    density = density + tissue.texture * (13 * grain + 9 * cavity.fine + 8 * cavity.middle + 9 * cavity.coarse)
    density = density + 6 * torch.sign(oblique) * (tissue.texture - 1)
    bed = torch.exp((cavity.wall + 2).clamp_max(0) / 5.0) * (behind - 0.45).clamp(0, 1)
    density = density + 100 * bed * (0.6 + 0.5 * cavity.coarse).clamp(0, 2)
    if tissue.emphysema:
        holes = (cavity.middle + 0.5 * cavity.coarse + 0.5 * (canvas.z - b.top + 0.4 * b.height) / b.height).clamp(
            -3, 3
        )
        limit = 2.0 - 4.5 * tissue.emphysema
        density = density * (1 - 0.65 * torch.sigmoid((holes - limit) * 5))
    return density.clamp_min(20.0)


def _targets(canvas: Canvas, where: Tensor, number: int, rng: np.random.Generator) -> FloatArray:
    """Random points (x, y, z), mm, in the voxels where the mask holds, shape (n, 3)."""
    index = where.reshape(-1).nonzero()[:, 0].cpu().numpy()
    if not len(index):
        return np.empty((0, 3))
    chosen = rng.choice(index, min(number, len(index)), replace=False)
    zyx = np.stack(np.unravel_index(chosen, tuple(where.shape)), axis=1)[:, ::-1] + rng.uniform(
        -0.5, 0.5, (len(chosen), 3)
    )
    first = np.array([float(a.reshape(-1)[0]) for a in (canvas.x, canvas.y, canvas.z)])
    return np.asarray(first + zyx * np.array(canvas.spacing))


def _trees(
    canvas: Canvas,
    breathing: BreathingMap,
    tissue: Tissue,
    place: Mediastinum,
    lung: Tensor,
    lobe: Tensor,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Arteries, veins and airways of both lungs; returns the arteries' and veins' forks and radii."""
    inside = lung > 0.9
    arteries: list[Tree] = []
    veins: list[Tree] = []
    bronchi: list[Tree] = []
    cx, cy, cz = place.carina
    for side, hilum in zip((-1, 1), place.hila, strict=True):
        here = inside & (canvas.x.sign() == side)
        whole = int(here.sum())
        for trees, offset in ((arteries, (0.0, -2.0, 4.0)), (veins, (-side * 3.0, -14.0, -14.0))):
            groups = []
            for number in range(3):
                part = here & (lobe == number)
                share = int(part.sum()) / max(whole, 1)
                groups.append(_targets(canvas, part, int(tissue.vessel_density * share), rng))
            trees.append(grow(rng, np.array(hilum) + offset, groups, 0.6, 7.0))
        main = spline(
            [(cx, cy, cz + 2), (0.55 * hilum[0], cy + 2, cz - 9), (hilum[0], hilum[1] + 6, hilum[2])], [8, 6.8, 5.8]
        )
        beside = arteries[-1].shifted(np.array([0.1 * side, 0.85, -0.25]), 0.72, 1.3)
        bronchi += [main, beside]
    vessels = join([*arteries, *veins])
    start, end, first, last = vessels.tensors(canvas.device)
    near = canvas.occupancy(-place.distance - 3) * (lung > 0.02)
    occupied = canvas.capsules(start, end, first, last, sharpness=1.5) * torch.maximum(lung, near)
    occupied = occupied * (canvas.labels != LABELS["heart"])
    canvas.paint(occupied, tissue.blood + 6)
    trachea = spline([(cx + 1, cy - 12, cz + 170), (cx + 1, cy - 6, cz + 70), (cx, cy, cz)], [8.5, 8.8, 8.8])
    air = join([trachea, *bronchi])
    start, end, first, last = air.tensors(canvas.device)
    wall = canvas.capsules(start, end, first + 0.3 + 0.09 * first, last + 0.3 + 0.09 * last)
    lumen = canvas.capsules(start, end, first, last)
    canvas.paint(wall, 20.0)
    canvas.paint(lumen, -985.0, "airways")
    tree = join([*arteries, *veins])
    return tree.forks, tree.fork_radius


def _tumours(
    canvas: Canvas,
    cavity: Cavity,
    tissue: Tissue,
    lung: Tensor,
    distance: Tensor,
    lobe: Tensor,
    rng: np.random.Generator,
) -> list[list[float]]:
    """Solid and part-solid tumours, smooth or spiculated, free or at the wall; returns their centres."""
    centres: list[list[float]] = []
    for side, number, radius, solidity, spiculation, at_wall in tissue.tumours:
        room = (lung > 0.9) & (canvas.x.sign() == (-1, 1)[side]) & (lobe == number)
        reach = (distance > -0.7 * radius) & (distance < -2) if at_wall else distance < -(radius + 6)
        candidates = _targets(canvas, room & reach, 1, rng)
        if not len(candidates):
            candidates = _targets(canvas, room, 1, rng)
        if not len(candidates):
            continue
        centre = candidates[0]
        radii = radius * rng.uniform(0.75, 1.2, 3)
        rough = (0.5 + 1.6 * spiculation) * radius / 10 * (cavity.middle + 0.8 * cavity.fine)
        ground = lung if at_wall else torch.ones_like(lung)
        if solidity < 1:
            canvas.ellipsoid(
                centre.tolist(),
                (1.5 * radii).tolist(),
                -560 + 40 * cavity.fine,
                "tumour",
                only=ground,
                wobble=2 * rough,
            )
            radii = radii * solidity
        value = 35 + 0.25 * tissue.contrast + 8 * cavity.fine + 6 * cavity.middle
        canvas.ellipsoid(centre.tolist(), radii.tolist(), value, "tumour", only=ground, wobble=rough)
        spikes = int(4 + 14 * spiculation)
        direction = rng.normal(0, 1, (spikes, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        tips = centre + direction * (radius * rng.uniform(1.3, 2.2, (spikes, 1)))
        arms = Tree(
            np.repeat(centre[None], spikes, 0),
            tips,
            np.full(spikes, 0.16 * radius),
            np.full(spikes, 0.35),
            np.empty((0, 3)),
            np.empty(0),
        )
        canvas.paint(canvas.capsules(*arms.tensors(canvas.device)) * lung * (0.4 + 0.6 * spiculation), 10.0)
        centres.append([float(c) for c in centre])
    return centres
