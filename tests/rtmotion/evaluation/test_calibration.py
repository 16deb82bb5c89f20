import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from rtmotion.errors import GeometryError
from rtmotion.evaluation import calibration

COUNT = 40_000
SAMPLING_PERCENT = 1.0
"""Four standard errors of a coverage of 50 % over `COUNT` points."""


def forecast_with_spread(stated: float, actual: float) -> calibration.Calibration:
    generator = torch.Generator().manual_seed(0)
    truth = actual / np.sqrt(3.0) * torch.randn((COUNT, 3), generator=generator)
    return calibration.calibrate(torch.zeros(COUNT, 3), truth, torch.full((COUNT,), stated))


def test_the_right_uncertainty_covers_what_it_says() -> None:
    found = forecast_with_spread(2.0, 2.0)
    for level in (50, 80, 95):
        assert found.coverage[level] == pytest.approx(level, abs=SAMPLING_PERCENT)


def test_too_small_an_uncertainty_covers_too_little_and_too_large_a_one_too_much() -> None:
    assert forecast_with_spread(1.0, 2.0).coverage[80] < 40
    assert forecast_with_spread(4.0, 2.0).coverage[80] > 99
    right = forecast_with_spread(2.0, 2.0).crps
    assert right < min(forecast_with_spread(1.0, 2.0).crps, forecast_with_spread(4.0, 2.0).crps)


def test_the_width_is_the_diameter_of_the_region() -> None:
    found = forecast_with_spread(2.0, 2.0)
    # 80 % of the points of a 3D normal distribution lie within 2.154 standard deviations of one axis
    assert found.width[80] == pytest.approx(2 * 2.154 * 2.0 / np.sqrt(3.0), rel=1e-3)
    assert found.width[50] < found.width[80] < found.width[95]


@pytest.mark.parametrize(("error", "sd"), [(0.0, 1.0), (1.7, 0.6), (-3.0, 2.0)])
def test_crps_is_the_integral_that_defines_it(error: float, sd: float) -> None:
    below, _ = quad(lambda t: norm.cdf(t, scale=sd) ** 2, -np.inf, error)
    above, _ = quad(lambda t: norm.sf(t, scale=sd) ** 2, error, np.inf)
    assert float(calibration.crps_gaussian(np.array(error), np.array(sd))) == pytest.approx(below + above, abs=1e-7)


def test_without_spread_crps_is_the_absolute_error() -> None:
    truth = torch.tensor([[1.0, -2.0, 3.0]])
    found = calibration.calibrate(torch.zeros(1, 3), truth, torch.zeros(1))
    assert found.crps == pytest.approx(2.0, abs=1e-4)
    assert found.coverage[95] == 0.0


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(GeometryError, match=r"\(n, 3\) displacements"):
        calibration.calibrate(torch.zeros(4, 3), torch.zeros(4, 3), torch.ones(3))
