"""Forecast: one entry a target phase, and a reference where there are fields."""

import pytest
import torch

from rtmotion.errors import GeometryError
from rtmotion.field import DisplacementField
from rtmotion.forecasting import Forecast, Forecaster
from rtmotion.grid import Grid
from rtmotion.sequence import Phase, Volume

GRID = Grid((4, 3, 2))
TARGETS = (Phase(0.5), Phase(0.6))
VOLUMES = (Volume(torch.zeros(GRID.shape), GRID),) * 2
FIELDS = (DisplacementField(torch.zeros(3, *GRID.shape), GRID),) * 2


def test_a_forecast_may_have_volumes_only() -> None:
    assert Forecast("copy", TARGETS, VOLUMES).grid is GRID


def test_every_list_has_one_entry_a_target() -> None:
    with pytest.raises(GeometryError, match="of 2 phases has 1 volumes"):
        Forecast("copy", TARGETS, VOLUMES[:1])
    with pytest.raises(GeometryError, match="1 displacements"):
        Forecast("copy", TARGETS, VOLUMES, Phase(0.0), FIELDS[:1])
    with pytest.raises(GeometryError, match="1 uncertainty"):
        Forecast("copy", TARGETS, VOLUMES, uncertainty=(torch.zeros(GRID.shape),))


def test_fields_need_a_reference() -> None:
    with pytest.raises(GeometryError, match="must name the phase"):
        Forecast("copy", TARGETS, VOLUMES, displacements=FIELDS)


def test_the_protocol_is_checked_by_name_and_method() -> None:
    class Copy:
        name = "copy"

        def forecast(self) -> None: ...

    assert isinstance(Copy(), Forecaster)
    assert not isinstance(object(), Forecaster)
