"""ANTs SyN: symmetric diffeomorphic registration (an optional package)."""

import tempfile
import time
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rtmotion.field import DisplacementField
from rtmotion.grid import Grid
from rtmotion.registration import Registration
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume, ScalarVolume
from rtmotion_baselines.registration.pair import region, registration_of


@dataclass(frozen=True)
class AntsSyn:
    """Symmetric normalisation by ANTs, through antspyx.

    Avants, Epstein, Grossman, Gee, Medical Image Analysis 12(1), 2008, doi 10.1016/j.media.2007.06.004. Without an
    affine stage: the phases of one scan share their frame. ANTs is repeatable on one thread alone (set
    ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS to 1).

    Attributes:
        metric: `mattes` (mutual information), `meansquares`, or `CC` (local cross-correlation, many times slower).
        sampling: Bins of `mattes`; half width of the window of `CC`, voxels.
        iterations: Of the levels of the pyramid, coarse to fine, which halves at each; 0 leaves the finest out, where
            a step takes many seconds.
        step: Gradient step.
        smoothing: Of the update field, variance in voxels².
        window: HU outside are clipped to its ends.
        seed: Of the sampler.
    """

    metric: str = "mattes"
    sampling: int = 32
    iterations: tuple[int, ...] = (100, 60, 0)
    step: float = 0.2
    smoothing: float = 3.0
    window: tuple[float, float] = (-1000.0, 500.0)
    seed: int = 0
    name: str = field(default="ants-syn", init=False)

    def register(self, fixed: Volume, moving: Volume, mask: MaskVolume | None = None) -> Registration:
        """Registers `moving` to `fixed`; see `rtmotion.registration.RegistrationEngine`."""
        ants: Any = import_module("ants")

        start = time.perf_counter()
        images = [_image(v.hu.clamp(*self.window), v.grid) for v in (fixed, moving)]
        keep = region(fixed, mask)
        with tempfile.TemporaryDirectory() as scratch:
            found = ants.registration(
                images[0],
                images[1],
                type_of_transform="SyNOnly",
                initial_transform="Identity",
                outprefix=str(Path(scratch) / "syn_"),
                mask=None if keep.all() else _image(keep.float(), fixed.grid),
                grad_step=self.step,
                flow_sigma=self.smoothing,
                syn_metric=self.metric,
                syn_sampling=self.sampling,
                reg_iterations=self.iterations,
                random_seed=self.seed + 1,  # ANTs takes 0 for the clock
            )
            warps = [name for name in found["fwdtransforms"] if name.endswith("Warp.nii.gz")]
            # mm, LPS, fixed to moving points, shape (x, y, z, 3)
            vectors = ants.image_read(warps[0]).numpy()
        data = torch.from_numpy(np.ascontiguousarray(vectors.transpose(3, 2, 1, 0), dtype=np.float32))
        return registration_of(DisplacementField(data, fixed.grid), start)


def _image(data: ScalarVolume, grid: Grid) -> Any:
    """The ANTs image of a volume; its arrays are indexed x, y, z."""
    ants: Any = import_module("ants")
    return ants.from_numpy(
        np.ascontiguousarray(data.cpu().float().numpy().T),
        origin=list(grid.origin),
        spacing=list(grid.spacing),
        direction=grid.direction_matrix,
    )
