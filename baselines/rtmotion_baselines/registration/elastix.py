"""elastix: multi-resolution B-spline registration of a pair, set up for the lung."""

import tempfile
import time
from dataclasses import dataclass, field
from typing import Any

from rtmotion.grid import Grid
from rtmotion.interop import field_from_itk, quiet_itk, volume_to_itk
from rtmotion.registration import Registration
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume
from rtmotion_baselines.registration.elastix_settings import parameter_object, pyramid, settings
from rtmotion_baselines.registration.pair import region, registration_of

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
    samples: int = 2000
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

        Samples are drawn inside the mask alone. The transform of elastix maps fixed to moving points, as a
        `DisplacementField` does.
        """
        keep = region(fixed, mask)
        with quiet_itk():
            return self._register(fixed, moving, keep)

    def _register(self, fixed: Volume, moving: Volume, mask: MaskVolume) -> Registration:
        import itk

        start = time.perf_counter()
        options: dict[str, Any] = {"log_to_console": False, "parameter_object": self._parameters(fixed.grid)}
        if not mask.all():
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
        return registration_of(displacement, start)

    def _image(self, volume: Volume) -> Any:
        """The ITK image of a volume, clipped to the window."""
        return volume_to_itk(Volume(volume.hu.clamp(*self.window), volume.grid))

    def _parameters(self, grid: Grid) -> Any:
        """The parameter object of elastix."""
        entries = settings(
            metrics=[METRICS[self.metric], "TransformBendingEnergyPenalty"],
            schedule=pyramid(grid.size, self.resolutions),
            spacing=grid.spacing,
            resolutions=self.resolutions,
            grid_spacing=self.grid_spacing,
            iterations=self.iterations,
            samples=self.samples,
            seed=self.seed,
        )
        return parameter_object(
            entries
            | {
                "Interpolator": ["LinearInterpolator"],
                "ResampleInterpolator": ["FinalBSplineInterpolator"],
                "Transform": ["BSplineTransform"],
                "Metric0Weight": ["1.0"],
                "Metric1Weight": [str(self.bending)],
                "NumberOfHistogramBins": ["32"],
            }
        )
