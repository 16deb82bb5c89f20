import json
import math

import pytest
import torch

from rtmotion.errors import GeometryError, PhaseError
from rtmotion.evaluation.landmark_sets import (
    TABLE_COLUMNS,
    evaluate_landmarks,
    landmark_rows,
    sets_of_sequence,
)
from rtmotion.field import DisplacementField, world_coordinates
from rtmotion.grid import Grid
from rtmotion.landmarks import LandmarkSet
from rtmotion.sequence import Phase, PhaseSequence, Volume

C, S = math.cos(0.3), math.sin(0.3)
OBLIQUE = Grid((23, 20, 17), (2.0, 1.5, 3.0), (-10.0, 20.0, 5.0), (C, -S, 0.0, S, C, 0.0, 0.0, 0.0, 1.0))
FLOAT32_MM = 1e-4
"""Fields are float32, world coordinates up to some tens of mm."""


def points(count: int = 40) -> torch.Tensor:
    share = torch.rand((count, 3), generator=torch.Generator().manual_seed(1)).double()
    return OBLIQUE.index_to_world(2 + share * (torch.tensor(OBLIQUE.size) - 5))


def constant(vector: torch.Tensor, grid: Grid = OBLIQUE) -> DisplacementField:
    return DisplacementField(vector.float()[:, None, None, None].expand(3, *grid.shape).contiguous(), grid)


def two_phases(fixed: torch.Tensor, moving: torch.Tensor, published: float | None = None) -> LandmarkSet:
    return LandmarkSet(
        "a case, some landmarks",
        "dirlab-300",
        {"T50": fixed, "T00": moving},
        "voxel indices from 1",
        reference="T00",
        published={} if published is None else {("T00", "T50"): published},
        breath=("T00", "T50"),
    )


def test_a_known_translation_leaves_its_known_rest_along_each_direction() -> None:
    true, rest = torch.tensor([1.0, -2.0, -4.0]).double(), torch.tensor([0.6, -0.3, 0.2]).double()
    fixed = points()
    found = evaluate_landmarks(constant(true + rest), two_phases(fixed, fixed + true), "T50", "T00")
    errors = found.plain
    assert errors.distance.mean == pytest.approx(0.7, abs=FLOAT32_MM)
    assert errors.distance.sd == pytest.approx(0.0, abs=FLOAT32_MM)
    assert errors.distance.median == pytest.approx(0.7, abs=FLOAT32_MM)
    assert errors.distance.max == pytest.approx(0.7, abs=FLOAT32_MM)
    assert errors.left_right_mm == pytest.approx(0.6, abs=FLOAT32_MM)
    assert errors.anterior_posterior_mm == pytest.approx(0.3, abs=FLOAT32_MM)
    assert errors.superior_inferior_mm == pytest.approx(0.2, abs=FLOAT32_MM)
    assert found.identity.distance.mean == pytest.approx(float(true.norm()))
    assert found.identity.superior_inferior_mm == pytest.approx(4.0)
    assert found.outside == 0


def test_the_field_the_wrong_way_round_is_twice_as_far_off_as_no_field() -> None:
    true = torch.tensor([1.0, -2.0, -4.0]).double()
    fixed = points()
    found = evaluate_landmarks(constant(-true), two_phases(fixed, fixed + true), "T50", "T00")
    assert found.plain.distance.mean == pytest.approx(2 * found.identity.distance.mean, abs=FLOAT32_MM)


def test_a_known_smooth_field_has_the_error_of_its_interpolation() -> None:
    x, y, z = world_coordinates(OBLIQUE)
    # affine: the linear interpolation of the field is exact
    field = DisplacementField(torch.stack([0.05 * y + 1.0, 0.02 * x - 0.03 * z, 0.1 * z - 2.0]), OBLIQUE)
    fixed = points()
    px, py, pz = fixed.T
    moved = fixed + torch.stack([0.05 * py + 1.0, 0.02 * px - 0.03 * pz, 0.1 * pz - 2.0], dim=1)
    assert evaluate_landmarks(field, two_phases(fixed, moved), "T50", "T00").plain.distance.max < 1e-3
    # a wave of 60 mm: the second derivative bounds the error of each component, Σ spacing² / 8 · (2π / 60)² · 6 mm
    wave = 2 * math.pi / 60
    bent = DisplacementField(torch.stack([0 * x, 0 * y, 6 * torch.sin(wave * z)]), OBLIQUE)
    lifted = fixed + torch.stack([0 * px, 0 * py, 6 * torch.sin(wave * pz)], dim=1)
    found = evaluate_landmarks(bent, two_phases(fixed, lifted), "T50", "T00").plain
    assert 1e-3 < found.distance.max < sum(s * s for s in OBLIQUE.spacing) / 8 * wave**2 * 6
    assert found.left_right_mm < FLOAT32_MM


