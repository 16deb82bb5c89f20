"""Metrics of predicted HU: error, similarity, and whether a forecast changes what changes.

All take volumes in HU of shape (z, y, x) and a mask of the same shape, and compute on the CPU. The mean over the
mask's voxels is taken inside one phase; means over phases and patients are the caller's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmotion.errors import GeometryError
from rtmotion.types import AnyVolume, MaskVolume, ScalarVolume

Array = npt.NDArray[Any]

HU_RANGE = 4000.0
"""The dynamic range that PSNR and SSIM are given for, HU."""

SSIM_SIGMA = 1.5
"""Standard deviation of SSIM's Gaussian window, voxels (Wang et al. 2004)."""

NCC_WINDOW = 9
WHOLE_NUMBERS = 2**17
"""Differences of int16 lie within this range."""

FLAT_HU = 1.0
"""Windows whose standard deviation in the truth is below this hold nothing to correlate with."""


@dataclass(frozen=True)
class IntensityErrors:
    """How far the predicted HU are from the true ones over a mask.

    Attributes:
        mae: Mean absolute error, HU.
        rmse: Root of the mean squared error, HU.
        psnr: Peak signal-to-noise ratio, dB, for a peak of `HU_RANGE`; infinite where nothing differs.
    """

    mae: float
    rmse: float
    psnr: float


def errors(predicted: AnyVolume, truth: AnyVolume, mask: MaskVolume) -> IntensityErrors:
    """All errors of HU over a mask, from one look at the voxels.

    Raises:
        GeometryError: If the mask is empty, or not of the volumes' shape.
    """
    difference = _masked(predicted, mask) - _masked(truth, mask)
    if not difference.size:
        raise GeometryError("the mask is empty: there is nothing to compare")
    root = float(np.sqrt(np.square(difference).mean()))
    peak = float(20.0 * np.log10(HU_RANGE / root)) if root > 0 else float("inf")
    return IntensityErrors(float(np.abs(difference).mean()), root, peak)


def mae(predicted: AnyVolume, truth: AnyVolume, mask: MaskVolume) -> float:
    """Mean absolute error over the mask, HU."""
    return errors(predicted, truth, mask).mae


def rmse(predicted: AnyVolume, truth: AnyVolume, mask: MaskVolume) -> float:
    """Root of the mean squared error over the mask, HU."""
    return errors(predicted, truth, mask).rmse


def psnr(predicted: AnyVolume, truth: AnyVolume, mask: MaskVolume) -> float:
    """Peak signal-to-noise ratio over the mask, dB, for a peak of `HU_RANGE`; infinite where nothing differs."""
    return errors(predicted, truth, mask).psnr


def ssim_map(
    predicted: AnyVolume, truth: AnyVolume, mask: MaskVolume | None = None, hu_range: float = HU_RANGE
) -> ScalarVolume:
    """Structural similarity a voxel, 3D Gaussian window of 1.5 voxels.

    Args:
        predicted: HU, shape (z, y, x).
        truth: HU, shape (z, y, x).
        mask: Where the map is wanted; it is computed over the mask's box only, and 0 elsewhere.
        hu_range: Dynamic range, HU.

    Returns:
        Float32, shape (z, y, x). Method: Wang, Bovik, Sheikh, Simoncelli 2004, doi 10.1109/TIP.2003.819861, by
        scikit-image; an axis shorter than the window goes on with its mirror image.
    """
    import torch
    from skimage.metrics import structural_similarity

    a, b = _array(predicted), _array(truth)
    _check_shapes(a.shape, b.shape)
    radius = int(3.5 * SSIM_SIGMA + 0.5)
    box = mask_box(_array(mask), radius) if mask is not None else tuple(slice(0, n) for n in a.shape)
    out = np.zeros(a.shape, dtype=np.float32)
    if box is None:
        return torch.from_numpy(out)
    pads = [(0, max(0, 2 * radius + 1 - (s.stop - s.start))) for s in box]
    a, b = (np.pad(v[box].astype(np.float32), pads, mode="symmetric") for v in (a, b))
    _, full = structural_similarity(
        a, b, data_range=hu_range, gaussian_weights=True, sigma=SSIM_SIGMA, use_sample_covariance=False, full=True
    )
    out[box] = full[tuple(slice(0, s.stop - s.start) for s in box)]
    return torch.from_numpy(out)


def ssim(predicted: AnyVolume, truth: AnyVolume, mask: MaskVolume, hu_range: float = HU_RANGE) -> float:
    """Mean over the mask of the structural similarity; see `ssim_map`."""
    return masked_mean(ssim_map(predicted, truth, mask, hu_range), mask)


