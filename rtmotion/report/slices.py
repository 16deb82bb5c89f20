"""The slices that a report shows: chosen, turned upright, brought to 8 bits, and packed into JPEG sprites."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmotion.grid import Grid
from rtmotion.report.orientation import Orientation

Array = npt.NDArray[Any]

TONE_HU = (-1024.0, -200.0, 300.0, 1400.0)
TONE_LEVEL = (0.0, 100.0, 200.0, 255.0)
"""HU to 8 bits, linear between these points: 8 HU a level in lung, 5 in soft tissue, 20 in bone."""

LARGEST_SIDE = 256
"""Pixels of a slice's longer side; larger slices are reduced."""

SPRITE_COLUMNS = 5
JPEG_BLOCK = 8
"""Tiles begin on the blocks of the codec, so that none bleeds into its neighbour."""

QUALITY = ((32, 84), (28, 80), (24, 80), (24, 72), (20, 66), (16, 60), (12, 55), (8, 50), (6, 40))
"""Slices a view and JPEG quality, best first; the first that fits the budget is taken."""

MARGIN_MM = 6.0


@dataclass(frozen=True)
class View:
    """One of the three directions of looking.

    Attributes:
        name: `coronal`, `sagittal` or `axial`.
        normal: The axis across which its slices lie: 0 left, 1 posterior, 2 superior.
        across: The axis that runs to the right on the screen.
        down: The axis that runs down the screen.
        down_sign: 1 where the screen runs down that axis, -1 where up (superior is up).
        letters: At the left, right, top and bottom edge of the image.
    """

    name: str
    normal: int
    across: int
    down: int
    down_sign: int
    letters: tuple[str, str, str, str]


VIEWS = (
    View("coronal", 1, 0, 2, -1, ("R", "L", "S", "I")),
    View("sagittal", 0, 1, 2, -1, ("A", "P", "S", "I")),
    View("axial", 2, 0, 1, 1, ("R", "L", "A", "P")),
)
"""Radiological: the patient's left is on the viewer's right, anterior or superior is up."""


def plane(view: View, upright: Array, index: int) -> Array:
    """A slice of an upright array (..., s, p, l) as it lies on the screen, (..., rows, columns)."""
    normal = upright.ndim - 1 - view.normal
    slice_ = upright[(slice(None),) * normal + (index,)]
    # what is left is in the order s, p, l without the normal: rows before columns for all three views
    return np.asarray(slice_[..., ::-1, :] if view.down_sign < 0 else slice_)


def body_box(body: Array, orientation: Orientation) -> tuple[slice, slice, slice]:
    """The box [s, p, l] around the True voxels of an upright mask, with a margin; everything where it is empty."""
    box = []
    for axis in range(3):
        spacing = orientation.spacing[2 - axis]
        occupied = np.flatnonzero(body.any(axis=tuple(a for a in range(3) if a != axis)))
        margin = round(MARGIN_MM / spacing)
        first, last = (occupied[0], occupied[-1]) if occupied.size else (0, body.shape[axis] - 1)
        box.append(slice(max(int(first) - margin, 0), min(int(last) + margin + 1, body.shape[axis])))
    return (box[0], box[1], box[2])


def to_levels(hu: Array) -> Array:
    """HU to 8 bits along the tone curve."""
    return np.interp(hu, TONE_HU, TONE_LEVEL).round().astype(np.uint8)


def chosen_slices(count: int, wanted: int) -> list[int]:
    """At most `wanted` of `count` slices, evenly spread, the outermost half a step from the border."""
    n = min(count, wanted)
    return [int((i + 0.5) * count / n) for i in range(n)]


