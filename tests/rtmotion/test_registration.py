import dataclasses
import math
from pathlib import Path

import pytest
import torch

from rtmotion.errors import GeometryError, PhaseError
from rtmotion.field import VelocityField, exp, folds, gaussian_smooth, resample, warp, world_coordinates
from rtmotion.grid import Grid
from rtmotion.registration import Registration, RegistrationEngine, SvfRegistration, register_sequence
from rtmotion.registration.flow import ControlLattice, Flow, interpolation_matrix
from rtmotion.registration.region import near_body
from rtmotion.sequence import Phase, PhaseSequence, Volume

MEAN_ERROR_MM = 0.5
"""Mean error of a recovered field inside the volume: a quarter of the working spacing of 2 mm."""

IDENTITY_MM = 0.05
"""Mean displacement where there is nothing to register: Adam's last steps have this size."""

ANGLE = math.radians(20)
OBLIQUE = (math.cos(ANGLE), -math.sin(ANGLE), 0.0, math.sin(ANGLE), math.cos(ANGLE), 0.0, 0.0, 0.0, 1.0)
GRID = Grid((40, 36, 24), (2.0, 2.0, 3.0), (-30.0, 12.0, 50.0), OBLIQUE)
ENGINE = SvfRegistration(iterations=(30, 30, 40))


def texture(grid: Grid, seed: int = 0) -> torch.Tensor:
    """Blobs of about 5 mm, lung HU, on the grid."""
    noise = torch.randn(grid.shape, generator=torch.Generator().manual_seed(seed))
    smooth = gaussian_smooth(noise, [5.0 / s for s in grid.spacing])
    return -500 + 150 * smooth / smooth.std()


def swirl(grid: Grid) -> torch.Tensor:
    """A smooth velocity of up to about 7 mm, LPS."""
    x = world_coordinates(grid) - world_coordinates(grid).mean(dim=(1, 2, 3), keepdim=True)
    bump = torch.exp(-x.square().sum(dim=0) / (2 * 22.0**2))
    return torch.stack([3 * bump, -2 * bump, 6 * bump])


def inner(field: torch.Tensor, margin: int = 5) -> torch.Tensor:
    return field[..., margin:-margin, margin:-margin, margin:-margin]


def test_a_known_flow_is_recovered_on_an_oblique_anisotropic_grid() -> None:
    moving = texture(GRID)
    truth = exp(swirl(GRID), GRID)
    fixed = warp(moving, truth, GRID)
    found = ENGINE.register(Volume(fixed, GRID), Volume(moving, GRID))
    error = inner(found.displacement.data - truth).norm(dim=0)
    assert inner(truth).norm(dim=0).mean() > 3 * MEAN_ERROR_MM
    assert error.mean() < MEAN_ERROR_MM
    assert not folds(found.displacement.data, GRID).any()
    assert found.details["folding_percent"] == 0
    # the velocity is that of the displacement
    assert found.velocity is not None
    assert found.velocity.grid == ENGINE.control_grid(GRID)
    torch.testing.assert_close(found.velocity.displacement(GRID).data, found.displacement.data)


def test_a_shift_points_from_fixed_to_moving_across_grids_of_their_own() -> None:
    shift = torch.tensor([3.0, -2.0, 4.0])
    wide = Grid((52, 48, 36), (2.0, 2.0, 3.0), (-30.0 - 12, 12.0 - 12, 50.0 - 18), OBLIQUE)
    moving = texture(wide)
    fixed = warp(moving, shift[:, None, None, None].expand(3, *GRID.shape), GRID, moving_grid=wide)
    found = ENGINE.register(Volume(fixed, GRID), Volume(moving, wide)).displacement
    middle = GRID.index_to_world(torch.tensor([[20.0, 18.0, 12.0], [14.0, 20.0, 10.0]]))
    torch.testing.assert_close(found.transform_points(middle), middle + shift, rtol=0, atol=2 * MEAN_ERROR_MM)


def test_what_is_alike_does_not_move() -> None:
    volume = Volume(texture(GRID), GRID)
    assert ENGINE.register(volume, volume).displacement.magnitude.mean() < IDENTITY_MM


