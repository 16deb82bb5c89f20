"""The factor on the spread of samples, and the noise of a scan, against what is known of both."""

import pytest
import torch

from rtmotion_baselines.generative.spread import LARGEST, LEVEL, sample_sd, scan_noise, widening

SAMPLING = 0.03
"""Relative error of a quantile of 100,000 normal numbers, with room."""


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_the_factor_is_what_the_spread_was_off_by(factor: float) -> None:
    spread = 5 + 20 * torch.rand(100_000, generator=torch.Generator().manual_seed(1))
    errors = (factor * spread * normal(100_000)).abs()
    assert widening([errors], [spread], [0.0]) == pytest.approx(factor, rel=SAMPLING)


def test_noise_that_a_scan_has_is_not_asked_of_the_samples() -> None:
    spread, noise = torch.full((100_000,), 10.0), 20.0
    errors = ((2.0 * spread) ** 2 + noise**2).sqrt() * normal(100_000).abs()
    assert widening([errors], [spread], [noise]) == pytest.approx(2.0, rel=2 * SAMPLING)
    assert widening([noise * normal(100_000).abs() / 2], [spread], [noise]) == pytest.approx(0.0, abs=1e-6)


def test_patients_count_by_their_voxels_and_have_noise_of_their_own() -> None:
    quiet, loud = normal(50_000).abs(), 30.0 * normal(50_000, seed=2).abs()
    found = widening([quiet, loud], [torch.ones(50_000), torch.ones(50_000)], [0.0, 30.0])
    held = torch.cat([quiet <= 1.2816 * found, loud <= 1.2816 * (found**2 + 30.0**2) ** 0.5])
    assert float(held.float().mean()) == pytest.approx(LEVEL, abs=0.01)


def test_samples_that_never_differ_get_the_largest_factor() -> None:
    assert widening([torch.ones(10)], [torch.zeros(10)], [0.0]) == pytest.approx(LARGEST)


def test_the_spread_is_that_of_a_further_sample_from_the_mean_of_the_others() -> None:
    samples = normal(5, 200_000)
    rest, further = samples[:4], samples[4]
    expected = float((further - rest.mean(dim=0)).square().mean())
    assert float(sample_sd(rest).square().mean()) == pytest.approx(expected, rel=SAMPLING)


@pytest.mark.parametrize("noise", [3.0, 25.0])
def test_noise_is_found_beside_edges_and_slopes(noise: float) -> None:
    z, y, x = torch.meshgrid(*(torch.arange(48.0) for _ in range(3)), indexing="ij")
    tissue = 40 + 0.5 * x + 0.2 * y
    volume = torch.where(z < 12, torch.full_like(tissue, -800.0), tissue)
    volume[:, 20:30, 20:30] = 700.0
    assert scan_noise(volume + noise * normal(48, 48, 48)) == pytest.approx(noise, rel=0.05)


def test_a_volume_without_soft_tissue_has_no_noise_to_be_seen() -> None:
    assert scan_noise(torch.full((4, 4, 4), -1000.0)) == 0.0
    assert scan_noise(torch.zeros(4, 4, 2)) == 0.0
