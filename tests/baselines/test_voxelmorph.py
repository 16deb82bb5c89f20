import math
from importlib.resources import as_file, files

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rtmotion.errors import GeometryError
from rtmotion.field import DisplacementField, resample
from rtmotion.grid import Grid
from rtmotion.sequence import Volume
from rtmotion.weights import sha256
from rtmotion_baselines.registration import voxelmorph
from rtmotion_baselines.registration.voxelmorph import (
    VoxelMorphConfig,
    VoxelMorphRegistration,
    build_network,
)
from rtmotion_baselines.registration.voxelmorph_training import VoxelMorphRecipe
from rtmotion_data.phantom import Phantom, PhantomConfig, make_phantom, make_tensors

CONFIG = VoxelMorphConfig()
TILT = math.cos(0.2), math.sin(0.2)
OBLIQUE = Grid((20, 30, 17), (2.0, 1.5, 5.0), (-40.0, 3.0, 7.0), (TILT[0], -TILT[1], 0, TILT[1], TILT[0], 0, 0, 0, -1))


class Constant(nn.Module):
    """A network that always says the same velocity, voxels along x, y, z."""

    def __init__(self, voxels: tuple[float, float, float]) -> None:
        super().__init__()
        self.voxels = torch.tensor(voxels)[None, :, None, None, None]

    def forward(self, pair: Tensor) -> Tensor:
        return self.voxels.expand(1, 3, *pair.shape[2:])


@pytest.mark.parametrize("grid", [OBLIQUE, Grid((64, 48, 8), (4.0, 4.0, 4.0)), Grid((1, 2, 3))])
def test_the_networks_grid_covers_the_volume_along_the_patients_axes(grid: Grid) -> None:
    found = grid.along_patient_axes(CONFIG.spacing, CONFIG.multiple)
    assert found.is_axis_aligned
    assert found.spacing == (4.0, 4.0, 4.0)
    assert all(n % CONFIG.multiple == 0 for n in found.size)
    corners = torch.tensor(list(np.ndindex(2, 2, 2))) * torch.tensor(grid.size) - 0.5
    index = found.world_to_index(grid.index_to_world(corners.double()))
    assert bool((index >= -0.5 - 1e-6).all())
    assert bool((index <= torch.tensor(found.size) - 0.5 + 1e-6).all())


def test_an_untrained_network_says_no_motion() -> None:
    pair = torch.randn(1, 4, 16, 8, 8)
    assert bool((build_network()(pair) == 0).all())


@pytest.mark.parametrize("grid", [OBLIQUE, Grid((12, 13, 14), (3.0, 2.0, 5.0))])
def test_the_networks_voxels_become_mm_along_the_patients_axes(monkeypatch: pytest.MonkeyPatch, grid: Grid) -> None:
    monkeypatch.setattr(voxelmorph, "shipped_network", lambda device: Constant((0.5, -1.0, 0.25)))
    volume = Volume(torch.zeros(grid.shape), grid)
    found = VoxelMorphRegistration().register(volume, volume)
    expected = torch.tensor([2.0, -4.0, 1.0])[:, None, None, None]
    assert torch.allclose(found.displacement.data, expected.expand(3, *grid.shape), atol=1e-4)
    assert found.velocity is not None
    assert torch.allclose(found.velocity.displacement(grid).data, found.displacement.data)


def test_a_mask_of_another_shape_is_refused() -> None:
    volume = Volume(torch.zeros(8, 8, 8), Grid((8, 8, 8)))
    with pytest.raises(GeometryError, match="does not lie on the fixed grid"):
        VoxelMorphRegistration().register(volume, volume, torch.ones(4, 4, 4, dtype=torch.bool))


def test_the_model_card_is_that_of_the_shipped_weights() -> None:
    folder = files("rtmotion_baselines.registration").joinpath("weights")
    with as_file(folder) as path:
        weights, card = path / "voxelmorph.safetensors", (path / "voxelmorph.md").read_text(encoding="utf-8")
        assert f"`{sha256(weights)}`" in card
        assert f"{weights.stat().st_size:,} bytes" in card
        assert weights.stat().st_size < 16e6
    assert f"{sum(p.numel() for p in build_network().parameters()):,} parameters" in card