def test_same_seed_same_field() -> None:
    moving = texture(GRID)
    fixed = Volume(warp(moving, exp(swirl(GRID), GRID), GRID), GRID)
    quick = SvfRegistration(iterations=(4, 4, 8))
    first, again = (quick.register(fixed, Volume(moving, GRID)).displacement.data for _ in range(2))
    assert torch.equal(first, again)
    other = dataclasses.replace(quick, seed=1).register(fixed, Volume(moving, GRID)).displacement.data
    assert not torch.equal(first, other)


def test_only_the_mask_counts() -> None:
    moving = texture(GRID)
    fixed = warp(moving, exp(swirl(GRID), GRID), GRID)
    mask = torch.zeros(GRID.shape, dtype=torch.bool)
    mask[:, :, :20] = True
    spoiled = torch.where(mask, fixed, texture(GRID, seed=5))
    quick = SvfRegistration(spacings=(2.0,), iterations=(8,), strides=(1,), local_weight=0.0)
    plain, other = (quick.register(Volume(f, GRID), Volume(moving, GRID), mask).displacement for f in (fixed, spoiled))
    unmasked = quick.register(Volume(spoiled, GRID), Volume(moving, GRID)).displacement
    far = (slice(None), slice(None), slice(None), slice(0, 12))
    changed = (plain.data - other.data)[far].norm(dim=0).mean()
    # what lies outside the mask reaches in only through the smoothness of the field
    assert changed < 0.25 * (plain.data - unmasked.data)[far].norm(dim=0).mean()
    with pytest.raises(GeometryError, match="mask"):
        quick.register(Volume(fixed, GRID), Volume(moving, GRID), mask[1:])


def test_violent_motion_does_not_fold() -> None:
    # two unrelated textures and next to no regularisation: the worst that can be asked for
    engine = SvfRegistration(iterations=(20, 20, 40), diffusion=1e-4, smoothing=0, rate=0.3)
    found = engine.register(Volume(texture(GRID), GRID), Volume(texture(GRID, seed=3), GRID))
    assert found.displacement.magnitude.max() > 5
    assert not folds(found.displacement.data, GRID).any()


def test_a_sequence_is_registered_to_its_reference() -> None:
    reference = texture(GRID)
    heights = (0.0, 0.5, 1.0, 0.5)
    truth = [exp(h * swirl(GRID), GRID) for h in heights]
    phases = tuple(Phase(i / 4) for i in range(4))
    sequence = PhaseSequence(phases, tuple(Volume(warp(reference, u, GRID), GRID) for u in truth))
    done: list[tuple[int, int]] = []
    found = register_sequence(ENGINE, sequence, 0, lambda i, n: done.append((i, n)))
    assert done == [(2, 4), (3, 4), (4, 4)]
    assert not found[0].displacement.data.any()
    for registration, u in zip(found, truth, strict=True):
        assert inner(registration.displacement.data - u).norm(dim=0).mean() < MEAN_ERROR_MM
        assert registration.velocity is not None
        assert registration.velocity.grid == ENGINE.control_grid(GRID)
    with pytest.raises(PhaseError, match="0 to 3"):
        register_sequence(ENGINE, sequence, 4)


def test_any_engine_may_register_a_sequence() -> None:
    class Still:
        name = "still"

        def register(self, fixed: Volume, moving: Volume, mask: torch.Tensor | None = None) -> Registration:
            velocity = VelocityField(fixed.hu.mean() - moving.hu.mean() + torch.zeros(3, *GRID.shape), GRID)
            return Registration(velocity.displacement(GRID))

    engine: RegistrationEngine = Still()
    volumes = tuple(Volume(torch.full(GRID.shape, float(i)), GRID) for i in range(3))
    found = register_sequence(engine, PhaseSequence(tuple(Phase(i / 3) for i in range(3)), volumes), 1)
    means = [float(r.displacement.data.mean()) for r in found]
    # phase j is the fixed volume and the reference the moving one
    assert means == pytest.approx([-1.0, 0.0, 1.0])


