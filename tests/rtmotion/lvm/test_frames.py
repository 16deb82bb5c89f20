import pytest
import torch
from torch import Tensor

from rtmotion.field import gaussian_smooth
from rtmotion.grid import Grid
from rtmotion.lvm.frames import HIGH_HU, LOW_HU, MARGIN_MM, PLANES, framing, to_hu, to_unit

RESOLUTION = 64

AXES = {"axial": 0, "coronal": 1, "sagittal": 2}
"""Of a volume along the patient's axes, (z, y, x)."""

ANISOTROPIC = Grid((72, 44, 30), (1.0, 1.6, 3.0))

SPHERE_MM = 18.0
ONE_PIXEL = 1.0

ROUND_TRIP_HU = 8.0
"""Half a percent of the range; linear interpolation of what changes over a dozen voxels."""


def millimetres(grid: Grid) -> list[Tensor]:
    """Coordinates along z, y, x from the middle, each shape (z, y, x)."""
    lines = [(torch.arange(n) - (n - 1) / 2) * s for n, s in zip(grid.shape, grid.spacing[::-1], strict=True)]
    return list(torch.meshgrid(*lines, indexing="ij"))


def sphere(grid: Grid) -> Tensor:
    """Water in air, HU; its border is as wide as the thickest voxel."""
    distance = torch.stack(millimetres(grid)).square().sum(dim=0).sqrt()
    return -1000 + 1000 * ((SPHERE_MM - distance) / 3.0 + 0.5).clamp(0, 1)


def extent(picture: Tensor, dim: int) -> float:
    """The radius of a disc, pixels, along rows (0) or columns (1): twice its standard deviation."""
    weight = picture.sum(dim=1 - dim)
    places = torch.arange(len(weight)).float()
    middle = (weight * places).sum() / weight.sum()
    return 2 * float(((weight * (places - middle).square()).sum() / weight.sum()).sqrt())


def test_hu_are_0_to_1_and_back() -> None:
    hu = torch.tensor([-1000.0, -200.0, 0.0, 600.0])
    assert torch.allclose(to_unit(hu), torch.tensor([0.0, 0.5, 0.625, 1.0]))
    assert torch.allclose(to_hu(to_unit(hu)), hu, atol=1e-3)


def test_hu_beyond_the_window_are_clipped() -> None:
    assert to_unit(torch.tensor([-3000.0, 2000.0])).tolist() == [0.0, 1.0]
    assert to_hu(torch.tensor([0.0, 1.0])).tolist() == [LOW_HU, HIGH_HU]