@pytest.mark.parametrize(
    ("off_index", "plain_mm", "snapped_mm"),
    [
        ((0.4, 0.0, 0.0), 0.8, 0.0),  # .4 of 2 mm: back to the voxel
        ((0.6, 0.0, 0.0), 1.2, 2.0),  # .6 of 2 mm: on to the next
        ((0.0, -0.55, 0.0), 0.825, 1.5),
        ((0.0, 0.0, 0.45), 1.35, 0.0),
        ((0.0, 0.0, -1.7), 5.1, 6.0),  # 1.7 of 3 mm: two voxels
        ((0.6, 0.6, 0.4), math.sqrt(1.2**2 + 0.9**2 + 1.2**2), 2.5),  # one voxel of 2 and one of 1.5 mm
    ],
)
def test_snapping_by_hand(off_index: tuple[float, ...], plain_mm: float, snapped_mm: float) -> None:
    voxels = torch.tensor([[5.0, 6.0, 7.0], [12.0, 9.0, 4.0], [15.0, 11.0, 10.0]]).double()
    fixed = OBLIQUE.index_to_world(voxels)
    steps = torch.as_tensor(OBLIQUE.index_to_world_matrix) @ torch.tensor(off_index).double()
    found = evaluate_landmarks(constant(steps), two_phases(fixed, fixed), "T50", "T00")
    assert found.plain.distance.mean == pytest.approx(plain_mm, abs=FLOAT32_MM)
    assert found.snapped.distance.mean == pytest.approx(snapped_mm, abs=FLOAT32_MM)


def test_snapping_is_to_the_voxels_of_the_moving_image() -> None:
    fine = OBLIQUE.resized((46, 40, 34))
    fixed = fine.index_to_world(torch.tensor([[10.0, 12.0, 14.0]]).double())
    field = constant(torch.tensor([0.0, 0.0, 0.7]).double())  # half of the fine voxel's 1.5 mm is .75
    found = evaluate_landmarks(field, two_phases(fixed, fixed), "T50", "T00", fine)
    assert found.snapped.distance.mean == pytest.approx(0.0, abs=FLOAT32_MM)
    assert found.plain.distance.mean == pytest.approx(0.7, abs=FLOAT32_MM)


def test_the_output_says_direction_units_and_the_identity() -> None:
    fixed = points()
    moving = fixed + torch.tensor([0.0, 0.0, -5.0])
    found = evaluate_landmarks(constant(torch.zeros(3)), two_phases(fixed, moving, 5.04), "T50", "T00")
    said = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert "on the grid of the fixed phase T50" in said["direction"]
    assert "x + u(x) in the moving phase T00" in said["direction"]
    assert said["units"].startswith("mm")
    assert (said["fixed"], said["moving"], said["count"], said["reference_of_the_set"]) == ("T50", "T00", 40, "T00")
    numbers = {"mean_mm", "sd_mm", "median_mm", "p95_mm", "max_mm"}
    axes = {f"{a}_mean_absolute_mm" for a in ("left_right", "anterior_posterior", "superior_inferior")}
    for part in ("tre", "tre_snapped", "identity"):
        assert set(said[part]) == numbers | axes
    check = said["identity_check"]
    assert check["agrees"]
    assert (check["measured_mm"], check["published_mm"]) == (pytest.approx(5.0), 5.04)
    assert check["superior_mm"] == pytest.approx(5.0)  # from T00 to T50, towards the head
    assert evaluate_landmarks(constant(torch.zeros(3)), two_phases(fixed, moving), "T50", "T00").check is None


def test_landmarks_outside_the_field_are_counted() -> None:
    fixed = torch.cat([points(3), OBLIQUE.index_to_world(torch.tensor([[-3.0, 2.0, 2.0]]).double())])
    assert evaluate_landmarks(constant(torch.zeros(3)), two_phases(fixed, fixed), "T50", "T00").outside == 1


def test_every_landmark_has_a_row() -> None:
    fixed = points(4)
    true = torch.tensor([0.0, 0.0, -5.0]).double()
    field = constant(torch.tensor([0.0, 0.0, -4.0]).double())
    found = evaluate_landmarks(field, two_phases(fixed, fixed + true), "T50", "T00")
    rows = [dict(zip(TABLE_COLUMNS, row, strict=True)) for row in landmark_rows([found, found])]
    assert len(rows) == 8
    assert [r["landmark"] for r in rows[:4]] == [1, 2, 3, 4]
    assert (rows[0]["set"], rows[0]["fixed"], rows[0]["moving"]) == ("dirlab-300", "T50", "T00")
    assert rows[2]["fixed_x_mm"] == pytest.approx(float(fixed[2, 0]), abs=1e-4)
    assert rows[2]["mapped_z_mm"] == pytest.approx(float(fixed[2, 2]) - 4.0, abs=1e-3)
    assert rows[2]["target_z_mm"] == pytest.approx(float(fixed[2, 2]) - 5.0, abs=1e-3)
    assert rows[2]["identity_mm"] == 5.0
    assert rows[2]["error_mm"] == pytest.approx(1.0, abs=1e-3)


def test_the_landmarks_of_a_sequence_are_a_set() -> None:
    grid = Grid((3, 3, 3))
    volumes = (Volume(torch.zeros(3, 3, 3), grid), Volume(torch.zeros(3, 3, 3), grid))
    phases = (Phase(0.0), Phase(0.5))
    with_points = PhaseSequence(phases, volumes, {"T00": torch.zeros(2, 3), "T50": torch.ones(2, 3)})
    (found,) = sets_of_sequence(with_points, "a phantom")
    assert (found.convention, found.count, found.labels) == ("lps-mm", 2, ("T00", "T50"))
    assert sets_of_sequence(PhaseSequence(phases, volumes), "a phantom") == ()


def test_what_cannot_be_measured_is_refused() -> None:
    fixed = points()
    with pytest.raises(PhaseError, match="phase T30 has no landmarks; those with: T00, T50"):
        evaluate_landmarks(constant(torch.zeros(3)), two_phases(fixed, fixed), "T30", "T00")
    nowhere = constant(torch.full((3,), float("nan")))
    with pytest.raises(GeometryError, match="no landmarks that both phases have"):
        evaluate_landmarks(nowhere, two_phases(fixed, fixed), "T50", "T00")
