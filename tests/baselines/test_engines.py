import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rtmotion.errors import GeometryError, MissingExtraError, UnknownNameError
from rtmotion.field import DisplacementField
from rtmotion.interop import field_to_sitk, volume_to_sitk
from rtmotion.methods import Requirement
from rtmotion.registration import GroupwiseEngine, RegistrationEngine
from rtmotion_baselines.methods import DVF, TEMPORAL
from rtmotion_baselines.registration.engines import ENGINES, create_engine
from rtmotion_baselines.registration.pair import registration_of
from tests.baselines.known_motion import GRID, mean_error, motion, pair

MEAN_ERROR_MM = 0.8
"""A third of the mean voxel side: short runs on noise-like blobs."""

SHORT = {
    "elastix": {"iterations": 100, "resolutions": 2, "samples": 1000, "grid_spacing": 16.0, "threads": 1},
    "elastix-groupwise": {"iterations": 100, "resolutions": 2, "samples": 500, "grid_spacing": 16.0, "threads": 1},
    "demons": {},
    "demons-diffeomorphic": {},
}


@pytest.mark.parametrize("name", sorted(SHORT))
def test_a_known_motion_is_recovered(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import SimpleITK as sitk  # noqa: N813

    monkeypatch.chdir(tmp_path)
    fixed, moving, truth = pair()
    found = create_engine(name, **SHORT[name]).register(fixed, moving)
    # turned, mirrored, or from moving to fixed, the field would be farther from the truth than no motion is
    assert mean_error(torch.zeros_like(truth), truth) > 2.5 * MEAN_ERROR_MM
    assert mean_error(found.displacement.data, truth) < MEAN_ERROR_MM
    assert found.displacement.grid.is_close(GRID)
    assert found.seconds > 0
    assert found.details["folding_percent"] == 0
    assert not list(tmp_path.iterdir())  # no engine leaves files in the working directory
    # and SimpleITK, given the field, resamples the moving volume into the fixed one
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field_to_sitk(found.displacement), sitk.sitkVectorFloat64))
    image = volume_to_sitk(moving)
    warped = torch.from_numpy(sitk.GetArrayFromImage(sitk.Resample(image, image, transform)))
    inside = (slice(6, -6),) * 3
    assert (warped - fixed.hu)[inside].abs().mean() < 0.5 * (moving.hu - fixed.hu)[inside].abs().mean()


@pytest.mark.parametrize("name", sorted(SHORT))
def test_a_mask_must_lie_on_the_fixed_grid(name: str) -> None:
    fixed, moving, _ = pair()
    with pytest.raises(GeometryError, match="mask"):
        create_engine(name).register(fixed, moving, torch.ones(GRID.shape, dtype=torch.bool)[1:])


def test_a_map_that_folds_is_reported() -> None:
    steep = torch.zeros(3, *GRID.shape)
    steep[2, 10:14] = 40.0
    assert registration_of(DisplacementField(steep, GRID), 0.0).details["folding_percent"] > 5
    assert registration_of(DisplacementField(motion(), GRID), 0.0).details["folding_percent"] == 0


def test_engines_are_known_by_name() -> None:
    for name, card in ENGINES.items():
        assert card.name == name
        assert "\n" not in card.summary
        if card.installed:
            engine = create_engine(name)
            assert isinstance(engine, RegistrationEngine)
            assert isinstance(engine, GroupwiseEngine) == card.groupwise
            assert engine.name == name
    with pytest.raises(UnknownNameError, match=r"unknown registration engine 'affine'; known: demons.*elastix, .*svf"):
        create_engine("affine")


def test_a_missing_package_is_refused_with_the_line_that_installs_it() -> None:
    card = replace(ENGINES["svf"], name="magic", requires=Requirement("no_such_module", "rtmotion[magic]"))
    assert not card.installed
    with pytest.raises(MissingExtraError, match=r"^magic needs .*no_such_module.*: pip install 'rtmotion\[magic\]'$"):
        card.create()


def test_every_engine_makes_a_method_with_every_temporal_model() -> None:
    cards = {card.name: card for card in DVF}
    assert set(cards) == {f"{engine}+{temporal}" for engine in ENGINES for temporal in TEMPORAL}
    for card in DVF:
        engine = ENGINES[card.options["engine"]]
        assert (card.requires, card.weights) == (engine.requires, engine.weights)


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from rtmotion_baselines.methods import BASELINES; "
        "assert [card.installed for card in BASELINES]; "
        "sys.exit(str({'torch', 'numpy', 'itk', 'SimpleITK', 'monai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize("name", ["elastix", "elastix-groupwise"])
def test_an_unknown_metric_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"the metric of {name} is one of .*, not 'ssd'"):
        create_engine(name, metric="ssd")