@pytest.fixture(scope="module")
def patient() -> Phantom:
    return make_phantom(77, PhantomConfig(size=(56, 44, 44), spacing=(6.0, 6.0, 6.0), phases=2, diaphragm_median=18.0))


@pytest.mark.parametrize(("engine", "share"), [("voxelmorph", 0.6), ("voxelmorph-optimised", 0.5)])
def test_the_shipped_weights_register_a_patient_they_have_not_seen(patient: Phantom, engine: str, share: float) -> None:
    labels, volumes = patient.sequence.labels, patient.sequence.volumes
    fixed, moving = patient.sequence.landmarks[labels[1]], patient.sequence.landmarks[labels[0]]
    method = VoxelMorphRegistration(optimise=engine == "voxelmorph-optimised")
    found = method.register(volumes[1], volumes[0])
    assert method.name == engine
    before = (fixed - moving).norm(dim=1).mean()
    after = (found.displacement.transform_points(fixed) - moving).norm(dim=1).mean()
    assert before > 4
    assert after < share * before
    assert found.details["folding_percent"] < 0.05


def test_the_same_patient_on_turned_axes_gives_the_same_field(patient: Phantom) -> None:
    grid = patient.sequence.grid
    matrix = np.array([[0, -1, 0], [0, 0, 1], [-1, 0, 0]], dtype=float)
    size = tuple(int(n) for n in np.abs(matrix.T @ np.array(grid.size)))
    centre = grid.index_to_world(0.5 * (torch.tensor([grid.size]).double() - 1))[0].numpy()
    origin = centre - matrix @ (0.5 * (np.array(size) - 1) * 6.0)
    turned = Grid(size, grid.spacing, tuple(origin.tolist()), tuple(matrix.ravel().tolist()))  # type: ignore[arg-type]
    volumes = patient.sequence.volumes
    method = VoxelMorphRegistration()
    here = method.register(volumes[1], volumes[0]).displacement
    fixed, moving = (Volume(resample(v.hu, grid, turned), turned) for v in (volumes[1], volumes[0]))
    there = method.register(fixed, moving).displacement
    back = resample(there.data, turned, grid)
    assert float((back - here.data).abs().max()) < 0.02


@pytest.mark.parametrize("seed", [0, 2, 4])
def test_an_example_holds_the_true_motion_between_any_two_phases(seed: int) -> None:
    recipe = VoxelMorphRecipe(crop=(40, 32, 32), blurred=0.0)
    config = PhantomConfig(size=(56, 48, 48), spacing=(6.0, 6.0, 6.0), phases=4, random_start=True)
    patient = make_tensors(3, config)
    pair = recipe.example(recipe.keep(patient), torch.Generator().manual_seed(seed))
    fixed, moving = torch.randperm(4, generator=torch.Generator().manual_seed(seed))[:2].tolist()
    assert pair.fixed.shape == pair.moving.shape == pair.weight.shape == pair.grid.shape == (32, 32, 40)
    inside = pair.grid.contains(patient.landmarks[fixed])
    points, truth = patient.landmarks[fixed][inside], patient.landmarks[moving][inside]
    found = DisplacementField(pair.displacement, pair.grid).transform_points(points)
    assert int(inside.sum()) > 5
    assert (points - truth).norm(dim=1).mean() > 0.5
    # half precision of the fields, linear interpolation between 6 mm voxels
    assert (found - truth).norm(dim=1).max() < 0.3


def test_a_few_steps_make_the_loss_smaller() -> None:
    recipe = VoxelMorphRecipe(crop=(24, 24, 24), blurred=1.0)
    patient = make_tensors(3, PhantomConfig(size=(32, 32, 32), spacing=(8.0, 8.0, 8.0), phases=2))
    torch.manual_seed(0)
    network = recipe.build()
    example = recipe.example(recipe.keep(patient), torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(15):
        found = recipe.loss(network, example)
        optimiser.zero_grad()
        torch.autograd.backward(found["loss"])
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        losses.append(found["field"].item())
    assert min(losses) < 0.97 * losses[0]
    scores = recipe.validate(network.eval(), patient)
    assert scores["tre"] != scores["tre_identity"]
