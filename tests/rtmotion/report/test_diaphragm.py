"""The diaphragm's displacement against a chest whose diaphragm moves by known amounts."""

import pytest
import torch

from rtmotion.report import ReportData
from rtmotion.report.diaphragm import DOME, DOME_IMAGES, REGION, Z_80, diaphragm_motion
from rtmotion.sequence import PhaseSequence, Volume
from tests.rtmotion.report import case

TENTH_OF_A_VOXEL_MM = 0.45
"""Partial volume is not linear in height around -400 HU between lung and tissue of 840 HU apart."""


def test_rise_in_images_and_fields(scored: ReportData) -> None:
    motion = scored.facts["diaphragm"]
    assert motion["definition"] == DOME
    assert motion["reference"] == "T00"
    labels = case.sequence().labels
    for label, rise in zip(labels, case.RISE_MM, strict=True):
        measured = {**motion["observed"], **motion["truth"]}[label]
        assert measured == pytest.approx(rise, abs=TENTH_OF_A_VOXEL_MM)
    for label, rise in zip(labels[case.OBSERVED :], case.RISE_MM[case.OBSERVED :], strict=True):
        assert motion["predicted"][label] == pytest.approx(rise, abs=1e-3)
        assert motion["interval"][label] == pytest.approx(0.5 * Z_80)


def test_without_fields_the_predicted_images_are_measured(bare: ReportData) -> None:
    motion = bare.facts["diaphragm"]
    assert motion["definition"] == DOME_IMAGES
    assert motion["interval"] == {}
    for rise in motion["predicted"].values():  # the forecast shows the last observed phase
        assert rise == pytest.approx(case.RISE_MM[case.OBSERVED - 1], abs=TENTH_OF_A_VOXEL_MM)


def test_without_a_dome_the_most_moving_region_is_shown() -> None:
    solid = case.sequence()
    volumes = tuple(Volume(torch.full(v.grid.shape, 40.0), v.grid) for v in solid.volumes)
    observed, truth = PhaseSequence(solid.phases, volumes).observe(case.OBSERVED)
    body = torch.ones(observed.grid.shape, dtype=torch.bool)
    motion = diaphragm_motion(case.forecast_of(observed, truth), observed, truth, body)
    assert motion is not None
    assert motion["definition"] == REGION
    assert list(motion["predicted"].values()) == pytest.approx(list(case.RISE_MM[case.OBSERVED :]))
    assert diaphragm_motion(case.forecast_of(observed, truth, fields=False), observed, truth, body) is None
