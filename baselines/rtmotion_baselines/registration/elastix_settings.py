"""What the pairwise and the groupwise registration by elastix have in common."""

from collections.abc import Sequence
from typing import Any

SMALLEST_SIDE = 4
"""No level of a pyramid shrinks an axis under so many voxels."""

FEWEST_VOXELS = 3.0
"""Control points lie at least so many voxels apart: closer ones follow noise."""


def pyramid(size: Sequence[int], resolutions: int, *, frames: bool = False) -> list[str]:
    """The shrink factors of all axes, level by level; an axis of frames after them is never shrunk (factor 0)."""
    levels = [[max(1, min(2**level, n // SMALLEST_SIDE)) for n in size] for level in reversed(range(resolutions))]
    return [str(factor) for level in levels for factor in (*level, 0)[: len(size) + frames]]


def settings(
    *,
    metrics: Sequence[str],
    schedule: Sequence[str],
    spacing: Sequence[float],
    resolutions: int,
    grid_spacing: float,
    iterations: int,
    samples: int,
    seed: int,
) -> dict[str, list[str]]:
    """The entries of a parameter map that pairs and groups share.

    Adaptive stochastic gradient descent on random samples off the voxel grid, smoothed image pyramids, and B-spline
    grids that are halved at each resolution.

    Args:
        metrics: elastix's names of the metric and its penalties.
        schedule: Shrink factors (see `pyramid`).
        spacing: Of the voxels, mm.
        resolutions: Levels of the pyramids.
        grid_spacing: Of the B-spline's control points at the last level, mm; `FEWEST_VOXELS` voxels where that is more.
        iterations: Steps of the optimiser at each level.
        samples: Random image samples of a step.
        seed: Of the sampler.
    """
    return {
        "FixedInternalImagePixelType": ["float"],
        "MovingInternalImagePixelType": ["float"],
        "UseDirectionCosines": ["true"],
        "Registration": ["MultiMetricMultiResolutionRegistration"],
        "FixedImagePyramid": ["FixedSmoothingImagePyramid"],
        "MovingImagePyramid": ["MovingSmoothingImagePyramid"],
        "ImagePyramidSchedule": list(schedule),
        "Resampler": ["DefaultResampler"],
        "Optimizer": ["AdaptiveStochasticGradientDescent"],
        "AutomaticParameterEstimation": ["true"],
        # the step size is estimated from so many samples: elastix's defaults take longer than the registration
        "NumberOfJacobianMeasurements": ["1000"],
        "NumberOfSamplesForExactGradient": ["10000"],
        "HowToCombineTransforms": ["Compose"],
        "FinalGridSpacingInPhysicalUnits": [str(max(grid_spacing, FEWEST_VOXELS * s)) for s in spacing],
        "Metric": list(metrics),
        "NumberOfResolutions": [str(resolutions)],
        "MaximumNumberOfIterations": [str(iterations)],
        "ImageSampler": ["RandomCoordinate"] * len(metrics),
        "NumberOfSpatialSamples": [str(samples)],
        "NewSamplesEveryIteration": ["true"],
        "MaximumNumberOfSamplingAttempts": ["8"],
        "RequiredRatioOfValidSamples": ["0.05"],
        "RandomSeed": [str(seed)],
        "WriteResultImage": ["false"],
        "DefaultPixelValue": ["-1000"],
    }


def parameter_object(entries: dict[str, list[str]]) -> Any:
    """The parameter object of elastix with one map."""
    import itk

    collection = itk.ParameterObject.New()
    collection.AddParameterMap(entries)
    return collection
