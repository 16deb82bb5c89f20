"""The breathing map by itself: exact both ways, its Jacobian, its sliding."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rtmotion_data.phantom.config import PhantomConfig
from rtmotion_data.phantom.motion import BreathingMap, Place, State, shear
from rtmotion_data.phantom.patient import sample_build, sample_motion
from rtmotion_data.phantom.waveform import recorded_cycles, sample_trace, sample_waveform

ROUND_TRIP_DOUBLE = 1e-7
"""mm; Newton's method in float64 has converged far below this."""

ROUND_TRIP_SINGLE = 2e-3
"""mm; float32 resolves 3e-5 mm at 300 mm, and the steps of the map add up."""

Map = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], tuple[torch.Tensor, ...]]

STATES = [State(1.0, 0.9, 0.5), State(0.4, 0.7, -1.0), State(-0.08, 1.1, 0.0), State(1.2, -0.1, 1.0)]


def breathing_map(seed: int) -> BreathingMap:
    rng = np.random.default_rng(seed)
    config = PhantomConfig()
    return BreathingMap(sample_build(rng, config), sample_motion(rng, config))


def points(seed: int, n: int = 40_000, dtype: torch.dtype = torch.float64) -> Place:
    rng = np.random.default_rng(seed)
    xyz = rng.uniform((-190, -150, -180), (190, 170, 160), (n, 3))
    x, y, z = torch.from_numpy(xyz).to(dtype).unbind(-1)
    return Place(x, y, z)


