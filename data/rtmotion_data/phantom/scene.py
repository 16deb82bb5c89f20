"""A patient ready to breathe: the painted anatomy, the map, and the picture of any moment."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rtmotion.field import sample_at_index, world_coordinates
from rtmotion.grid import Grid
from rtmotion_data.phantom.canvas import LABELS, Canvas
from rtmotion_data.phantom.cavity import outline, survey
from rtmotion_data.phantom.config import PhantomConfig
from rtmotion_data.phantom.lungs import Lungs, paint_lungs
from rtmotion_data.phantom.motion import BreathingMap, Place, State, shear
from rtmotion_data.phantom.organs import paint_abdomen, paint_mediastinum, place_mediastinum
from rtmotion_data.phantom.patient import Tissue
from rtmotion_data.phantom.wall import paint_bones, paint_trunk

LUNG_LABELS = (LABELS["lung_left"], LABELS["lung_right"])
LANDMARKS = 300
"""At most this many landmarks, as in DIR-Lab."""
PART = 150_000
"""Voxels of a slab, on a CPU."""
COUCH_UNDER = -700
"""Where the patient is thinner than this the couch shows, HU; it lies behind the skin, never in a lung."""
FORK_RADIUS = 0.75
"""Vessels thinner than this at a fork make no landmark, mm."""


@dataclass(frozen=True)
class Scene:
    """The anatomy at end-exhale in canonical coordinates, and how it is seen on a grid.

    Attributes:
        grid: Where the patient is imaged.
        breathing: The map.
        canvas: The painted volume.
        layers: HU and lung mass, float32, shape (2, Z, Y, X) of the canvas.
        still: φ of the grid's voxel centres: canonical positions at rest, three of shape (z, y, x).
        table: HU of the treatment couch on the grid, -1000 elsewhere.
        lungs: Forks and tumours.
    """

    grid: Grid
    breathing: BreathingMap
    canvas: Canvas
    layers: Tensor
    still: tuple[Tensor, Tensor, Tensor]
    table: Tensor
    lungs: Lungs

    def parts(self) -> list[slice]:
        """Slabs of the grid that are computed one after the other: they fit a processor's cache, and bound memory."""
        slices, rows, columns = self.grid.shape
        step = slices if self.layers.is_cuda else max(1, PART // (rows * columns))
        return [slice(start, min(start + step, slices)) for start in range(0, slices, step)]

    def backward(self, part: slice, state: State, density: bool = True) -> Place:
        """The canonical places that a slab of the grid shows at a state."""
        x, y, z = (a[part] for a in self.still)
        local = State(*(v[part] if isinstance(v, Tensor) else v for v in (state.diaphragm, state.chest, state.beat)))
        return self.breathing.backward(x, y, z, local, density)

    def look(self, place: Place, part: slice) -> tuple[Tensor, Tensor]:
        """What a slab shows: HU (float32), and the continuous canvas indices, shape (3, ...), that it was read at."""
        index = self._index(place)
        hu, mass = sample_at_index(self.layers, index).unbind(0)
        if place.density is not None:
            hu = hu + mass * (1 / place.density - 1)
        return torch.where(hu < COUCH_UNDER, torch.maximum(hu, self.table[part]), hu), index

    def picture(self, state: State) -> Tensor:
        """The patient at a state, whose numbers may differ from slice to slice: HU, float32, shape (z, y, x)."""
        image = torch.empty(self.grid.shape, device=self.layers.device)
        for part in self.parts():
            image[part], _ = self.look(self.backward(part, state), part)
        return image

    def _index(self, place: Place) -> Tensor:
        """Continuous canvas indices of canonical places, shape (3, ...)."""
        c = self.canvas
        pairs = ((place.x, c.x, c.spacing[0]), (place.y, c.y, c.spacing[1]), (place.z, c.z, c.spacing[2]))
        return torch.stack([(p - axis.reshape(-1)[0]) / step for p, axis, step in pairs])

    def labels(self, index: Tensor) -> Tensor:
        """Labels at continuous canvas indices, nearest; uint8."""
        depth, height, width = self.canvas.labels.shape
        ix, iy, iz = (
            (component + 0.5).to(torch.int32).clamp_(0, n - 1)
            for component, n in zip(index, (width, height, depth), strict=True)
        )
        return self.canvas.labels.reshape(-1)[((iz * height + iy) * width + ix).long()]

    def points(self, part: slice) -> Tensor:
        """World positions (LPS, mm) of the voxel centres of a slab, shape (3, ...)."""
        x, y, z = (
            first + step * torch.arange(n, dtype=torch.float32, device=self.layers.device)
            for first, step, n in zip(self.grid.origin, self.grid.spacing, self.grid.size, strict=True)
        )
        return torch.stack(torch.broadcast_tensors(x[None, None, :], y[None, :, None], z[part, None, None]))  # type: ignore[no-untyped-call]

    def world(self, place: Place, state: State) -> Tensor:
        """World positions (LPS, mm) of canonical places at a state, shape (3, ...)."""
        return torch.stack(shear(*self.breathing.forward(place, state), self.breathing.build, inverse=True))

    def landmarks(self, states: list[State]) -> list[Tensor]:
        """Positions of the same vessel forks at every state, LPS mm, float64, shape (n, 3) each, on the CPU.

        Forks stand in pure lung or vessel (the label does not change within two voxels) and inside the grid always.
        """
        forks, radius = self.lungs.forks, self.lungs.fork_radius
        points = torch.from_numpy(forks[radius > FORK_RADIUS]).reshape(-1, 3)
        place = Place(points[:, 0], points[:, 1], points[:, 2])
        labels = self.canvas.labels.cpu()
        step = torch.tensor(self.canvas.spacing, dtype=torch.float64)
        first = torch.tensor([float(a.reshape(-1)[0]) for a in (self.canvas.x, self.canvas.y, self.canvas.z)])
        index = torch.round((points - first) / step).long()
        upper = torch.tensor(labels.shape[::-1]) - 3
        good = ((index >= 2) & (index <= upper)).all(dim=1)
        index = index.clamp_min(2).minimum(upper)
        here = labels[index[:, 2], index[:, 1], index[:, 0]]
        good &= (here == LUNG_LABELS[0]) | (here == LUNG_LABELS[1])
        for dz in (-2, 0, 2):
            for dy in (-2, 0, 2):
                for dx in (-2, 0, 2):
                    good &= labels[index[:, 2] + dz, index[:, 1] + dy, index[:, 0] + dx] == here
        seen = [self.world(place, state).T for state in states]
        for world in seen:
            place_in_grid = self.grid.world_to_index(world)
            good &= ((place_in_grid >= 1) & (place_in_grid <= torch.tensor(self.grid.size) - 2.0)).all(dim=1)
        chosen = good.nonzero()[:, 0]
        if len(chosen) > LANDMARKS:
            chosen = chosen[torch.linspace(0, len(chosen) - 1, LANDMARKS).round().long()]
        return [world[chosen].contiguous() for world in seen]


def grid_of(config: PhantomConfig, side: int) -> Grid:
    """The grid that the configuration asks for; `side` (-1 right, 1 left) is the lung that a narrow grid shows."""
    extent = [n * s for n, s in zip(config.size, config.spacing, strict=True)]
    if config.centre is not None:
        centre = config.centre
    else:
        centre = (0.0 if extent[0] >= 290 else 62.0 * side, 8.0 if extent[1] < 260 else 14.0, -12.0)
    first = tuple(c - 0.5 * (n - 1) * s for c, n, s in zip(centre, config.size, config.spacing, strict=True))
    return Grid(config.size, config.spacing, first)  # type: ignore[arg-type]


def _empty_canvas(
    breathing: BreathingMap, still: tuple[Tensor, Tensor, Tensor], config: PhantomConfig, device: torch.device
) -> Canvas:
    """A canvas that covers all that any breath brings into the grid."""
    m = breathing.motion
    margin = 4.0
    low = [float(a.min()) - margin for a in still]
    high = [float(a.max()) + margin for a in still]
    low[0] -= m.lateral
    high[0] += m.lateral
    high[1] += 1.2 * (m.chest + m.abdomen)
    high[2] = min(high[2] + 1.8 * m.diaphragm, max(high[2], breathing.build.top + margin))
    # in front of and behind the skin is only air, which goes on from the canvas's border
    build = breathing.build
    low[1] = max(low[1], breathing.anterior - 45 - 1.5 * build.fat - 60 * build.breast)
    high[1] = max(min(high[1], build.posterior + 65 + 1.5 * build.fat), low[1] + 8 * config.spacing[1])
    spacing = tuple(s / config.supersampling for s in config.spacing)
    lines = [
        torch.arange(int(np.ceil((b - a) / s)) + 1, dtype=torch.float32, device=device) * s + a
        for a, b, s in zip(low, high, spacing, strict=True)
    ]
    shape = (len(lines[2]), len(lines[1]), len(lines[0]))
    return Canvas(
        x=lines[0][None, None, :],
        y=lines[1][None, :, None],
        z=lines[2][:, None, None],
        spacing=spacing,  # type: ignore[arg-type]
        hu=torch.full(shape, -1000.0, device=device),
        mass=torch.zeros(shape, device=device),
        labels=torch.zeros(shape, dtype=torch.uint8, device=device),
    )


def build_scene(
    breathing: BreathingMap, tissue: Tissue, config: PhantomConfig, rng: np.random.Generator, device: torch.device
) -> Scene:
    """Paints a patient; the order is from the outside inwards, later tissues replacing earlier ones."""
    grid = grid_of(config, int(rng.choice((-1, 1))))
    coordinates = world_coordinates(grid, device)
    still = shear(coordinates[0], coordinates[1], coordinates[2], breathing.build)
    canvas = _empty_canvas(breathing, still, config, device)
    cavity = survey(canvas, breathing, rng)
    paint_trunk(canvas, cavity, breathing, tissue)
    paint_bones(canvas, cavity, breathing, tissue, rng)
    paint_abdomen(canvas, cavity, breathing, tissue, rng)
    place, shape = place_mediastinum(canvas, cavity, breathing, rng)
    lungs_rng, heart_rng = rng.spawn(2)
    course = paint_mediastinum(canvas, cavity, breathing, tissue, place, shape, heart_rng)
    lungs = paint_lungs(canvas, cavity, breathing, tissue, place, course, lungs_rng)
    table = _table(grid, coordinates, breathing, rng)
    return Scene(grid, breathing, canvas, torch.stack([canvas.hu, canvas.mass]), still, table, lungs)


def _table(grid: Grid, coordinates: Tensor, breathing: BreathingMap, rng: np.random.Generator) -> Tensor:
    """The couch under the patient: a curved shell filled with foam; it never moves."""
    line = outline(breathing.build, breathing, torch.zeros(1, 1, 1))
    top = float(line.back) + 6 + rng.uniform(0, 8)
    x, y, _ = coordinates
    depth = y - top + x * x / rng.uniform(1400, 6000)
    thick = rng.uniform(18, 45)
    shell = (1.6 - depth.abs()).clamp(0, 1) + (1.6 - (depth - thick).abs()).clamp(0, 1)
    inside = ((depth > 0) & (depth < thick)).float()
    wide = (x.abs() < 230).float()
    hu: Tensor = wide * (60 * inside + shell * rng.uniform(250, 600)) - 1000
    return hu


def states_of(
    depth: npt.NDArray[np.float64], chest: npt.NDArray[np.float64], beats: npt.NDArray[np.float64]
) -> list[State]:
    """One state a phase, of numbers."""
    return [State(float(d), float(c), float(b)) for d, c, b in zip(depth, chest, beats, strict=True)]
