"""Demons: symmetric-forces registration by SimpleITK, coarse to fine."""

import time
from dataclasses import dataclass
from typing import Any

from rtmotion.interop import field_from_sitk, scalars_to_sitk, volume_to_sitk
from rtmotion.registration import Registration
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume
from rtmotion_baselines.registration.pair import blanking_region, registration_of


@dataclass(frozen=True)
class Demons:
    """Fast symmetric-forces or diffeomorphic demons, through SimpleITK.

    Vercauteren, Pennec, Perchant, Ayache, NeuroImage 45(1), 2009, doi 10.1016/j.neuroimage.2008.10.040.

    Attributes:
        diffeomorphic: Whether updates are composed as diffeomorphisms rather than added.
        shrink: Factors of the pyramid, coarse to fine.
        iterations: At each level.
        smoothing: Standard deviation of the Gaussian over the field after each step, mm; on levels whose voxels are
            larger it is one voxel, since less smooths nothing.
        window: HU outside are clipped to its ends.
    """

    diffeomorphic: bool = False
    shrink: tuple[int, ...] = (4, 2, 1)
    iterations: tuple[int, ...] = (60, 40, 20)
    smoothing: float = 4.0
    window: tuple[float, float] = (-1000.0, 100.0)

    def __post_init__(self) -> None:
        if not (0 < len(self.shrink) == len(self.iterations)):
            raise ValueError("shrink and iterations must have one entry for each level")

    @property
    def name(self) -> str:
        """`demons` or `demons-diffeomorphic`."""
        return "demons-diffeomorphic" if self.diffeomorphic else "demons"

    def register(self, fixed: Volume, moving: Volume, mask: MaskVolume | None = None) -> Registration:
        """Registers `moving` to `fixed`; see `rtmotion.registration.RegistrationEngine`.

        From 25 mm outside the mask on, both images are set to the window's lower end.
        """
        import SimpleITK as sitk  # noqa: N813

        start = time.perf_counter()
        keep = scalars_to_sitk(blanking_region(fixed, mask), fixed.grid)
        target = self._image(fixed)
        image = sitk.Resample(self._image(moving), target, sitk.Transform(), sitk.sitkLinear, self.window[0])
        target, image = (sitk.Mask(i, keep, self.window[0]) for i in (target, image))
        current: Any = None
        for shrink, iterations in zip(self.shrink, self.iterations, strict=True):
            level = [_reduced(i, shrink) for i in (target, image)]
            current = self._level(level[0], level[1], current, iterations)
        whole = sitk.Resample(current, target, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkVectorFloat64, True)
        return registration_of(field_from_sitk(whole), start)

    def _level(self, fixed: Any, moving: Any, current: Any, iterations: int) -> Any:
        """The displacement image after one level of the pyramid."""
        import SimpleITK as sitk  # noqa: N813

        demons = (
            sitk.DiffeomorphicDemonsRegistrationFilter()
            if self.diffeomorphic
            else sitk.FastSymmetricForcesDemonsRegistrationFilter()
        )
        demons.SetNumberOfIterations(iterations)
        demons.SetSmoothDisplacementField(True)
        # SimpleITK counts the deviations in voxels
        demons.SetStandardDeviations([max(self.smoothing / s, 1.0) for s in fixed.GetSpacing()])
        if current is None:
            return demons.Execute(fixed, moving)
        begin = sitk.Resample(current, fixed, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkVectorFloat64, True)
        return demons.Execute(fixed, moving, begin)

    def _image(self, volume: Volume) -> Any:
        """The SimpleITK image of a volume, clipped to the window, float32."""
        return volume_to_sitk(Volume(volume.hu.clamp(*self.window), volume.grid))


def _reduced(image: Any, shrink: int) -> Any:
    """A coarser image, smoothed first; no axis gets fewer than eight voxels."""
    import SimpleITK as sitk  # noqa: N813

    factors = [max(1, min(shrink, n // 8)) for n in image.GetSize()]
    smooth = [max(0.5 * f * s, 1e-3) if f > 1 else 1e-3 for f, s in zip(factors, image.GetSpacing(), strict=True)]
    return image if max(factors) == 1 else sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, smooth), factors)