def local_ncc_map(
    predicted: AnyVolume, truth: AnyVolume, mask: MaskVolume | None = None, window: int = NCC_WINDOW
) -> ScalarVolume:
    """Correlation of prediction and truth in a cube of `window` voxels around each voxel, -1 to 1 (not squared).

    Returns:
        Float32, shape (z, y, x); NaN where the truth is flat, 0 where the prediction alone is flat, and NaN outside
        the mask's box. Windows at the border are filled by mirroring.
    """
    import torch
    from scipy.ndimage import uniform_filter

    a, b = _array(predicted), _array(truth)
    _check_shapes(a.shape, b.shape)
    box = mask_box(_array(mask), window // 2) if mask is not None else tuple(slice(0, n) for n in a.shape)
    out = np.full(a.shape, np.nan, dtype=np.float32)
    if box is None:
        return torch.from_numpy(out)
    # float64: the variance is the small difference of large squares
    a, b = a[box].astype(np.float64), b[box].astype(np.float64)
    mean_a, mean_b = uniform_filter(a, window), uniform_filter(b, window)
    var_a = np.maximum(uniform_filter(a * a, window) - mean_a**2, 0.0)
    var_b = np.maximum(uniform_filter(b * b, window) - mean_b**2, 0.0)
    covariance = uniform_filter(a * b, window) - mean_a * mean_b
    correlation = covariance / np.sqrt(np.maximum(var_a, FLAT_HU**2 / 1e4) * np.maximum(var_b, FLAT_HU**2))
    out[box] = np.where(var_b < FLAT_HU**2, np.nan, np.clip(correlation, -1.0, 1.0))
    return torch.from_numpy(out)


def local_ncc(predicted: AnyVolume, truth: AnyVolume, mask: MaskVolume, window: int = NCC_WINDOW) -> float:
    """Mean over the mask of the local correlation, windows of flat truth left out; see `local_ncc_map`."""
    return masked_mean(local_ncc_map(predicted, truth, mask, window), mask)


def change_score(predicted: AnyVolume, truth: AnyVolume, last_observed: AnyVolume, mask: MaskVolume) -> float:
    """Spearman correlation over the mask of (prediction - last observed) with (truth - last observed).

    A forecast that does nothing scores 0, as does one where nothing changes.
    """
    last = _masked(last_observed, mask)
    ranks = [_ranks(_masked(v, mask) - last) for v in (predicted, truth)]
    centred = [r - r.mean() for r in ranks]
    scale = np.sqrt(np.square(centred[0]).sum() * np.square(centred[1]).sum())
    return float((centred[0] * centred[1]).sum() / scale) if scale > 0 else 0.0


def _ranks(values: Array) -> Array:
    """Average ranks; differences of CT values as read are whole numbers, which are counted rather than sorted."""
    from scipy.stats import rankdata

    steps = values - values.min() if values.size else values
    if not values.size or steps.max() > WHOLE_NUMBERS or np.any(steps != np.rint(steps)):
        return np.asarray(rankdata(values))
    whole = steps.astype(np.int64)
    counts = np.bincount(whole)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[whole])


def masked_mean(values: ScalarVolume, mask: MaskVolume) -> float:
    """Mean of the finite values under the mask; NaN where there are none."""
    inside = _masked(values, mask)
    inside = inside[np.isfinite(inside)]
    return float(inside.mean()) if inside.size else float("nan")


def mask_box(mask: Array, margin: int = 0) -> tuple[slice, ...] | None:
    """The box of a mask's True voxels, widened by `margin` voxels within the volume; None for an empty mask."""
    box = []
    for axis, size in enumerate(mask.shape):
        occupied = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        if not occupied.size:
            return None
        box.append(slice(max(int(occupied[0]) - margin, 0), min(int(occupied[-1]) + 1 + margin, size)))
    return tuple(box)


def _array(volume: AnyVolume) -> Array:
    return np.asarray(volume.detach().cpu().numpy())


def _masked(volume: AnyVolume, mask: MaskVolume) -> Array:
    """The values under the mask, float64."""
    _check_shapes(tuple(volume.shape), tuple(mask.shape))
    return np.asarray(_array(volume)[_array(mask).astype(bool)], dtype=np.float64)


def _check_shapes(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    if a != b:
        raise GeometryError(f"volumes to compare must have one shape (z, y, x), got {a} and {b}")