def pack(view: View, volumes: Sequence[Array], index: int, quality: int, largest: int = LARGEST_SIDE) -> bytes:
    """One slice of all volumes as a JPEG sprite: tiles in rows of `SPRITE_COLUMNS`.

    Args:
        view: The direction of looking.
        volumes: Upright arrays (s, p, l), HU.
        index: Which slice.
        quality: Of the JPEG.
        largest: Pixels of the longer side of a tile.
    """
    from PIL import Image

    width, height = tile_size(view, volumes[0], largest)
    cell_w, cell_h = cell_size(width, height)
    rows = -(-len(volumes) // SPRITE_COLUMNS)
    sprite = np.zeros((rows * cell_h, min(len(volumes), SPRITE_COLUMNS) * cell_w), dtype=np.uint8)
    for n, volume in enumerate(volumes):
        tile = to_levels(plane(view, volume, index))
        if tile.shape != (height, width):
            tile = np.asarray(Image.fromarray(tile).resize((width, height), Image.Resampling.BOX))
        top, left = n // SPRITE_COLUMNS * cell_h, n % SPRITE_COLUMNS * cell_w
        # the padding repeats the border: an edge there would cost bytes and ring into the tile
        sprite[top : top + cell_h, left : left + cell_w] = np.pad(
            tile, ((0, cell_h - height), (0, cell_w - width)), mode="edge"
        )
    buffer = io.BytesIO()
    Image.fromarray(sprite).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def tile_size(view: View, upright: Array, largest: int = LARGEST_SIDE) -> tuple[int, int]:
    """Width and height of a tile in pixels."""
    width, height = upright.shape[2 - view.across], upright.shape[2 - view.down]
    factor = max(1.0, max(width, height) / largest)
    return max(1, round(width / factor)), max(1, round(height / factor))


def cell_size(width: int, height: int) -> tuple[int, int]:
    """The room of a tile in its sprite."""
    return -(-width // JPEG_BLOCK) * JPEG_BLOCK, -(-height // JPEG_BLOCK) * JPEG_BLOCK


def encode_views(volumes: Sequence[Array], budget: int) -> tuple[dict[str, list[int]], dict[str, list[bytes]], int]:
    """All views of all volumes within a budget of bytes.

    Args:
        volumes: Upright arrays (s, p, l), HU, cropped.
        budget: Bytes that the images may take together.

    Returns:
        The chosen slices of each view, their sprites, and the JPEG quality.
    """
    slices: dict[str, list[int]] = {}
    sprites: dict[str, list[bytes]] = {}
    quality = 0
    for wanted, quality in QUALITY:
        slices = {v.name: chosen_slices(volumes[0].shape[2 - v.normal], wanted) for v in VIEWS}
        if (wanted, quality) != QUALITY[-1] and _estimate(volumes, slices, quality) > budget:
            continue
        sprites = {v.name: [pack(v, volumes, i, quality) for i in slices[v.name]] for v in VIEWS}
        if sum(len(s) for of_view in sprites.values() for s in of_view) <= budget:
            break
    return slices, sprites, quality


def _estimate(volumes: Sequence[Array], slices: dict[str, list[int]], quality: int) -> float:
    """Bytes that a choice will take, from three slices of each view."""
    total = 0.0
    for view in VIEWS:
        indices = slices[view.name]
        probe = [indices[len(indices) * q // 4] for q in (1, 2, 3)]
        total += len(indices) * float(np.mean([len(pack(view, volumes, i, quality)) for i in probe]))
    return total


def liveliest(moving: Array, slices: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Which of the chosen slices of each view changes most.

    Args:
        moving: How much each voxel changes over the cycle, upright (s, p, l), any unit.
        slices: Indices of the chosen slices of each view.
    """
    found = {}
    for view in VIEWS:
        profile = moving.sum(axis=tuple(a for a in range(3) if a != 2 - view.normal))
        found[view.name] = int(np.argmax([profile[i] for i in slices[view.name]]))
    return found


def describe_views(
    slices: dict[str, list[int]],
    upright: Array,
    box: tuple[slice, slice, slice],
    orientation: Orientation,
    grid: Grid,
    start: Mapping[str, int],
    largest: int = LARGEST_SIDE,
) -> list[dict[str, Any]]:
    """What the page must know of each view.

    Args:
        slices: The chosen slices of each view, indices into the cropped array.
        upright: One cropped upright array (s, p, l).
        box: Where it was cropped from.
        orientation: Of the grid.
        grid: Of the volumes.
        start: Which of the chosen slices of each view is shown first.
        largest: Pixels of the longer side of a tile.
    """
    described = []
    for view in VIEWS:
        width, height = tile_size(view, upright, largest)
        spacing = orientation.spacing
        centre = [(box[2 - w].start + box[2 - w].stop - 1) / 2 for w in range(3)]
        at = np.tile(np.asarray(centre, dtype=np.float64), (len(slices[view.name]), 1))
        at[:, view.normal] = np.asarray(slices[view.name]) + box[2 - view.normal].start
        index = orientation.to_grid(at)
        world = index @ grid.index_to_world_matrix.T + np.asarray(grid.origin)
        described.append(
            {
                "name": view.name,
                "normal": view.normal,
                "across": view.across,
                "down": view.down,
                "downSign": view.down_sign,
                "letters": list(view.letters),
                "width": width,
                "height": height,
                "cell": list(cell_size(width, height)),
                "mm": [
                    upright.shape[2 - view.across] * spacing[view.across],
                    upright.shape[2 - view.down] * spacing[view.down],
                ],
                "slices": slices[view.name],
                "count": upright.shape[2 - view.normal],
                "position": [round(float(p), 1) for p in world[:, view.normal]],
                "start": start[view.name],
            }
        )
    return described
