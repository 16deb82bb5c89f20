import numpy as np
import torch

from rtmotion.cycle.appearance import AppearanceConfig, blend_weights, parenchyma_share, render, with_density
from rtmotion.field import VelocityField, exp, world_coordinates
from rtmotion.grid import Grid
from rtmotion.sequence import Volume

GRID = Grid((20, 18, 16), (3.0, 3.0, 4.0))


def test_the_nearest_phase_in_motion_counts_most_and_weights_add_up() -> None:
    fields = np.array([[0.0, 0.0], [1.0, 0.2], [2.0, 0.1], [3.0, -0.5]])
    gram = fields @ fields.T
    weights = blend_weights(gram, gram @ [0.0, 0.0, 1.0, 0.0], AppearanceConfig())
    assert weights.argmax() == 2
    assert weights.sum() == 1.0
    assert np.count_nonzero(blend_weights(gram, gram @ [0, 0, 1.0, 0], AppearanceConfig(sources=1))) == 1


def test_hysteresis_parts_phases_of_the_same_amplitude() -> None:
    """T10 and T90 have the same first coordinate (amplitude), but not the second (rate)."""
    fields = np.array([[0.0, 0.0], [1.0, 0.6], [2.0, 0.0], [1.0, -0.6]])
    weights = blend_weights(fields @ fields.T, fields @ fields.T @ [0.0, 0.95, 0.0, 0.05], AppearanceConfig())
    assert weights[1] > 10 * weights[3]


def test_the_less_sure_the_forecast_the_more_evenly_phases_count() -> None:
    gram = np.outer([0.0, 3.0, 6.0], [0.0, 3.0, 6.0])
    sure, unsure, lost = (blend_weights(gram, gram[2], AppearanceConfig(), doubt) for doubt in (0.0, 9.0, 1e6))
    assert sure[2] > unsure[2] > lost[2]
    np.testing.assert_allclose(lost, 1 / 3, atol=1e-4)
    # nine more mm² of doubt are three mm more of reach
    reach = AppearanceConfig(reach=(AppearanceConfig().reach ** 2 + 9 / 36) ** 0.5)
    np.testing.assert_allclose(unsure, blend_weights(gram, gram[2], reach))


def test_an_observed_phase_is_rendered_as_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    volumes = [Volume(torch.randn(GRID.shape, generator=generator) * 100 - 300, GRID) for _ in range(2)]
    velocities = torch.zeros(2, 3, *GRID.shape)
    image = render(velocities[1], velocities, GRID, volumes, np.array([0.0, 1.0]), AppearanceConfig())
    torch.testing.assert_close(image, volumes[1].hu, atol=1e-2, rtol=0)


def test_several_phases_average_their_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    volumes = [Volume(torch.randn(GRID.shape, generator=generator) * 50, GRID) for _ in range(4)]
    velocities = torch.zeros(4, 3, *GRID.shape)
    image = render(velocities[0], velocities, GRID, volumes, np.full(4, 0.25), AppearanceConfig(density=False))
    assert abs(float(image.std()) - 25.0) < 1.5


def test_lung_tissue_keeps_its_mass_and_soft_tissue_its_hu() -> None:
    centre = world_coordinates(GRID) - torch.tensor([28.5, 25.5, 30.0])[:, None, None, None]
    growth = exp(0.1 * centre, GRID)  # the map enlarges every length by e^0.1
    lung = with_density(torch.full(GRID.shape, -800.0), GRID, growth, GRID, AppearanceConfig())
    inner = (slice(6, 10), slice(7, 11), slice(8, 12))
    expected = 200.0 * np.exp(0.3) - 1000.0
    assert abs(float(lung[inner].mean()) - expected) < 6.0
    soft = with_density(torch.full(GRID.shape, 40.0), GRID, growth, GRID, AppearanceConfig())
    assert torch.equal(soft, torch.full(GRID.shape, 40.0))


def test_parenchyma_is_lung_and_not_air_or_tissue() -> None:
    hu = torch.tensor([[[-1024.0, -1000.0, -900.0, -800.0, -600.0, -500.0, 40.0]]])
    share = parenchyma_share(hu, AppearanceConfig())[0, 0]
    torch.testing.assert_close(share, torch.tensor([0.0, 0.0, 1.0, 1.0, 0.5, 0.0, 0.0]))


def test_the_displacement_of_a_zero_velocity_is_zero() -> None:
    assert VelocityField(torch.zeros(3, *GRID.shape), GRID).displacement(GRID).magnitude.max() == 0
