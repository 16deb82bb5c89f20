import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rtmotion.errors import MissingExtraError, UnknownNameError
from rtmotion.field import gaussian_smooth, warp
from rtmotion.grid import Grid
from rtmotion.interop import field_to_sitk, volume_to_sitk
from rtmotion.methods import Requirement
from rtmotion.registration import RegistrationEngine
from rtmotion.sequence import Volume
from rtmotion_baselines.methods import DVF, TEMPORAL
from rtmotion_baselines.registration.engines import ENGINES, create_engine

SHIFT_MM = (3.0, -2.0, 4.0)
TOLERANCE_MM = 0.7
"""A third of a voxel: a short run on noise-like blobs."""

OPTIONS = {
    "elastix": {"iterations": 150, "resolutions": 3, "samples": 2000, "grid_spacing": 16.0, "threads": 1},
    "demons": {},
}


@pytest.mark.parametrize("name", ["elastix", "demons"])
def test_a_shift_points_from_fixed_to_moving(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import SimpleITK as sitk  # noqa: N813

    monkeypatch.chdir(tmp_path)
    grid = Grid((32, 30, 24), (2.0, 2.0, 3.0), (-30.0, 12.0, 50.0), (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    noise = torch.randn(grid.shape, generator=torch.Generator().manual_seed(0))
    smooth = gaussian_smooth(noise, [6.0 / s for s in grid.spacing])
    moving = -500 + 150 * smooth / smooth.std()
    shift = torch.tensor(SHIFT_MM)
    fixed = warp(moving, shift[:, None, None, None].expand(3, *grid.shape), grid)
    found = create_engine(name, **OPTIONS[name]).register(Volume(fixed, grid), Volume(moving, grid))
    middle = found.displacement.data[:, 8:-8, 10:-10, 10:-10].mean(dim=(1, 2, 3))
    assert found.velocity is None
    assert not list(tmp_path.iterdir())  # no engine leaves files in the working directory
    torch.testing.assert_close(middle, shift, rtol=0, atol=TOLERANCE_MM)
    # and SimpleITK, given the field, resamples the moving volume into the fixed one
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field_to_sitk(found.displacement), sitk.sitkVectorFloat64))
    image = volume_to_sitk(Volume(moving, grid))
    warped = torch.from_numpy(sitk.GetArrayFromImage(sitk.Resample(image, image, transform)))
    inside = (slice(8, -8), slice(10, -10), slice(10, -10))
    assert (warped - fixed)[inside].abs().mean() < 0.3 * (moving - fixed)[inside].abs().mean()


def test_engines_are_known_by_name() -> None:
    for name, card in ENGINES.items():
        assert card.name == name
        assert "\n" not in card.summary
        if card.installed:
            engine = create_engine(name)
            assert isinstance(engine, RegistrationEngine)
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


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="ncc, mi"):
        create_engine("elastix", metric="ssd")
