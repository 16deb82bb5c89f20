"""The optional engines: on doubles of their packages, which keep the packages' conventions, and on the real ones."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from rtmotion.errors import MissingExtraError, ReadError
from rtmotion.field import to_index_units
from rtmotion.interop import volume_to_itk
from rtmotion.sequence import Volume
from rtmotion_baselines.registration import unigradicon
from rtmotion_baselines.registration.engines import ENGINES, create_engine
from rtmotion_baselines.registration.unigradicon import VARIABLE, UniGradIcon
from tests.baselines.known_motion import GRID, mean_error, pair

EXACT_MM = 1e-3
"""A double answers with the truth: only float32 and the change of representation are between."""

MEAN_ERROR_MM = 1.0
"""Of the real packages, whose defaults are for larger volumes: under half a voxel; without motion it is 3.7."""

OPTIONAL = ("ants-syn", "convexadam", "unigradicon")


def module(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> None:
    """A package that is not installed, for the length of a test."""
    made = ModuleType(name)
    for key, value in contents.items():
        setattr(made, key, value)
    monkeypatch.setitem(sys.modules, name, made)


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_package_that_is_missing_is_named(name: str) -> None:
    card = ENGINES[name]
    assert card.requires is not None
    assert card.requires.pip_line == f"pip install 'rtmotion[{card.requires.install[9:-1]}]'"
    if not card.installed:
        with pytest.raises(MissingExtraError, match=rf"^{name} needs .*pip install 'rtmotion\["):
            create_engine(name)


@pytest.mark.parametrize("name", ["ants-syn", "convexadam"])
def test_the_real_package_recovers_a_known_motion(name: str) -> None:
    if not ENGINES[name].installed:
        pytest.skip(f"the package of {name} is not installed")
    fixed, moving, truth = pair()
    found = create_engine(name).register(fixed, moving)
    assert mean_error(found.displacement.data, truth) < MEAN_ERROR_MM
    assert found.details["folding_percent"] == 0


def test_convexadam_answers_in_voxels_along_the_axes_of_the_array(monkeypatch: pytest.MonkeyPatch) -> None:
    from scipy.ndimage import map_coordinates

    fixed, moving, truth = pair()
    seen: dict[str, Any] = {}

    def convex_adam_pt(img_fixed: torch.Tensor, img_moving: torch.Tensor, **options: Any) -> Any:
        seen.update(options)
        answer = to_index_units(truth, GRID).flip(0).movedim(0, -1).numpy().astype(float)
        # the package's own use of its answer: `apply_convex`
        index = np.stack(np.meshgrid(*map(np.arange, GRID.shape), indexing="ij"))
        warped = map_coordinates(img_moving.numpy(), answer.transpose(3, 0, 1, 2) + index, order=1, mode="nearest")
        assert np.abs(warped - img_fixed.numpy()).mean() < 1
        return answer

    module(monkeypatch, "convexAdam")
    module(monkeypatch, "convexAdam.convex_adam_MIND", convex_adam_pt=convex_adam_pt)
    found = create_engine("convexadam").register(fixed, moving)
    torch.testing.assert_close(found.displacement.data, truth, rtol=0, atol=EXACT_MM)
    assert (seen["device"], seen["dtype"]) == (torch.device("cpu"), torch.float32)


@dataclass(frozen=True)
class AntsImage:
    """What antspyx's images are asked for here: arrays are indexed x, y, z."""

    array: Any
    origin: Any = None
    spacing: Any = None
    direction: Any = None

    def numpy(self) -> Any:
        return self.array


def test_ants_answers_in_mm_lps(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, moving, truth = pair()

    def registration(fixed: AntsImage, moving: AntsImage, **options: Any) -> dict[str, list[str]]:
        assert fixed.array.shape == GRID.size
        assert (tuple(fixed.origin), tuple(fixed.spacing)) == (GRID.origin, GRID.spacing)
        np.testing.assert_array_equal(fixed.direction, GRID.direction_matrix)
        assert fixed.array[7, 5, 3] == pytest.approx(float(texture_fixed[3, 5, 7]), abs=1e-3)
        assert options["type_of_transform"] == "SyNOnly"
        assert options["random_seed"] > 0
        return {"fwdtransforms": [options["outprefix"] + "0Warp.nii.gz"]}

    texture_fixed = fixed.hu
    vectors = AntsImage(truth.permute(3, 2, 1, 0).numpy())
    module(monkeypatch, "ants", from_numpy=AntsImage, registration=registration, image_read=lambda path: vectors)
    found = create_engine("ants-syn").register(fixed, moving)
    torch.testing.assert_close(found.displacement.data, truth, rtol=0, atol=EXACT_MM)


def test_unigradicon_maps_points_of_the_second_image_to_the_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import itk

    fixed, moving, _ = pair()
    shift = (3.0, -2.0, 4.0)

    def register_pair(model: Any, image_a: Any, image_b: Any, finetune_steps: int | None = None) -> Any:
        assert model == "network"
        assert finetune_steps is None
        scaled = [(v.hu.clamp(-1000, 1000) + 1000) / 2000 for v in (moving, fixed)]
        for image, expected in zip((image_a, image_b), scaled, strict=True):
            wanted = itk.array_from_image(volume_to_itk(Volume(expected, GRID)))
            np.testing.assert_allclose(itk.array_from_image(image), wanted, atol=1e-6)
        there, back = (itk.TranslationTransform[itk.D, 3].New() for _ in range(2))
        there.Translate([*shift])
        back.Translate([-s for s in shift])
        return there, back

    module(monkeypatch, "unigradicon", get_unigradicon=lambda weights_location: "network")
    module(monkeypatch, "icon_registration")
    module(monkeypatch, "icon_registration.itk_wrapper", register_pair=register_pair)
    weights = tmp_path / "weights.trch"
    weights.write_bytes(b"weights")
    unigradicon._network.cache_clear()
    monkeypatch.setenv(VARIABLE, str(weights))
    found = create_engine("unigradicon").register(fixed, moving).displacement
    unigradicon._network.cache_clear()
    torch.testing.assert_close(found.data, torch.tensor(shift)[:, None, None, None].expand(3, *GRID.shape))
    assert found.grid.is_close(GRID)


def test_unigradicon_downloads_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def get_unigradicon(weights_location: str) -> Any:
        raise RuntimeError("Error(s) in loading state_dict:\n missing keys")

    fixed, moving, _ = pair()
    module(monkeypatch, "unigradicon", get_unigradicon=get_unigradicon)
    module(monkeypatch, "icon_registration")
    module(monkeypatch, "icon_registration.itk_wrapper", register_pair=None)
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ReadError, match=f"--weights or {VARIABLE}"):
        UniGradIcon().register(fixed, moving)
    with pytest.raises(ReadError, match=r"absent\.trch: .* there is none"):
        UniGradIcon(weights=str(tmp_path / "absent.trch")).register(fixed, moving)
    wrong = tmp_path / "wrong.trch"
    wrong.write_bytes(b"no weights")
    unigradicon._network.cache_clear()
    with pytest.raises(ReadError, match=r"wrong\.trch: these are no weights of uniGradICON \(Error\(s\) in loading"):
        UniGradIcon(weights=str(wrong)).register(fixed, moving)
