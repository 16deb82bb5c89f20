import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from rtmotion.errors import GeometryError
from rtmotion.evaluation import overlap
from rtmotion.field import world_coordinates
from rtmotion.grid import Grid

GRID = Grid((40, 36, 30), (1.0, 1.5, 2.0), (-20.0, 10.0, 4.0))


def ball(centre: tuple[float, float, float], radius: float, grid: Grid = GRID) -> torch.Tensor:
    offset = world_coordinates(grid) - torch.tensor(centre)[:, None, None, None]
    return (offset**2).sum(dim=0) < radius**2


def box(shift: tuple[int, int, int] = (0, 0, 0)) -> torch.Tensor:
    mask = torch.zeros(GRID.shape, dtype=torch.bool)
    z, y, x = shift
    mask[8 + z : 18 + z, 10 + y : 20 + y, 10 + x : 20 + x] = True
    return mask


A, B = ball((0.0, 36.0, 32.0), 11.0), ball((3.0, 35.0, 34.0), 10.0)


def test_dice_is_simpleitks() -> None:
    import SimpleITK as sitk  # noqa: N813

    measure = sitk.LabelOverlapMeasuresImageFilter()
    measure.Execute(*(sitk.GetImageFromArray(m.to(torch.uint8).numpy()) for m in (B, A)))
    assert overlap.dice(A, B) == pytest.approx(measure.GetDiceCoefficient())
    assert overlap.dice(A, A) == 1.0
    assert overlap.dice(A, torch.zeros_like(A)) == 0.0
    assert overlap.dice(torch.zeros_like(A), torch.zeros_like(A)) == 1.0


def test_a_shifted_box_is_as_far_as_its_shift() -> None:
    for shift, distance in (((0, 0, 3), 3.0), ((0, 2, 0), 3.0), ((2, 0, 0), 4.0)):
        found = overlap.surface_distance(box(shift), box(), GRID)
        assert found is not None
        assert found.hd95 == pytest.approx(distance)
        assert 0 < found.mda < distance


def test_surface_distances_are_those_of_distance_maps() -> None:
    found = overlap.surface_distance(A, B, GRID)
    assert found is not None
    a, b = (m.numpy() ^ ndimage.binary_erosion(m.numpy()) for m in (A, B))
    sampling = GRID.spacing[::-1]
    to_b, to_a = (ndimage.distance_transform_edt(~m, sampling=sampling) for m in (b, a))
    one, other = to_b[a], to_a[b]
    assert found.mda == pytest.approx(np.concatenate([one, other]).mean(), rel=1e-5)
    assert found.hd95 == pytest.approx(max(np.percentile(one, 95), np.percentile(other, 95)), rel=1e-5)


def test_the_largest_surface_distance_is_simpleitks() -> None:
    import SimpleITK as sitk  # noqa: N813

    # a thin rod pointing out of a box: a few far voxels move the maximum, not the 95th percentile
    rod = box()
    rod[12, 15, 20:35] = True
    found = overlap.surface_distance(rod, box(), GRID)
    images = [sitk.GetImageFromArray(m.to(torch.uint8).numpy()) for m in (rod, box())]
    for image in images:
        image.SetSpacing(GRID.spacing)
    measure = sitk.HausdorffDistanceImageFilter()
    measure.Execute(*images)
    assert measure.GetHausdorffDistance() == pytest.approx(15.0)
    assert found is not None
    assert found.hd95 < 2.0


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # MONAI 1.6 warns of its own call
def test_surface_distances_are_monais() -> None:
    from monai.metrics.utils import get_edge_surface_distance

    found = overlap.surface_distance(A, B, GRID)
    assert found is not None
    _, (there, back), _ = get_edge_surface_distance(A, B, spacing=GRID.spacing[::-1], symmetric=True)
    assert found.mda == pytest.approx(float(torch.cat([there, back]).mean()), rel=1e-6)
    assert found.hd95 == pytest.approx(max(float(torch.quantile(d, 0.95)) for d in (there, back)), rel=1e-6)


def test_masks_at_the_border_of_the_volume_have_a_surface_there() -> None:
    whole = torch.ones(GRID.shape, dtype=torch.bool)
    found = overlap.surface_distance(whole, whole, GRID)
    assert found == overlap.SurfaceDistance(0.0, 0.0)


def test_nothing_has_no_surface() -> None:
    assert overlap.surface_distance(torch.zeros_like(A), A, GRID) is None
    assert overlap.surface_distance(A, torch.zeros_like(A), GRID) is None


def test_a_centroid_lies_where_the_ball_lies() -> None:
    c, s = math.cos(0.4), math.sin(0.4)
    oblique = Grid((40, 36, 30), (1.0, 1.5, 2.0), (-20.0, 10.0, 4.0), (1.0, 0.0, 0.0, 0.0, c, -s, 0.0, s, c))
    middle = oblique.index_to_world(torch.tensor([[20.0, 18.0, 15.0]]))[0]
    mask = ball(tuple(middle.tolist()), 9.37, oblique)
    torch.testing.assert_close(overlap.centroid(mask, oblique), middle.double(), atol=1e-4, rtol=0)
    with pytest.raises(GeometryError, match="an empty mask has no centroid"):
        overlap.centroid(torch.zeros_like(mask), oblique)


def test_centroid_errors_name_their_axes() -> None:
    # three voxels along x (left), two along y (posterior), one along z (superior)
    error = overlap.centroid_error(*(overlap.centroid(m, GRID) for m in (box((-1, 2, 3)), box())))
    assert (error.lr, error.ap, error.si) == pytest.approx((3.0, 3.0, 2.0))
    assert error.total == pytest.approx(math.sqrt(9 + 9 + 4))


def test_range_of_motion_is_the_largest_distance_of_two_phases() -> None:
    path = [torch.tensor([0.0, 0.0, 10 * math.cos(t)]).double() for t in np.linspace(0, math.pi, 5)]
    flat = [p * 0.5 for p in path]
    found = overlap.range_of_motion(path)
    assert (found.total, found.si, found.ap, found.lr) == pytest.approx((20.0, 20.0, 0.0, 0.0))
    assert overlap.range_of_motion_error(flat, path).total == pytest.approx(10.0)
    loop = [torch.tensor(p).double() for p in ([0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [3.0, 0.0, 4.0])]
    assert overlap.range_of_motion(loop).total == pytest.approx(5.0)


def test_masks_of_two_shapes_are_refused() -> None:
    with pytest.raises(GeometryError, match="masks to compare must have one shape"):
        overlap.dice(A, A[1:])
