import pytest
import torch

from rtmotion.errors import GeometryError, PhaseError
from rtmotion.grid import Grid
from rtmotion.landmarks import LandmarkSet

DOWN = Grid((50, 60, 40), (1.0, 2.0, 3.0), direction=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
STEP = (1.0, 2.0, -3.0)
"""Voxels along x, y, z from inhale to exhale: 1, 4 and 9 mm, upwards since the slices run down."""
LENGTH = 98.0**0.5


def landmarks(order: tuple[int, int, int] = (0, 1, 2), published: float = LENGTH, scale: float = 1.0) -> LandmarkSet:
    """The points of files whose columns stand in an order that their reader does not expect."""
    inhale = 10 + torch.rand((20, 3), generator=torch.Generator().manual_seed(0)).double() * 10
    exhale = inhale + torch.tensor(STEP).double()
    points = {
        label: DOWN.index_to_world(scale * index[:, list(order)]) for label, index in (("T00", inhale), ("T50", exhale))
    }
    return LandmarkSet("a case", "dirlab-300", points, "voxels", "T00", {("T00", "T50"): published}, ("T00", "T50"))


def test_the_identity_agrees_whichever_phase_comes_first() -> None:
    found = landmarks()
    assert found.identity_mm("T00", "T50") == pytest.approx(LENGTH)
    for pair in (("T00", "T50"), ("T50", "T00")):
        check = found.check(*pair, DOWN)
        assert check is not None
        assert check.agrees
        assert (check.first, check.second) == ("T00", "T50")
        assert check.superior_mm == pytest.approx(9.0)
        assert "9.90 mm apart in T00 and T50, published are 9.90 mm: they agree" in check.describe()


@pytest.mark.parametrize(("order", "says"), [((1, 0, 2), "y x z"), ((2, 1, 0), "z y x"), ((0, 2, 1), "x z y")])
def test_swapped_axes_are_named(order: tuple[int, int, int], says: str) -> None:
    check = landmarks(order).check("T00", "T50", DOWN)
    assert check is not None
    assert not check.agrees
    assert f"with the columns read as {says} they would be 9.90 mm: swapped axes" in check.describe()


def test_mm_taken_for_voxels_are_named() -> None:
    voxels = torch.tensor(STEP).double().norm()
    check = landmarks(published=float(voxels)).check("T00", "T50", DOWN)
    assert check is not None
    assert "wrong unit" in check.describe()


def test_without_an_explanation_the_usual_suspects_are_named() -> None:
    for grid in (DOWN, None):
        check = landmarks(scale=1.1).check("T00", "T50", grid)
        assert check is not None
        assert "wrong landmark files, another case, spacing or order of the axes" in check.describe()


def test_upside_down_is_seen_though_the_distance_agrees() -> None:
    found = landmarks()
    mirrored = {label: p * torch.tensor([1.0, 1.0, -1.0]) for label, p in found.points.items()}
    check = LandmarkSet("a case", "dirlab-300", mirrored, "voxels", None, found.published, found.breath).check(
        "T00", "T50"
    )
    assert check is not None
    assert check.measured_mm == pytest.approx(LENGTH)
    assert not check.agrees
    assert "9.00 mm towards the feet, and should move towards the head" in check.describe()


def test_what_is_not_published_is_not_checked() -> None:
    found = LandmarkSet("a case", "lps-mm", {"T00": torch.zeros(2, 3), "T50": torch.ones(2, 3)}, "mm, LPS")
    assert found.check("T00", "T50") is None
    assert found.checks() == ()
    assert found.to_json()["identity_checks"] == []
    with_one = LandmarkSet("a case", "lps-mm", {"T00": torch.zeros(2, 3)}, "mm", None, {("T00", "T50"): 1.0})
    assert with_one.checks() == ()
    with pytest.raises(PhaseError, match="phase T50 has no landmarks; those with: T00"):
        with_one.check("T00", "T50")


def test_phases_must_have_the_same_landmarks() -> None:
    with pytest.raises(GeometryError, match=r"T00: \(2, 3\), T50: \(3, 3\)"):
        LandmarkSet("a case", "lps-mm", {"T00": torch.zeros(2, 3), "T50": torch.ones(3, 3)}, "mm, LPS")
    for points in ({}, {"T00": torch.zeros(0, 3)}):
        with pytest.raises(GeometryError, match="at least one"):
            LandmarkSet("a case", "lps-mm", points, "mm, LPS")
