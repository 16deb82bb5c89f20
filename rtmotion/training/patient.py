"""What recipes may ask of a synthetic patient: the tensors of the phantom's stream, which the core does not import."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rtmotion.grid import Grid


class SyntheticPatient(Protocol):
    """A synthetic patient on one device; see `rtmotion_data.phantom.PhantomTensors`."""

    @property
    def rendered(self) -> Tensor:
        """HU as scanned, shape (n, z, y, x)."""
        ...

    @property
    def clean(self) -> Tensor:
        """HU without noise and artefacts, shape (n, z, y, x)."""
        ...

    @property
    def labels(self) -> Tensor:
        """0 outside the body, shape (n, z, y, x)."""
        ...

    @property
    def displacements(self) -> Tensor:
        """Phase j (fixed) to the first phase (moving), mm, LPS, shape (n, 3, z, y, x)."""
        ...

    @property
    def inverses(self) -> Tensor:
        """The first phase (fixed) to phase j (moving), mm, LPS, shape (n, 3, z, y, x)."""
        ...

    @property
    def landmarks(self) -> Tensor:
        """The same points in every phase, LPS mm, shape (n, m, 3)."""
        ...

    @property
    def grid(self) -> Grid:
        """The common grid."""
        ...

    @property
    def fractions(self) -> npt.NDArray[np.float64]:
        """Phase fractions, shape (n,)."""
        ...
