import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from rtmotion.errors import GeometryError
from rtmotion.evaluation import intensity

SHAPE = (17, 20, 23)
FLOAT32 = 1e-5
"""SSIM is computed in float32."""


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    truth = (torch.rand(SHAPE, generator=generator) * 1500 - 900).round()
    return (truth + torch.randn(SHAPE, generator=generator) * 80).round(), truth


@pytest.fixture
def ball() -> torch.Tensor:
    z, y, x = torch.meshgrid(*(torch.arange(n) - n // 2 for n in SHAPE), indexing="ij")
    return z**2 + y**2 + x**2 < 30


def everywhere() -> torch.Tensor:
    return torch.ones(SHAPE, dtype=torch.bool)


def test_a_constant_offset_is_its_own_error(ball: torch.Tensor) -> None:
    truth = torch.zeros(SHAPE, dtype=torch.int16)
    predicted = torch.where(ball, 25, 3000).to(torch.int16)
    assert intensity.mae(predicted, truth, ball) == 25
    assert intensity.rmse(predicted, truth, ball) == 25
    assert intensity.psnr(predicted, truth, ball) == pytest.approx(20 * np.log10(4000 / 25))
    assert intensity.mae(truth, predicted, ball) == 25


def test_int16_does_not_overflow(ball: torch.Tensor) -> None:
    low, high = torch.full(SHAPE, -30000, dtype=torch.int16), torch.full(SHAPE, 30000, dtype=torch.int16)
    assert intensity.mae(low, high, ball) == 60000


def test_errors_agree_with_scikit_image(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    predicted, truth = pair
    a, b = predicted.double().numpy(), truth.double().numpy()
    assert intensity.rmse(predicted, truth, everywhere()) == pytest.approx(np.sqrt(mean_squared_error(b, a)))
    expected = peak_signal_noise_ratio(b, a, data_range=4000)
    assert intensity.psnr(predicted, truth, everywhere()) == pytest.approx(expected)
    assert intensity.psnr(truth, truth, everywhere()) == float("inf")


def test_ssim_agrees_with_scikit_image(pair: tuple[torch.Tensor, torch.Tensor], ball: torch.Tensor) -> None:
    predicted, truth = pair
    _, full = structural_similarity(
        predicted.double().numpy(),
        truth.double().numpy(),
        data_range=4000,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    np.testing.assert_allclose(intensity.ssim_map(predicted, truth).numpy(), full, atol=FLOAT32)
    assert intensity.ssim(predicted, truth, ball) == pytest.approx(full[ball.numpy()].mean(), abs=FLOAT32)
    assert intensity.ssim(truth, truth, ball) == pytest.approx(1.0)


def test_ssim_needs_no_more_slices_than_there_are(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    predicted, truth = (v[:3] for v in pair)
    thin = intensity.ssim_map(predicted, truth)
    assert thin.shape == predicted.shape
    assert 0.0 < float(thin.mean()) < 1.0


def test_local_ncc_is_the_correlation_in_a_window_of_nine(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    predicted, truth = pair
    ncc = intensity.local_ncc_map(predicted, truth)
    for z, y, x in ((8, 9, 11), (4, 15, 4), (12, 4, 18)):
        window = (slice(z - 4, z + 5), slice(y - 4, y + 5), slice(x - 4, x + 5))
        expected = np.corrcoef(predicted[window].flatten().numpy(), truth[window].flatten().numpy())[0, 1]
        assert float(ncc[z, y, x]) == pytest.approx(expected, abs=1e-5)


def test_local_ncc_agrees_with_monai_where_windows_are_whole(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    from monai.losses.image_dissimilarity import LocalNormalizedCrossCorrelationLoss

    predicted, truth = (v.double() for v in pair)
    loss = LocalNormalizedCrossCorrelationLoss(
        spatial_dims=3, kernel_size=9, kernel_type="rectangular", reduction="none", smooth_nr=0.0, smooth_dr=1e-9
    )
    squared = -loss(predicted[None, None], truth[None, None])[0, 0]
    inner = (slice(4, -4),) * 3
    ours = intensity.local_ncc_map(predicted, truth).double() ** 2
    torch.testing.assert_close(ours[inner], squared[inner], atol=1e-4, rtol=0)


def test_local_ncc_ignores_gain_and_offset_but_not_sign(
    pair: tuple[torch.Tensor, torch.Tensor], ball: torch.Tensor
) -> None:
    _, truth = pair
    assert intensity.local_ncc(0.5 * truth + 100, truth, ball) == pytest.approx(1.0, abs=1e-4)
    assert intensity.local_ncc(-truth, truth, ball) == pytest.approx(-1.0, abs=1e-4)


def test_local_ncc_leaves_out_flat_truth_and_gives_nothing_for_a_flat_prediction(
    pair: tuple[torch.Tensor, torch.Tensor], ball: torch.Tensor
) -> None:
    predicted, truth = pair
    flat = torch.full(SHAPE, -1000.0)
    assert intensity.local_ncc(flat, truth, ball) == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(intensity.local_ncc(predicted, flat, ball))


def test_maps_over_a_box_equal_maps_over_all(pair: tuple[torch.Tensor, torch.Tensor], ball: torch.Tensor) -> None:
    predicted, truth = pair
    for to_map in (intensity.ssim_map, intensity.local_ncc_map):
        boxed, whole = to_map(predicted, truth, ball), to_map(predicted, truth)
        torch.testing.assert_close(boxed[ball], whole[ball], atol=FLOAT32, rtol=0)


def test_change_score_agrees_with_scipy(pair: tuple[torch.Tensor, torch.Tensor], ball: torch.Tensor) -> None:
    predicted, truth = pair
    last = torch.roll(truth, 1, dims=0)
    expected = spearmanr((predicted - last)[ball].tolist(), (truth - last)[ball].tolist()).statistic
    assert intensity.change_score(predicted, truth, last, ball) == pytest.approx(expected)


def test_doing_nothing_scores_no_change_and_the_truth_scores_one(
    pair: tuple[torch.Tensor, torch.Tensor], ball: torch.Tensor
) -> None:
    last, truth = pair
    assert intensity.change_score(last, truth, last, ball) == 0.0
    assert intensity.change_score(truth, truth, last, ball) == pytest.approx(1.0)
    assert intensity.change_score(2 * last - truth, truth, last, ball) == pytest.approx(-1.0)


def test_an_empty_mask_and_other_shapes_are_refused(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    predicted, truth = pair
    with pytest.raises(GeometryError, match="the mask is empty"):
        intensity.mae(predicted, truth, torch.zeros(SHAPE, dtype=torch.bool))
    with pytest.raises(GeometryError, match=r"got \(16, 20, 23\) and \(17, 20, 23\)"):
        intensity.mae(predicted[1:], truth, everywhere())
