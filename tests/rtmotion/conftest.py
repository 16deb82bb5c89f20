import numpy as np
import pytest
import torch

from rtmotion.field import gaussian_smooth, index_coordinates
from rtmotion.grid import Grid
from rtmotion.sequence import Phase, PhaseSequence, Volume

GRID = Grid((24, 22, 20), (4.0, 4.0, 5.0), (-40.0, 10.0, -300.0))
WAVE = np.array([1.0, 0.8, 0.45, 0.2, 0.05, 0.0, 0.1, 0.35, 0.7, 0.95])
AMPLITUDE_MM = 12.0


@pytest.fixture(scope="session")
def breathing() -> PhaseSequence:
    """A lung-like texture that goes down by 12 mm in its middle on inhale, with three landmarks."""
    noise = torch.randn(GRID.shape, generator=torch.Generator().manual_seed(0))
    texture = gaussian_smooth(noise, [2.0, 2.0, 1.6])
    anatomy = -650 + 250 * texture / texture.std()
    index = index_coordinates(GRID)
    centre = torch.tensor([(n - 1) / 2 for n in GRID.size])
    bump = torch.exp(
        -((index - centre[:, None, None, None]) / torch.tensor([7.0, 7.0, 5.0])[:, None, None, None]).square().sum(0)
        / 2
    )
    from rtmotion.field import exp, warp

    down = torch.stack([torch.zeros_like(bump), torch.zeros_like(bump), bump]) * AMPLITUDE_MM
    points = GRID.index_to_world(torch.tensor([[11.0, 10.0, 9.0], [13.0, 11.0, 11.0], [9.0, 12.0, 8.0]]))
    volumes, landmarks, phases = [], {}, []
    for i, level in enumerate(WAVE):
        # exhale anatomy is the reference; inhaled anatomy lies lower, so the map from a phase to exhale goes up
        volumes.append(Volume(warp(anatomy, exp(float(level) * down, GRID), GRID), GRID))
        phase = Phase(i / 10)
        from rtmotion.field import DisplacementField

        landmarks[phase.label] = DisplacementField(exp(-float(level) * down, GRID), GRID).transform_points(points)
        phases.append(phase)
    return PhaseSequence(tuple(phases), tuple(volumes), landmarks)
