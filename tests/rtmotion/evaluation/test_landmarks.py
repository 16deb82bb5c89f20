import math

import numpy as np
import pytest
import torch

from rtmotion.errors import GeometryError
from rtmotion.evaluation import landmarks
from rtmotion.field import DisplacementField, world_coordinates
from rtmotion.grid import Grid
from rtmotion.interop import field_to_sitk

C, S = math.cos(0.3), math.sin(0.3)
OBLIQUE = Grid((13, 12, 11), (2.0, 1.5, 3.0), (-10.0, 20.0, 5.0), (C, -S, 0.0, S, C, 0.0, 0.0, 0.0, 1.0))
SHIFT = torch.tensor([1.0, -2.0, 4.0])
FLOAT32_MM = 1e-4
"""Fields are float32, world coordinates up to some tens of mm."""


def shift(vector: torch.Tensor = SHIFT, grid: Grid = OBLIQUE) -> DisplacementField:
    return DisplacementField(vector[:, None, None, None].expand(3, *grid.shape).contiguous(), grid)


@pytest.fixture
def points() -> torch.Tensor:
    index = torch.rand((40, 3), generator=torch.Generator().manual_seed(1)).double()
    return OBLIQUE.index_to_world(1 + index * (torch.tensor(OBLIQUE.size) - 3))


def test_the_field_carries_fixed_points_to_moving_points(points: torch.Tensor) -> None:
    errors = landmarks.target_registration_errors(shift(), points, points + SHIFT)
    torch.testing.assert_close(errors, torch.zeros(40).double(), atol=FLOAT32_MM, rtol=0)


def test_the_wrong_direction_doubles_the_error(points: torch.Tensor) -> None:
    length = float(SHIFT.norm())
    errors = landmarks.target_registration_errors(shift(), points + SHIFT, points)
    torch.testing.assert_close(errors, torch.full((40,), 2 * length).double(), atol=FLOAT32_MM, rtol=0)


def test_the_identity_has_the_distance_of_the_landmarks(points: torch.Tensor) -> None:
    length = torch.full((40,), float(SHIFT.norm())).double()
    torch.testing.assert_close(landmarks.identity_errors(points, points + SHIFT), length)
    still = landmarks.target_registration_errors(shift(torch.zeros(3)), points, points + SHIFT)
    torch.testing.assert_close(still, length)


def test_points_go_where_simpleitk_takes_them(points: torch.Tensor) -> None:
    import SimpleITK as sitk  # noqa: N813

    x, y, z = world_coordinates(OBLIQUE)
    field = DisplacementField(torch.stack([0.1 * y, 3 * torch.sin(0.1 * z), 0.05 * x + 1.0]), OBLIQUE)
    transform = sitk.DisplacementFieldTransform(sitk.Cast(field_to_sitk(field), sitk.sitkVectorFloat64))
    mapped = torch.tensor([transform.TransformPoint(p) for p in points.tolist()]).double()
    errors = landmarks.target_registration_errors(field, points, mapped)
    assert float(errors.max()) < 1e-3


def test_snapping_forgives_what_is_within_half_a_voxel() -> None:
    centres = OBLIQUE.index_to_world(torch.tensor([[3.0, 4.0, 5.0], [6.0, 7.0, 2.0]]).double())
    axis = torch.as_tensor(OBLIQUE.direction_matrix[:, 2]).float()
    near = shift(1.4 * axis)  # of 3 mm
    far = shift(1.6 * axis)
    plain = landmarks.target_registration_errors(near, centres, centres)
    torch.testing.assert_close(plain, torch.full((2,), 1.4).double(), atol=FLOAT32_MM, rtol=0)
    snapped = [landmarks.target_registration_errors(f, centres, centres, snap=OBLIQUE) for f in (near, far)]
    torch.testing.assert_close(snapped[0], torch.zeros(2).double(), atol=FLOAT32_MM, rtol=0)
    torch.testing.assert_close(snapped[1], torch.full((2,), 3.0).double(), atol=FLOAT32_MM, rtol=0)


def test_snapping_is_fair_to_landmarks_between_voxels(points: torch.Tensor) -> None:
    errors = landmarks.target_registration_errors(shift(), points, points + SHIFT + 1e-3, snap=OBLIQUE)
    assert float((errors < FLOAT32_MM).double().mean()) > 0.9
    assert set(errors.round(decimals=1).tolist()) <= {0.0, *(round(s, 1) for s in OBLIQUE.spacing)}


def test_the_summary_is_that_of_numpy() -> None:
    errors = torch.tensor([1.0, 2.0, 4.0, 9.0, float("nan")]).double()
    values = errors[:4].numpy()
    found = landmarks.summarise(errors)
    sd, p95 = float(np.std(values, ddof=1)), float(np.percentile(values, 95))
    assert found == landmarks.TargetError(4.0, sd, 3.0, p95, 9.0, 4)
    assert landmarks.summarise(errors[:1]) == landmarks.TargetError(1.0, 0.0, 1.0, 1.0, 1.0, 1)


def test_volumes_are_sampled_at_world_points(points: torch.Tensor) -> None:
    x, y, z = world_coordinates(OBLIQUE)
    found = landmarks.sample_at_points(2 * x - y + 0.5 * z, OBLIQUE, points)
    expected = 2 * points[:, 0] - points[:, 1] + 0.5 * points[:, 2]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_landmarks_that_do_not_belong_together_are_refused(points: torch.Tensor) -> None:
    with pytest.raises(GeometryError, match=r"got \(40, 3\) and \(39, 3\)"):
        landmarks.identity_errors(points, points[1:])
    with pytest.raises(GeometryError, match="no landmarks that both phases have"):
        landmarks.summarise(torch.tensor([float("nan")]))
