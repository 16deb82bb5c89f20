"""ConvexAdam: coupled convex optimisation of MIND features, then Adam (an optional package)."""

import time
import warnings
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import torch

from rtmotion.field import DisplacementField, resample, to_world_units
from rtmotion.registration import Registration
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume
from rtmotion_baselines.registration.pair import AIR_HU, blanking_region, on_grid_of, registration_of

SMALLEST_SIDE = 4
"""Blocks of the convex stage that every axis has at least."""


@dataclass(frozen=True)
class ConvexAdam:
    """ConvexAdam with MIND-SSC features, through the package convexAdam.

    Siebert, Großbröhmer, Hansen, Heinrich, IEEE TMI 44(2), 2025, doi 10.1109/TMI.2024.3462248. The volumes are
    registered on an isotropic grid, since the package counts in voxels.

    Attributes:
        spacing: Of that grid, mm; never finer than the volumes.
        grid_step: Voxels a side of a block of the convex stage.
        reach: Blocks that the convex stage looks to each side.
        weight: Of the diffusion penalty of the Adam stage.
        iterations: Steps of Adam.
        window: HU outside are clipped to its ends.
        device: Torch device of the computation.
    """

    spacing: float = 2.0
    grid_step: int = 6
    reach: int = 4
    weight: float = 1.25
    iterations: int = 80
    window: tuple[float, float] = (-1000.0, 500.0)
    device: str = "cpu"
    name: str = field(default="convexadam", init=False)

    def register(self, fixed: Volume, moving: Volume, mask: MaskVolume | None = None) -> Registration:
        """Registers `moving` to `fixed`; see `rtmotion.registration.RegistrationEngine`.

        From 25 mm outside the mask on, both volumes are air.
        """
        start = time.perf_counter()
        keep = blanking_region(fixed, mask)
        with warnings.catch_warnings():
            # the package warns of its own calls of torch; importing it silences all warnings, for good but for this
            warnings.simplefilter("ignore")
            package: Any = import_module("convexAdam.convex_adam_MIND")
            grid = fixed.grid.with_spacing(self.spacing, minimum=SMALLEST_SIDE * self.grid_step)
            air = torch.full_like(fixed.hu, AIR_HU)
            images = [
                resample(torch.where(keep, v.hu.clamp(*self.window), air), fixed.grid, grid).cpu()
                for v in (fixed, on_grid_of(fixed, moving))
            ]
            found = package.convex_adam_pt(
                images[0],
                images[1],
                lambda_weight=self.weight,
                grid_sp=self.grid_step,
                disp_hw=self.reach,
                selected_niter=self.iterations,
                dtype=torch.float32,
                device=torch.device(self.device),
            )
        # voxels along the tensor's axes z, y, x, in the last axis: `warped = moving[index + found]`
        voxels = torch.as_tensor(found, dtype=torch.float32).movedim(-1, 0).flip(0)
        displacement = resample(to_world_units(voxels, grid), grid, fixed.grid)
        return registration_of(DisplacementField(displacement, fixed.grid), start)
