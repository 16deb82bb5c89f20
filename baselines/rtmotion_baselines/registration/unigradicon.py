"""uniGradICON: a registration network for many organs, with the user's copy of its weights (an optional package)."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from rtmotion.errors import ReadError
from rtmotion.interop import field_from_itk, quiet_itk, volume_to_itk
from rtmotion.registration import Registration
from rtmotion.sequence import Volume
from rtmotion.types import MaskVolume
from rtmotion_baselines.registration.pair import AIR_HU, blanking_region, on_grid_of, registration_of

VARIABLE = "RTMOTION_UNIGRADICON_WEIGHTS"
"""The environment variable that names the weights where no option does."""

WINDOW = (-1000.0, 1000.0)
"""HU that the network's authors map to 0 and 1 for CT."""


@dataclass(frozen=True)
class UniGradIcon:
    """uniGradICON through the package unigradicon; nothing is downloaded.

    Tian et al., MICCAI 2024, arXiv 2403.05780. The network sees both volumes at 175×175×175 voxels.

    Attributes:
        weights: The file of its weights (`Step_2_final.trch` of the authors' release); None takes it from the
            environment variable `RTMOTION_UNIGRADICON_WEIGHTS`.
        steps: Of the optimisation of the weights for each pair; 0 for none.
    """

    weights: str | None = None
    steps: int = 0
    name: str = field(default="unigradicon", init=False)

    def register(self, fixed: Volume, moving: Volume, mask: MaskVolume | None = None) -> Registration:
        """Registers `moving` to `fixed`; see `rtmotion.registration.RegistrationEngine`.

        From 25 mm outside the mask on, both volumes are air.

        Raises:
            ReadError: If there is no file of weights, or it is not one of this network.
        """
        path = self._weights()
        start = time.perf_counter()
        keep = blanking_region(fixed, mask)
        with quiet_itk(), _silent():
            import itk

            wrapper: Any = import_module("icon_registration.itk_wrapper")
            network = _network(str(path))
            low, high = WINDOW
            images = [
                volume_to_itk(
                    Volume(
                        ((v.hu.clamp(low, high) - low) / (high - low)).where(keep, (AIR_HU - low) / (high - low)),
                        v.grid,
                    )
                )
                for v in (fixed, on_grid_of(fixed, moving))
            ]
            # the first map takes points of the second image to points of the first
            to_moving, _ = wrapper.register_pair(network, images[1], images[0], finetune_steps=self.steps or None)
            field_type = itk.Image[itk.Vector[itk.F, 3], 3]
            made = itk.TransformToDisplacementFieldFilter[field_type, itk.D].New(
                Transform=to_moving, ReferenceImage=images[0], UseReferenceImage=True
            )
            made.Update()
            displacement = field_from_itk(made.GetOutput())
        return registration_of(displacement, start)

    def _weights(self) -> Path:
        """The file of the weights."""
        named = self.weights or os.environ.get(VARIABLE, "")
        if not named:
            raise ReadError(
                f"unigradicon needs weights that rtmotion does not bring: name their file by --weights or {VARIABLE}"
            )
        if not Path(named).is_file():
            raise ReadError(f"{named}: a file with the weights of uniGradICON was expected; there is none")
        return Path(named)


@lru_cache(maxsize=1)
def _network(path: str) -> Any:
    """The network with weights, which are read without executing anything."""
    import pickle

    package: Any = import_module("unigradicon")
    try:
        return package.get_unigradicon(weights_location=path)
    except (RuntimeError, pickle.UnpicklingError, KeyError, EOFError, TypeError, AttributeError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise ReadError(f"{path}: these are no weights of uniGradICON ({first})") from error


@contextmanager
def _silent() -> Iterator[None]:
    """The package prints its losses."""
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
        yield
