"""The forecast of the chest of boxes, collected once."""

import pytest

from rtmotion.report import ReportData, collect_forecast
from tests.rtmotion.report import case


@pytest.fixture(scope="session")
def scored() -> ReportData:
    """A report with fields, uncertainty and known true phases."""
    observed, truth = case.sequence().observe(case.OBSERVED)
    return collect_forecast(case.forecast_of(observed, truth), observed, truth, case.rows_of(truth), case.info())


@pytest.fixture(scope="session")
def bare() -> ReportData:
    """A report of a method without fields, where the true phases are not known."""
    observed, truth = case.sequence().observe(case.OBSERVED)
    return collect_forecast(case.forecast_of(observed, truth, fields=False), observed, None, (), {})