def distance(p: Place, q: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> float:
    return float(torch.stack([p.x - q[0], p.y - q[1], p.z - q[2]]).abs().max())


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("state", STATES)
def test_forwards_and_back_again_is_the_identity(seed: int, state: State) -> None:
    breathing = breathing_map(seed)
    q = points(seed)
    back = breathing.backward(*breathing.forward(q, state), state)
    assert distance(q, (back.x, back.y, back.z)) < ROUND_TRIP_DOUBLE


@pytest.mark.parametrize("seed", range(3))
def test_back_and_forwards_again_is_the_identity_in_single_precision(seed: int) -> None:
    breathing = breathing_map(seed)
    p = points(seed, dtype=torch.float32)
    for state in STATES:
        q = breathing.backward(p.x, p.y, p.z, state)
        assert distance(p, breathing.forward(q, state)) < ROUND_TRIP_SINGLE


def test_the_static_diffeomorphism_is_undone_by_its_inverse_and_keeps_volume() -> None:
    build = breathing_map(3).build
    p = points(3)
    there = shear(p.x, p.y, p.z, build)
    assert distance(p, shear(*there, build, inverse=True)) < ROUND_TRIP_DOUBLE
    assert distance(p, there) > 2.0  # it does something
    assert torch.allclose(
        numeric_jacobian(lambda x, y, z: shear(x, y, z, build), p), torch.ones(len(p.x)).double(), atol=1e-6
    )


def numeric_jacobian(function: Map, p: Place, step: float = 1e-4) -> torch.Tensor:
    columns = []
    for axis in range(3):
        shift = [torch.zeros_like(p.x) for _ in range(3)]
        shift[axis] += step
        plus = torch.stack(function(p.x + shift[0], p.y + shift[1], p.z + shift[2]))
        minus = torch.stack(function(p.x - shift[0], p.y - shift[1], p.z - shift[2]))
        columns.append((plus - minus) / (2 * step))
    determinant: torch.Tensor = torch.linalg.det(torch.stack(columns, dim=-1).permute(1, 0, 2))
    return determinant


@pytest.mark.parametrize("seed", range(3))
def test_the_jacobian_is_that_of_the_map_and_positive(seed: int) -> None:
    breathing = breathing_map(seed)
    p, state = points(seed, 5000), STATES[0]
    place = breathing.backward(p.x, p.y, p.z, state, density=True)
    assert place.density is not None
    assert float(place.density.min()) > 0.3

    def forward(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return breathing.forward(Place(x, y, z), state)

    numeric = numeric_jacobian(forward, place)
    # at the wall and at the dome the map has a kink or slides: a difference quotient across it says nothing
    wrong = ((numeric - place.density).abs() > 1e-4).double().mean()
    assert float(wrong) < 2e-3


def test_the_wall_slides_along_itself() -> None:
    """Points on both sides of the pleura move apart along the wall, never across it."""
    breathing = breathing_map(4)
    state = State(1.0, 0.0)
    angle = torch.linspace(-3.1, 3.1, 400, dtype=torch.float64)
    s = torch.full_like(angle, 0.8 * breathing.build.height)
    u0, v0 = torch.cos(angle), torch.sin(angle)
    radius = breathing.wall_radius(u0, v0, torch.ones_like(u0))
    z = breathing.build.top - s
    inside = Place(*breathing.absolute(u0 * radius * 0.9999, v0 * radius * 0.9999, s), z)
    outside = Place(*breathing.absolute(u0 * radius * 1.0001, v0 * radius * 1.0001, s), z)
    within, without = breathing.slide(inside, state), breathing.slide(outside, state)
    assert torch.equal(without.z, outside.z)
    assert float((inside.z - within.z).min()) > 2.0
    # where the inner point went it is still as near to the wall as it was: no gap, no overlap
    u, v = breathing.relative(within.x, within.y, breathing.build.top - within.z)
    r = (u * u + v * v).sqrt()
    assert float((r - 0.9999 * breathing.wall_radius(u, v, r)).abs().max()) < 1e-9


def test_end_exhale_is_the_reference() -> None:
    breathing = breathing_map(5)
    p = points(5)
    assert distance(p, breathing.forward(p, State(0.0, 0.0, 0.0))) < 1e-12


def test_amplitudes_stay_in_the_ranges_of_the_configuration() -> None:
    config = PhantomConfig()
    for seed in range(200):
        m = sample_motion(np.random.default_rng(seed), config)
        for value, (low, high) in (
            (m.diaphragm, config.diaphragm_range),
            (m.chest, config.chest_range),
            (m.lateral, config.lateral_range),
            (m.posterior_ratio, config.posterior_ratio),
            (m.right_ratio, config.right_ratio),
            (m.lag, config.lag_range),
        ):
            assert low <= value <= high


def test_a_waveform_is_periodic_spans_its_range_and_lags() -> None:
    waveform = sample_waveform(np.random.default_rng(1), 0.1, None, random_start=False)
    phase = np.linspace(0, 1, 37)
    assert np.allclose(waveform.at(phase), waveform.at(phase + 3))
    assert np.allclose(waveform.chest(phase + 0.1), waveform.at(phase))
    assert np.allclose(waveform.at(np.arange(40) / 40), waveform.depth)


@pytest.mark.parametrize("seed", range(8))
def test_the_cycle_starts_at_end_inhale_unless_asked_otherwise(seed: int) -> None:
    cycles = recorded_cycles()
    assert cycles is not None
    for source in (None, cycles):
        waveform = sample_waveform(np.random.default_rng(seed), 0.0, source, random_start=False)
        assert waveform.depth.argmax() == 0
        assert waveform.depth.max() == pytest.approx(1)
        assert waveform.depth.min() == pytest.approx(0)
    starts = {
        int(sample_waveform(np.random.default_rng(s), 0.0, cycles, random_start=True).depth.argmax()) for s in range(20)
    }
    assert len(starts) > 5


def test_recorded_cycles_run_from_inhale_over_exhale_to_inhale() -> None:
    cycles = recorded_cycles()
    assert cycles is not None
    mean = cycles.mean(axis=0)
    assert mean.argmin() == 0
    assert 0.35 < mean.argmax() / len(mean) < 0.7


def test_the_trace_repeats_the_waveform() -> None:
    rng = np.random.default_rng(2)
    waveform = sample_waveform(rng, 0.0, None, random_start=False)
    trace = sample_trace(rng, waveform, 4.0, 12.0)
    assert trace.phase is not None
    assert trace.duration > 35
    assert np.corrcoef(trace.amplitude, waveform.at(trace.phase))[0, 1] > 0.95
