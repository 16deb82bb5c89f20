"""Fields: analytic truth on anisotropic and oblique grids, then invariants, then reference implementations."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation
from torch import Tensor

from rtmotion.errors import GeometryError
from rtmotion.field import (
    DisplacementField,
    VelocityField,
    compose,
    exp,
    folds,
    gaussian_smooth,
    invert,
    jacobian_determinant,
    log,
    resample,
    to_index_units,
    to_world_units,
    warp,
    world_coordinates,
)
from rtmotion.grid import Grid

FLOAT32_MM = 1e-3
"""mm (or HU of a ramp of about 1 HU/mm): single precision over coordinates of some hundred mm."""

FLOAT64_MM = 1e-4
"""mm; double precision, limited by voxel indices that start as single precision."""

OBLIQUE = tuple(Rotation.from_euler("xyz", [12, -25, 40], degrees=True).as_matrix().reshape(-1).tolist())
AXIAL = Grid((14, 12, 10), (1.0, 1.5, 3.0), (-7.0, 4.0, 100.0))
TURNED = Grid((14, 12, 10), (1.0, 1.5, 3.0), (-7.0, 4.0, 100.0), OBLIQUE)
MIRRORED = Grid((14, 12, 10), (1.0, 1.5, 3.0), (5.0, 4.0, 10.0), (0.0, 0.0, -1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
GRIDS = pytest.mark.parametrize("grid", [AXIAL, TURNED, MIRRORED], ids=["axial", "oblique", "mirrored"])
SLOPE = torch.tensor([0.7, -1.1, 0.4], dtype=torch.float64)


def world(grid: Grid) -> Tensor:
    """World positions in double precision, shape (3, z, y, x)."""
    index = torch.stack(torch.meshgrid(*(torch.arange(n).double() for n in grid.size), indexing="ij"), dim=-1)
    return grid.index_to_world(index.reshape(-1, 3)).reshape(*grid.size, 3).permute(3, 2, 1, 0)


def centre(grid: Grid) -> Tensor:
    return grid.index_to_world(torch.tensor([[(n - 1) / 2 for n in grid.size]]).double())[0]


def ramp(points: Tensor) -> Tensor:
    """A linear function of the world, for which linear interpolation is exact; shape (3, ...) to (...)."""
    values: Tensor = torch.einsum("c,c...->...", SLOPE, points) + 5.0
    return values


def linear_field(matrix: np.ndarray, grid: Grid) -> Tensor:
    """`u(x) = A (x - c)`, c the centre of the grid."""
    away = world(grid) - centre(grid)[:, None, None, None]
    return torch.einsum("ij,jzyx->izyx", torch.as_tensor(matrix), away)


def inner(tensor: Tensor, border: int = 3) -> Tensor:
    cut = slice(border, -border)
    return tensor[..., cut, cut, cut]


def distinct(tensor: Tensor) -> list[float]:
    """The values that occur, in order."""
    return sorted(set(tensor.reshape(-1).tolist()))


def smooth_velocity(grid: Grid, amplitude: float, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """A velocity of one and two hills along the index axes, mm, that vanishes at the border."""
    first, second = torch.randn(2, 3, 1, 1, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z, y, x = (torch.pi * torch.arange(n).double() / (n - 1) for n in grid.shape)
    side = torch.sin(z)[:, None, None] * torch.sin(y)[:, None]
    velocity = first * side * torch.sin(x) + 0.5 * second * side * torch.sin(2 * x)
    scaled: Tensor = velocity * (amplitude / float(velocity.abs().max()))
    return scaled.to(dtype)


@GRIDS
def test_world_coordinates(grid: Grid) -> None:
    assert torch.allclose(world_coordinates(grid).double(), world(grid), rtol=0, atol=FLOAT32_MM)


@GRIDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_warp_by_a_translation(grid: Grid, dtype: torch.dtype) -> None:
    shift = torch.tensor([1.3, -0.8, 2.1], dtype=torch.float64)
    image = ramp(world(grid)).to(dtype)
    warped = warp(image, shift.to(dtype)[:, None, None, None].expand(3, *grid.shape), grid)
    expected = ramp(world(grid) + shift[:, None, None, None])
    assert warped.dtype is dtype
    tolerance = FLOAT32_MM if dtype is torch.float32 else FLOAT64_MM
    assert torch.allclose(inner(warped).double(), inner(expected), rtol=0, atol=tolerance)


@GRIDS
def test_warp_by_a_rotation(grid: Grid) -> None:
    turn = Rotation.from_euler("zyx", [6, -4, 5], degrees=True).as_matrix()
    displacement = linear_field(turn - np.eye(3), grid)
    warped = warp(ramp(world(grid)), displacement, grid)
    assert torch.allclose(inner(warped), inner(ramp(world(grid) + displacement)), rtol=0, atol=FLOAT64_MM)


def test_warp_direction_by_hand() -> None:
    """`warped(x) = moving(x + u)`: with u pointing to +x, what was at x + u arrives at x."""
    grid = Grid((8, 3, 3), (2.0, 1.0, 1.0))
    moving = torch.zeros(3, 3, 8)
    moving[:, :, 5] = 1.0
    displacement = torch.zeros(3, 3, 3, 8)
    displacement[0] = 4.0  # mm along x: two voxels
    assert warp(moving, displacement, grid)[1, 1].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]


def test_warp_from_another_grid() -> None:
    moving_grid = Grid((30, 26, 24), (1.1, 0.9, 1.7), (-20.0, -20.0, 80.0), MIRRORED.direction)
    inside = moving_grid.index_to_world(torch.tensor([[14.5, 12.5, 11.5]]).double())[0]
    fixed = Grid((6, 5, 4), (1.0, 1.5, 2.0), tuple((inside - 4).tolist()), OBLIQUE)
    shift = torch.tensor([0.5, 1.0, -0.7]).double()[:, None, None, None].expand(3, *fixed.shape)
    warped = warp(ramp(world(moving_grid)), shift, fixed, moving_grid=moving_grid)
    assert torch.allclose(warped, ramp(world(fixed) + shift), rtol=0, atol=FLOAT64_MM)


def test_warp_outside_goes_on_or_is_filled() -> None:
    grid = Grid((4, 4, 4))
    far = torch.full((3, 4, 4, 4), 100.0)
    image = torch.arange(64.0).reshape(4, 4, 4)
    assert distinct(warp(image, far, grid)) == [63.0]
    assert distinct(warp(image, far, grid, fill=-1000.0)) == [-1000.0]


def test_warp_nearest_keeps_labels() -> None:
    labels = torch.randint(0, 5, TURNED.shape, generator=torch.Generator().manual_seed(1))
    displacement = smooth_velocity(TURNED, 2.0, dtype=torch.float32)
    assert set(distinct(warp(labels, displacement, TURNED, mode="nearest"))) <= {0.0, 1.0, 2.0, 3.0, 4.0}


def test_warp_refuses_what_is_not_on_its_grid() -> None:
    with pytest.raises(GeometryError, match="do not lie on"):
        warp(torch.zeros(4, 4, 4), torch.zeros(3, 4, 4, 5), Grid((4, 4, 4)))


def test_gradient_of_warp() -> None:
    grid = Grid((4, 3, 3), (1.0, 2.0, 1.5), direction=OBLIQUE)
    generator = torch.Generator().manual_seed(2)
    image = torch.randn(3, 3, 4, generator=generator, dtype=torch.float64)
    displacement = 0.3 * torch.randn(3, 3, 3, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda i, u: warp(i, u, grid), (image.requires_grad_(), displacement.requires_grad_()), atol=1e-4
    )


@GRIDS
def test_units_are_inverse_and_mm(grid: Grid) -> None:
    vectors = torch.randn(2, 3, *grid.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert torch.allclose(to_world_units(to_index_units(vectors, grid), grid), vectors)
    one_voxel = torch.zeros(3, *grid.shape, dtype=torch.float64)
    one_voxel[2] = 1.0
    length = to_world_units(one_voxel, grid).norm(dim=0)
    assert torch.allclose(length, torch.full_like(length, grid.spacing[2]))


@GRIDS
def test_exp_of_a_constant_velocity_is_itself(grid: Grid) -> None:
    velocity = torch.tensor([3.0, -7.0, 11.0]).double()[:, None, None, None].expand(3, *grid.shape)
    assert torch.allclose(exp(velocity, grid), velocity, rtol=0, atol=1e-9)


@GRIDS
def test_exp_of_a_linear_velocity_is_the_matrix_exponential(grid: Grid) -> None:
    matrix = np.array([[0.05, -0.10, 0.02], [0.08, -0.04, 0.05], [-0.03, 0.06, 0.03]])
    displacement = exp(linear_field(matrix, grid), grid, steps=14)
    expected = linear_field(expm(matrix) - np.eye(3), grid)
    # 2^-14 of the velocity as the first step leaves an error of the order |A|² |x| / 2^14
    assert torch.allclose(inner(displacement), inner(expected), rtol=0, atol=1e-3)


def test_exp_takes_as_many_steps_as_it_needs() -> None:
    velocity = smooth_velocity(TURNED, 12.0)
    assert torch.allclose(exp(velocity, TURNED), exp(velocity, TURNED, steps=10), rtol=0, atol=0.25)
    assert torch.equal(exp(torch.zeros(3, *TURNED.shape), TURNED), torch.zeros(3, *TURNED.shape))


@GRIDS
def test_compose_of_linear_maps(grid: Grid) -> None:
    first, second = np.diag([0.05, -0.03, 0.04]), 0.05 * np.ones((3, 3))
    together = compose(linear_field(first, grid), linear_field(second, grid), grid)
    expected = linear_field((np.eye(3) + second) @ (np.eye(3) + first) - np.eye(3), grid)
    assert torch.allclose(inner(together), inner(expected), rtol=0, atol=FLOAT64_MM)


def test_compose_goes_along_the_first_then_the_second() -> None:
    """Warping by a composition is warping by the second first, seen from the fixed grid."""
    image = ramp(world(AXIAL))
    first, second = smooth_velocity(AXIAL, 2.0, seed=1), smooth_velocity(AXIAL, 2.0, seed=2)
    once = warp(image, compose(first, second, AXIAL), AXIAL)
    middle = warp(image, second, AXIAL)
    # warping twice interpolates twice; with a ramp only the curvature of the field is lost
    assert torch.allclose(inner(once), inner(warp(middle, first, AXIAL)), rtol=0, atol=1e-3)


@GRIDS
def test_invert_a_linear_map(grid: Grid) -> None:
    matrix = np.array([[0.05, -0.06, 0.02], [0.08, -0.04, 0.05], [-0.03, 0.06, 0.03]])
    inverse = invert(linear_field(matrix, grid), grid, iterations=40)
    expected = linear_field(np.linalg.inv(np.eye(3) + matrix) - np.eye(3), grid)
    assert torch.allclose(inner(inverse), inner(expected), rtol=0, atol=1e-3)


@GRIDS
def test_a_field_and_its_inverse_cancel(grid: Grid) -> None:
    displacement = smooth_velocity(grid, 2.0)
    inverse = invert(displacement, grid, iterations=40)
    assert compose(inverse, displacement, grid).abs().max() < 1e-6  # what the iteration solves
    assert compose(displacement, inverse, grid).abs().max() < 0.2  # mm, of 2: interpolated at other places


@GRIDS
def test_exp_of_the_negative_velocity_is_the_inverse_up_to_the_voxel_size(grid: Grid) -> None:
    """What is left is the error of linear interpolation: it falls with the voxel size, in theory to a quarter."""
    left = []
    for factor in (2, 4):
        fine = grid.resized((14 * factor, 12 * factor, 10 * factor))
        velocity = smooth_velocity(fine, 4.0)
        left.append(float(compose(exp(velocity, fine, 10), exp(-velocity, fine, 10), fine).abs().max()))
    assert left[0] < 0.1  # mm, of 4
    assert left[1] < 0.5 * left[0]


def test_log_undoes_exp() -> None:
    fine = TURNED.resized((28, 24, 20))
    velocity = smooth_velocity(fine, 3.0)
    # mm, of 3: the iteration comes no nearer on this grid, and goes astray beyond some twenty rounds
    assert torch.allclose(log(exp(velocity, fine), fine), velocity, rtol=0, atol=0.2)


@GRIDS
def test_jacobian_of_an_affine_map(grid: Grid) -> None:
    matrix = np.array([[0.10, -0.20, 0.05], [0.15, 0.07, 0.02], [-0.08, 0.11, -0.12]])
    determinant = jacobian_determinant(linear_field(matrix, grid), grid)
    expected = np.linalg.det(np.eye(3) + matrix)
    assert torch.allclose(determinant, torch.full_like(determinant, expected), rtol=0, atol=1e-9)


def test_jacobian_says_expansion_and_folding() -> None:
    grow = linear_field(np.eye(3) * 0.1, TURNED)
    assert jacobian_determinant(grow, TURNED).mean() == pytest.approx(1.1**3)
    assert not folds(grow, TURNED).any()
    flip = linear_field(np.diag([-2.0, 0.0, 0.0]), TURNED)
    assert jacobian_determinant(flip, TURNED).mean() == pytest.approx(-1.0)
    assert folds(flip, TURNED).all()


def test_folds_sees_what_central_differences_miss() -> None:
    grid = Grid((9, 5, 5))
    displacement = torch.zeros(3, 5, 5, 9)
    displacement[0, 2, 2, 4] = 1.6  # one voxel jumps over its neighbour
    assert jacobian_determinant(displacement, grid).min() > 0
    assert folds(displacement, grid).any()


@pytest.mark.parametrize("lead", [(2,), (2, 3)])
def test_batch_equals_single(lead: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(4)
    count = int(np.prod(lead))
    fields = torch.stack([smooth_velocity(TURNED, 2.0, seed=i) for i in range(count)])
    images = torch.randn(count, *TURNED.shape, generator=generator, dtype=torch.float64)
    batch, pictures = fields.reshape(*lead, *fields.shape[1:]), images.reshape(*lead, *images.shape[1:])
    pairs: tuple[tuple[Tensor, Callable[[int], Tensor]], ...] = (
        (warp(pictures, batch, TURNED), lambda i: warp(images[i], fields[i], TURNED)),
        (exp(batch, TURNED, 5), lambda i: exp(fields[i], TURNED, 5)),
        (compose(batch, batch, TURNED), lambda i: compose(fields[i], fields[i], TURNED)),
        (invert(batch, TURNED, 4), lambda i: invert(fields[i], TURNED, 4)),
        (jacobian_determinant(batch, TURNED), lambda i: jacobian_determinant(fields[i], TURNED)),
        (resample(batch, TURNED, AXIAL), lambda i: resample(fields[i], TURNED, AXIAL)),
    )
    for many, one in pairs:
        flat = many.reshape(count, *many.shape[len(lead) :])
        for i in range(count):
            assert torch.allclose(flat[i], one(i), rtol=0, atol=1e-10)


def test_warp_of_channels_equals_warp_of_each() -> None:
    field = smooth_velocity(TURNED, 2.0)
    channels = torch.randn(3, *TURNED.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    together = warp(channels, field, TURNED)
    assert torch.equal(together, torch.stack([warp(c, field, TURNED) for c in channels]))


def test_float64_is_kept_and_agrees_with_float32() -> None:
    velocity = smooth_velocity(TURNED, 4.0)
    for function in (exp, invert, jacobian_determinant):
        double, single = function(velocity, TURNED), function(velocity.float(), TURNED)
        assert double.dtype is torch.float64
        assert single.dtype is torch.float32
        assert torch.allclose(double, single.double(), rtol=0, atol=FLOAT32_MM)


@GRIDS
def test_resample_to_the_same_grid_changes_nothing(grid: Grid) -> None:
    image = torch.randn(*grid.shape, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    twin = Grid(grid.size, grid.spacing, grid.origin, grid.direction)
    assert torch.allclose(resample(image, grid, twin), image, rtol=0, atol=1e-4)


def test_resample_of_a_ramp_to_a_turned_grid() -> None:
    middle = centre(AXIAL)
    target = Grid((4, 3, 3), (0.8, 1.2, 2.0), tuple((middle - 2).tolist()), OBLIQUE)
    assert torch.allclose(resample(ramp(world(AXIAL)), AXIAL, target), ramp(world(target)), rtol=0, atol=FLOAT64_MM)


def test_resample_smooths_what_gets_coarser() -> None:
    grid = Grid((48, 48, 48))
    noise = torch.randn(*grid.shape, generator=torch.Generator().manual_seed(7))
    coarse = resample(noise, grid, grid.with_spacing(4.0))
    # picking single voxels would keep the SD of 1; the mean over 4³ voxels has 1/8, a Gaussian reaches farther
    assert 0.05 < float(coarse.std()) < 0.15
    assert torch.allclose(resample(torch.ones(*grid.shape), grid, grid.with_spacing(4.0)), torch.ones(12, 12, 12))
    labels = (noise > 0).long() * 7
    assert distinct(resample(labels, grid, grid.with_spacing(3.0), mode="nearest")) == [0.0, 7.0]


def test_gaussian_smooth_against_scipy() -> None:
    image = torch.randn(9, 12, 15, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    ours = gaussian_smooth(image, [1.4, 0.8, 1.1])
    # SciPy's axes are (z, y, x); the same radius of ceil(3 sigma)
    theirs = gaussian_filter(image.numpy(), (1.1, 0.8, 1.4), mode="nearest", radius=(4, 3, 5))
    assert torch.allclose(ours, torch.as_tensor(theirs), rtol=0, atol=1e-12)


@GRIDS
def test_points_and_images_agree(grid: Grid) -> None:
    """A point that the field sends from x to y: the warped image at x is the moving image at y."""
    field = DisplacementField(smooth_velocity(grid, 3.0, dtype=torch.float32), grid)
    index = torch.tensor([[4.0, 5.0, 6.0], [7.0, 3.0, 4.0], [9.0, 8.0, 5.0]], dtype=torch.float64)
    here = grid.index_to_world(index)
    there = field.transform_points(here)
    warped = field.warp(ramp(world(grid)).float())
    at = [float(warped[int(z), int(y), int(x)]) for x, y, z in index.tolist()]
    assert ramp(there.T).tolist() == pytest.approx(at, abs=FLOAT32_MM)
    assert there.dtype is torch.float64


def test_displacement_field_methods() -> None:
    shift = torch.tensor([3.0, 4.0, 0.0])[:, None, None, None].expand(3, *TURNED.shape).contiguous()
    field = DisplacementField(shift, TURNED)
    assert torch.allclose(field.magnitude, torch.full(TURNED.shape, 5.0))
    assert torch.allclose(field.then(field).data, 2 * shift, atol=FLOAT32_MM)
    assert torch.allclose(field.inverted().data, -shift, atol=FLOAT32_MM)
    assert torch.allclose(field.jacobian_determinant(), torch.ones(TURNED.shape), atol=1e-5)
    with pytest.raises(GeometryError, match="one grid"):
        field.then(DisplacementField(torch.zeros(3, *AXIAL.shape), AXIAL))
    with pytest.raises(GeometryError, match="has shape"):
        DisplacementField(torch.zeros(3, 2, 2, 2), TURNED)


def test_velocity_field_on_a_coarser_grid() -> None:
    coarse = TURNED.resized((7, 6, 5))
    velocity = VelocityField(linear_field(0.05 * np.eye(3), coarse).float(), coarse)
    displacement = velocity.displacement(TURNED)
    expected = linear_field((np.exp(0.05) - 1) * np.eye(3), TURNED)
    assert displacement.grid is TURNED
    # few steps are taken for so small a velocity: |A|² |x| / 2 of error, |x| up to 20 mm
    assert torch.allclose(inner(displacement.data).double(), inner(expected), rtol=0, atol=0.03)
    back = velocity.inverse().displacement(TURNED)
    assert inner(compose(displacement.data, back.data, TURNED)).abs().max() < 0.06


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu() -> None:
    velocity = smooth_velocity(TURNED, 4.0, dtype=torch.float32)
    image = ramp(world(TURNED)).float()
    for function in (exp, invert, jacobian_determinant, lambda u, g: warp(image.to(u.device), u, g)):
        here, there = function(velocity, TURNED), function(velocity.cuda(), TURNED)
        assert there.is_cuda
        assert torch.allclose(here, there.cpu(), rtol=0, atol=5e-3)
