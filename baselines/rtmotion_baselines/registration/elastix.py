"""elastix: multi-resolution B-spline registration, set up for the lung."""

import tempfile
import time
import warnings
from dataclasses import dataclass, field
from typing import Any

from rtmotion.errors import GeometryError
from rtmotion.field import folds
from rtmotion.interop import field_from_itk, volume_to_itk
from rtmotion.registration import Registration
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume

METRICS = {"ncc": "AdvancedNormalizedCorrelation", "mi": "AdvancedMattesMutualInformation"}


@dataclass(frozen=True)
class ElastixBSpline:
    """Cubic B-spline registration by elastix, through itk-elastix.

    Klein, Staring, Murphy, Viergever, Pluim, IEEE TMI 29(1), 2010, doi 10.1109/TMI.2009.2035616; the settings follow
    the lung registrations of its parameter-file collection: adaptive stochastic gradient descent, random samples
    off the voxel grid, B-spline grids halved at each resolution, bending energy as the penalty.

    Attributes:
        metric: `ncc` or `mi`.
        resolutions: Levels of the image and B-spline pyramids.
        grid_spacing: Spacing of the B-spline's control points at the last level, mm.
        iterations: Steps of the optimiser at each level.
        samples: Random image samples of a step.
        bending: Weight of the bending energy beside the metric's 1.
        window: HU outside are clipped to its ends.
        threads: Threads of ITK; 0 takes all.
        seed: Of the sampler.
    """

    metric: str = "ncc"
    resolutions: int = 4
    grid_spacing: float = 8.0
    iterations: int = 500
    samples: int = 4000
    bending: float = 1.0
    window: tuple[float, float] = (-1000.0, 500.0)
    threads: int = 0
    seed: int = 121212
    name: str = field(default="elastix", init=False)

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"the metric of elastix is one of {', '.join(METRICS)}, not {self.metric!r}")

    def register(self, fixed: Volume, moving: Volume, mask: MaskVolume | None = None) -> Registration:
        """Registers `moving` to `fixed`; see `rtmotion.registration.RegistrationEngine`.

        The transform of elastix maps fixed to moving points, as a `DisplacementField` does.
        """
        if mask is not None and tuple(mask.shape) != fixed.grid.shape:
            raise GeometryError(f"the mask {tuple(mask.shape)} does not lie on the fixed grid {fixed.grid.shape}")
        with warnings.catch_warnings():
            # ITK's modules load at first use and warn of their own wrapping; as an error that warning crashes them
            warnings.simplefilter("ignore", DeprecationWarning)
            return self._register(fixed, moving, mask)

    def _register(self, fixed: Volume, moving: Volume, mask: MaskVolume | None) -> Registration:
        import itk

        start = time.perf_counter()
        options: dict[str, Any] = {"log_to_console": False, "parameter_object": self._parameters(fixed)}
        if mask is not None:
            options["fixed_mask"] = itk.cast_image_filter(
                volume_to_itk(Volume(mask.float(), fixed.grid)), ttype=(itk.Image[itk.F, 3], itk.Image[itk.UC, 3])
            )
        if self.threads:
            options["number_of_threads"] = self.threads
        image = self._image(moving)
        _, transform = itk.elastix_registration_method(self._image(fixed), image, **options)
        # transformix leaves the field as a file too, in the working directory unless told otherwise
        with tempfile.TemporaryDirectory() as scratch:
            field_image = itk.transformix_deformation_field(
                image, transform, log_to_console=False, output_directory=scratch
            )
            displacement = field_from_itk(field_image)
        seconds = time.perf_counter() - start
        details = {"folding_percent": 100 * float(folds(displacement.data, displacement.grid).float().mean())}
        return Registration(displacement, None, seconds, details)

    def _image(self, volume: Volume) -> Any:
        """The ITK image of a volume, clipped to the window."""
        return volume_to_itk(Volume(volume.hu.clamp(*self.window), volume.grid))

    def _parameters(self, fixed: Volume) -> Any:
        """The parameter object of elastix."""
        import itk

        # no level shrinks an axis under four voxels
        schedule = [
            str(max(1, min(2**level, n // 4))) for level in reversed(range(self.resolutions)) for n in fixed.grid.size
        ]
        metrics = [METRICS[self.metric], "TransformBendingEnergyPenalty"]
        parameters: dict[str, list[str]] = {
            "FixedInternalImagePixelType": ["float"],
            "MovingInternalImagePixelType": ["float"],
            "UseDirectionCosines": ["true"],
            "Registration": ["MultiMetricMultiResolutionRegistration"],
            "FixedImagePyramid": ["FixedSmoothingImagePyramid"],
            "MovingImagePyramid": ["MovingSmoothingImagePyramid"],
            "ImagePyramidSchedule": schedule,
            "Interpolator": ["LinearInterpolator"],
            "ResampleInterpolator": ["FinalBSplineInterpolator"],
            "Resampler": ["DefaultResampler"],
            "Optimizer": ["AdaptiveStochasticGradientDescent"],
            "AutomaticParameterEstimation": ["true"],
            "Transform": ["BSplineTransform"],
            "HowToCombineTransforms": ["Compose"],
            "FinalGridSpacingInPhysicalUnits": [str(self.grid_spacing)] * 3,
            "Metric": metrics,
            "Metric0Weight": ["1.0"],
            "Metric1Weight": [str(self.bending)],
            "NumberOfHistogramBins": ["32"],
            "NumberOfResolutions": [str(self.resolutions)],
            "MaximumNumberOfIterations": [str(self.iterations)],
            "ImageSampler": ["RandomCoordinate"] * len(metrics),
            "NumberOfSpatialSamples": [str(self.samples)],
            "NewSamplesEveryIteration": ["true"],
            "MaximumNumberOfSamplingAttempts": ["8"],
            "RequiredRatioOfValidSamples": ["0.05"],
            "RandomSeed": [str(self.seed)],
            "WriteResultImage": ["false"],
            "DefaultPixelValue": ["-1000"],
        }
        collection = itk.ParameterObject.New()
        collection.AddParameterMap(parameters)
        return collection
