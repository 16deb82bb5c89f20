"""elastix, groupwise: all phases of a sequence in one registration, none of them the template."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from rtmotion.field import DisplacementField, compose, invert
from rtmotion.grid import Grid
from rtmotion.interop import field_from_sitk, quiet_itk, scalars_to_sitk, stack_to_itk
from rtmotion.registration import Registration
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion.types import MaskVolume, VectorVolume
from rtmotion_baselines.registration.elastix_settings import parameter_object, pyramid, settings
from rtmotion_baselines.registration.pair import on_grid_of, region, registration_of

METRICS = {"variance": "VarianceOverLastDimensionMetric", "pca": "PCAMetric2"}


@dataclass(frozen=True)
class ElastixGroupwise:
    """Groupwise B-spline registration of a phase sequence by elastix, through itk-elastix.

    Metz, Klein, Schaap, van Walsum, Niessen, Medical Image Analysis 15(2), 2011, doi 10.1016/j.media.2010.10.003: the
    phases are frames of one 4D image, each with a B-spline of its own, whose mean over the frames is held at zero; what
    is made small is the variance over the frames at every point of that mean space (or, with `pca`, what the first
    principal components leave: Huizinga et al., Medical Image Analysis 29, 2016, doi 10.1016/j.media.2015.12.004).
    The field from phase j to the reference goes from j to the mean space and on to the reference.

    elastix has no penalty on bending for such a stack: the spacing of its control points alone keeps it smooth.

    Attributes:
        metric: `variance` or `pca`.
        resolutions: Levels of the image and B-spline pyramids.
        grid_spacing: Spacing of the B-splines' control points at the last level, mm.
        iterations: Steps of the optimiser at each level.
        samples: Random positions of a step, each looked at in every phase.
        window: HU outside are clipped to its ends.
        threads: Threads of ITK; 0 takes all.
        seed: Of the sampler.
    """

    metric: str = "variance"
    resolutions: int = 4
    grid_spacing: float = 12.0
    iterations: int = 250
    samples: int = 2000
    window: tuple[float, float] = (-1000.0, 500.0)
    threads: int = 0
    seed: int = 121212
    name: str = field(default="elastix-groupwise", init=False)

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"the metric of elastix-groupwise is one of {', '.join(METRICS)}, not {self.metric!r}")

    def register(self, fixed: Volume, moving: Volume, mask: MaskVolume | None = None) -> Registration:
        """Registers `moving` to `fixed` as a group of two; see `rtmotion.registration.RegistrationEngine`."""
        pair = PhaseSequence((Phase(0.0), Phase(0.5)), (fixed, on_grid_of(fixed, moving)))
        keep = region(fixed, mask)
        return self.register_group(pair, 1, (keep, keep))[0]

    def register_group(
        self,
        sequence: PhaseSequence,
        reference: int = 0,
        masks: Sequence[MaskVolume] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[Registration, ...]:
        """Registers all phases at once; see `rtmotion.registration.GroupwiseEngine`.

        Samples are drawn where the mask of any phase is. The seconds of a registration are an equal share.
        """
        start = time.perf_counter()
        grid, count = sequence.grid, len(sequence)
        regions = [region(v, None if masks is None else masks[i]) for i, v in enumerate(sequence.volumes)]
        with quiet_itk():
            fields = self._fit(sequence, torch.stack([r.cpu() for r in regions]).any(dim=0))
        still = Registration(DisplacementField(torch.zeros(3, *grid.shape), grid))
        found = [
            still if i == reference else registration_of(_through_the_mean(u, fields[reference], grid), start)
            for i, u in enumerate(fields)
        ]
        share = (time.perf_counter() - start) / (count - 1)
        if progress is not None:
            progress(count, count)
        return tuple(r if r is still else replace(r, seconds=share) for r in found)

    def _fit(self, sequence: PhaseSequence, mask: MaskVolume) -> list[VectorVolume]:
        """The displacement from the mean space to every phase, mm, LPS, on the sequence's grid."""
        import itk

        grid, count = sequence.grid, len(sequence)
        frames = stack_to_itk(torch.stack([v.hu.cpu().clamp(*self.window) for v in sequence.volumes]), grid)
        options: dict[str, Any] = {"log_to_console": False, "parameter_object": self._parameters(grid)}
        if not mask.all():
            where = stack_to_itk(mask.float().expand(count, *grid.shape), grid)
            options["fixed_mask"] = itk.cast_image_filter(where, ttype=(itk.Image[itk.F, 4], itk.Image[itk.UC, 4]))
        if self.threads:
            options["number_of_threads"] = self.threads
        _, transform = itk.elastix_registration_method(frames, frames, **options)
        found = transform.GetParameterMap(0)
        size, spacing, origin = (found[f"Grid{name}"][:3] for name in ("Size", "Spacing", "Origin"))
        control = Grid(
            tuple(int(n) for n in size),  # type: ignore[arg-type]
            tuple(float(s) for s in spacing),  # type: ignore[arg-type]
            tuple(float(o) for o in origin),  # type: ignore[arg-type]
        )
        # frame by frame the coefficients of x, y, z, each with x running fastest
        coefficients = np.array([float(c) for c in found["TransformParameters"]]).reshape(count, 3, *control.shape)
        turn = torch.as_tensor(grid.direction_matrix, dtype=torch.float32)
        return [torch.einsum("ij,jzyx->izyx", turn, _spline(c, control, grid)) for c in coefficients]

    def _parameters(self, grid: Grid) -> Any:
        """The parameter object of elastix."""
        entries = settings(
            metrics=[METRICS[self.metric]],
            schedule=pyramid(grid.size, self.resolutions, frames=True),
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
                "Interpolator": ["ReducedDimensionBSplineInterpolator"],
                "BSplineInterpolationOrder": ["1"],
                "ResampleInterpolator": ["FinalReducedDimensionBSplineInterpolator"],
                "Transform": ["BSplineStackTransform"],
                "GridSpacingSchedule": [str(2**level) for level in reversed(range(self.resolutions))],
                "SampleLastDimensionRandomly": ["false"],
                # the mean displacement over the frames is zero; the name changed with elastix 5.2
                "SubtractMean": ["true"],
                "UseZeroAverageDisplacementConstraint": ["true"],
                "MovingImageDerivativeScales": ["1", "1", "1", "0"],
                # the spacing of the frames is no length: left to itself, elastix would average it in
                "MaximumStepLength": [str(min(grid.spacing))],
            }
        )


def _spline(coefficients: np.ndarray[Any, np.dtype[np.float64]], control: Grid, grid: Grid) -> VectorVolume:
    """A cubic B-spline of displacements at the voxels of a grid, along the grid's own axes, mm."""
    import SimpleITK as sitk  # noqa: N813

    images = [scalars_to_sitk(torch.from_numpy(c.copy()), control) for c in coefficients]
    transform = sitk.BSplineTransform(images, 3)
    size, spacing = list(grid.size), list(grid.spacing)
    image = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat32, size, [0.0] * 3, spacing)
    return field_from_sitk(image).data


def _through_the_mean(to_phase: VectorVolume, to_reference: VectorVolume, grid: Grid) -> DisplacementField:
    """From a phase to the reference, given the displacements from the mean space to both, mm, LPS."""
    return DisplacementField(compose(invert(to_phase, grid), to_reference, grid), grid)