def test_a_level_needs_all_its_settings() -> None:
    with pytest.raises(ValueError, match="each level"):
        SvfRegistration(spacings=(4.0, 2.0))
    with pytest.raises(ValueError, match="weight"):
        SvfRegistration(hu_weight=0.0, local_weight=0.0)


def test_interpolation_is_that_of_resample() -> None:
    coarse = Grid((7, 6, 5), (4.0, 4.0, 4.0))
    fine = coarse.resized((20, 12, 9))
    field = torch.randn(3, *coarse.shape, generator=torch.Generator().manual_seed(0))
    z, y, x = (interpolation_matrix(n, m) for n, m in zip(coarse.shape, fine.shape, strict=True))
    by_matrix = torch.einsum("czyx,Zz,Yy,Xx->cZYX", field, z, y, x)
    torch.testing.assert_close(by_matrix, resample(field, coarse, fine), rtol=0, atol=1e-5)
    part = interpolation_matrix(coarse.size[0], fine.size[0], offset=1, stride=2)
    torch.testing.assert_close(part, x[1::2])


def test_the_gradient_of_the_flow_is_nearly_the_exact_one() -> None:
    grid = Grid((16, 16, 16), (4.0, 4.0, 4.0))
    lattice = ControlLattice(grid, torch.device("cpu"))
    velocity = (swirl(grid) / 8).requires_grad_(True)
    weights = gaussian_smooth(torch.randn(3, *grid.shape, generator=torch.Generator().manual_seed(1)), [2.0] * 3)
    (exact,) = torch.autograd.grad((lattice.flow(velocity, 3) * weights).sum(), velocity)
    (pulled,) = torch.autograd.grad((Flow.apply(velocity, lattice, 3) * weights).sum(), velocity)  # type: ignore[no-untyped-call]
    assert torch.cosine_similarity(exact.flatten(), pulled.flatten(), dim=0) > 0.98
    assert float(pulled.norm() / exact.norm()) == pytest.approx(1, abs=0.1)


def test_the_table_and_the_air_are_left_out() -> None:
    grid = Grid((60, 60, 20), (4.0, 4.0, 4.0))
    hu = torch.full(grid.shape, -1000.0)
    hu[:, 10:40, 12:48] = 40.0
    hu[:, 16:34, 18:42] = -800.0
    hu[:, 52:55, 5:55] = 0.0
    mask = near_body(Volume(hu, grid))
    assert mask[:, 10:40, 12:48].all()
    assert not mask[:, 50:].any()
    assert not mask[:, :6].any()
    crop = Volume(hu[:, 14:36, 16:44].contiguous(), Grid((28, 22, 20), (4.0, 4.0, 4.0)))
    assert near_body(crop).all()


@pytest.mark.data
def test_a_real_chest_fits_better_after_registration(real_data: Path) -> None:
    import SimpleITK as sitk  # noqa: N813

    from rtmotion.interop import volume_from_sitk

    folder = real_data / "lung_tumour_crop_4dct"
    volumes = []
    for name in ("phase_00.nii.gz", "phase_60.nii.gz"):
        full = volume_from_sitk(sitk.ReadImage(str(folder / name)))
        grid = full.grid.with_spacing(3.0)
        volumes.append(Volume(resample(full.hu, full.grid, grid), grid))
    moving, fixed = volumes
    found = SvfRegistration().register(fixed, moving)
    before = (moving.hu - fixed.hu).abs().mean()
    after = (found.displacement.warp(moving.hu) - fixed.hu).abs().mean()
    assert after < 0.5 * before
    assert found.details["folding_percent"] == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_the_same_field() -> None:
    moving = texture(GRID)
    fixed = warp(moving, exp(swirl(GRID), GRID), GRID)
    target, source = Volume(fixed, GRID), Volume(moving, GRID)
    here = ENGINE.register(target, source).displacement.data
    there = [ENGINE.register(target.to("cuda"), source.to("cuda")).displacement.data for _ in range(2)]
    assert torch.equal(there[0], there[1])
    assert (there[0].cpu() - here).norm(dim=0).mean() < MEAN_ERROR_MM