@pytest.mark.parametrize("plane", list(PLANES))
def test_a_sphere_is_a_circle_although_voxels_are_no_cubes(plane: str) -> None:
    hu = sphere(ANISOTROPIC)
    frame = framing(hu > -500, ANISOTROPIC, plane, RESOLUTION)
    pictures = frame.pictures(hu)
    middle = pictures[len(pictures) // 2, 0]
    sides = [
        (s.stop - s.start) * mm
        for i, (s, mm) in enumerate(zip(frame.box, ANISOTROPIC.spacing[::-1], strict=True))
        if i != frame.order[0]
    ]
    wanted = SPHERE_MM * RESOLUTION / max(sides)
    assert wanted > 10
    for dim in (0, 1):
        assert extent(middle, dim) == pytest.approx(wanted, abs=ONE_PIXEL)


@pytest.mark.parametrize(("plane", "rows", "columns"), [("axial", 1, 2), ("coronal", 0, 2), ("sagittal", 0, 1)])
def test_a_plane_has_a_picture_a_slice_with_its_axes_along_rows_and_columns(
    plane: str, rows: int, columns: int
) -> None:
    """Of a volume that grows along one axis, the pictures grow along rows, along columns, or from one to the next."""
    empty = torch.zeros(ANISOTROPIC.shape, dtype=torch.bool)
    frame = framing(empty, ANISOTROPIC, plane, RESOLUTION)
    for axis, ramp in enumerate(millimetres(ANISOTROPIC)):
        found = frame.pictures(5 * ramp)
        assert found.shape == (ANISOTROPIC.shape[AXES[plane]], 3, RESOLUTION, RESOLUTION)
        assert torch.equal(found[:, 0], found[:, 1])
        assert torch.equal(found[:, 0], found[:, 2])
        inside = found[:, 0, 1 : frame.shown[0] - 1, 1 : frame.shown[1] - 1]
        for dim, along in ((0, AXES[plane]), (1, rows), (2, columns)):
            change = inside.diff(dim=dim)
            if along == axis:
                assert float(change.min()) > 1e-4
            else:
                assert float(change.abs().max()) < 1e-5


@pytest.mark.parametrize("plane", list(PLANES))
def test_a_patient_looks_the_same_however_the_volume_lies(plane: str) -> None:
    """Stored along left, inferior and posterior, in the place of superior, posterior and left."""
    hu = smooth_volume(ANISOTROPIC)
    stored = hu.flip(0).permute(2, 0, 1).contiguous()
    (z, y, x), (dx, dy, dz) = ANISOTROPIC.shape, ANISOTROPIC.spacing
    lying = Grid((y, z, x), (dy, dz, dx), direction=(0, 0, 1, 1, 0, 0, 0, -1, 0))
    body = torch.zeros(ANISOTROPIC.shape, dtype=torch.bool)
    body[6:22, 12:30, 18:50] = True
    upright = framing(body, ANISOTROPIC, plane, RESOLUTION)
    turned = framing(body.flip(0).permute(2, 0, 1), lying, plane, RESOLUTION)
    assert torch.allclose(turned.pictures(stored), upright.pictures(hu), atol=1e-6)
    assert turned.slices == upright.slices == len(upright.pictures(hu))
    back = turned.values(turned.pictures(stored))
    assert torch.allclose(back, upright.values(upright.pictures(hu)).flip(0).permute(2, 0, 1), atol=1e-2)


def smooth_volume(grid: Grid) -> Tensor:
    noise = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    texture = gaussian_smooth(noise, [4.0, 4.0, 4.0])
    return 150 * (texture / texture.std()).clamp(-4, 4) - 200


@pytest.mark.parametrize("plane", list(PLANES))
@pytest.mark.parametrize("resolution", [48, 96])
def test_a_smooth_volume_comes_back_from_its_pictures(plane: str, resolution: int) -> None:
    """Pictures that have fewer pixels than slices have voxels, and such that have more."""
    hu = smooth_volume(ANISOTROPIC)
    body = torch.zeros(ANISOTROPIC.shape, dtype=torch.bool)
    body[6:22, 12:30, 18:50] = True
    frame = framing(body, ANISOTROPIC, plane, resolution)
    back = frame.values(frame.pictures(hu))
    assert back.shape == hu[frame.box].shape
    assert float((back - hu[frame.box]).abs().mean()) < ROUND_TRIP_HU


def test_pictures_whose_channels_differ_show_their_mean() -> None:
    empty = torch.zeros(ANISOTROPIC.shape, dtype=torch.bool)
    frame = framing(empty, ANISOTROPIC, "axial", RESOLUTION)
    pictures = torch.tensor([0.2, 0.5, 0.8])[:, None, None].expand(30, 3, RESOLUTION, RESOLUTION)
    assert torch.allclose(frame.values(pictures), torch.full(ANISOTROPIC.shape, -200.0), atol=1e-2)


@pytest.mark.parametrize("plane", list(PLANES))
@pytest.mark.parametrize("seed", range(5))
def test_the_frame_holds_all_of_the_body_and_a_margin(plane: str, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    body = torch.zeros(ANISOTROPIC.shape, dtype=torch.bool)
    body[3:22, 14:28, 22:48] = torch.rand(19, 14, 26, generator=random) < 2e-3
    frame = framing(body, ANISOTROPIC, plane, RESOLUTION)
    assert bool(body.any())
    assert int(body[frame.box].sum()) == int(body.sum())
    for i, place in enumerate(body.nonzero().T):
        margin = round(MARGIN_MM / ANISOTROPIC.spacing[2 - i])
        assert frame.box[i].start == max(0, int(place.min()) - margin)
        assert frame.box[i].stop == min(ANISOTROPIC.shape[i], int(place.max()) + 1 + margin)
    assert max(frame.shown) == RESOLUTION


@pytest.mark.parametrize("plane", list(PLANES))
def test_without_a_body_all_is_shown(plane: str) -> None:
    frame = framing(torch.zeros(ANISOTROPIC.shape, dtype=torch.bool), ANISOTROPIC, plane, RESOLUTION)
    assert frame.box == tuple(slice(0, n) for n in ANISOTROPIC.shape)


@pytest.mark.parametrize("plane", list(PLANES))
def test_beside_what_is_shown_there_is_air(plane: str) -> None:
    body = torch.ones(ANISOTROPIC.shape, dtype=torch.bool)
    frame = framing(body, ANISOTROPIC, plane, RESOLUTION)
    pictures = frame.pictures(torch.full(ANISOTROPIC.shape, 40.0))
    rows, columns = frame.shown
    assert min(rows, columns) < RESOLUTION
    inside = torch.zeros(RESOLUTION, RESOLUTION, dtype=torch.bool)
    inside[:rows, :columns] = True
    assert bool((pictures[..., ~inside] == 0).all())
    assert torch.allclose(pictures[..., inside], torch.tensor(0.65))


def test_what_lies_beyond_the_window_does_not_leave_0_to_1() -> None:
    hu = torch.randn(ANISOTROPIC.shape, generator=torch.Generator().manual_seed(0)) * 3000
    frame = framing(hu > -10_000, ANISOTROPIC, "coronal", RESOLUTION)
    pictures = frame.pictures(hu)
    assert float(pictures.min()) == 0.0
    assert float(pictures.max()) <= 1.0


def test_stripes_finer_than_a_pixel_become_grey_although_slices_are_thick() -> None:
    """Columns are fewer than voxels along x, while rows are more than slices."""
    grid = Grid((192, 8, 15), (0.5, 2.0, 6.4))
    hu = torch.where(torch.arange(192) % 2 == 0, HIGH_HU, LOW_HU).expand(grid.shape).contiguous()
    frame = framing(hu > -10_000, grid, "coronal", RESOLUTION)
    assert frame.shown == (RESOLUTION, RESOLUTION)
    inside = frame.pictures(hu)[..., 1:-1]
    assert float((inside - 0.5).abs().max()) < 0.1
