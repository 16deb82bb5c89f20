"""Test-time adaptation: how far the network is to be trusted on this patient, told by phases that were left out.

The last observed phases are left out and forecast from those before them, by the motion model and by the network.
What is adapted is how much of the network's correction is taken: one number in closed form. It starts at a half, and
the left-out phases move it only towards where their own error is least, as far as they say anything; at 0 the forecast
is the motion model's. A half, since the network has seen generated patients alone, while a phase just before the ones
to come says little of those far away: drawn towards nothing, generated patients that no table shows lost at k = 3 and 7
most of what the network knew.

Linear closure was tried as a third candidate and left out: phases close to the observed ones say little of how the
cycle closes. On a real case they asked for most of it, which made the forecast much worse.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PRIOR = 0.5
"""The share where nothing was left out."""

PRIOR_MM = 1.0
"""Corrections of this length at the phases that were left out count as much as the prior."""

TRUSTED = (0.0, 1.0)
"""Limits of the share."""


@dataclass(frozen=True)
class Trust:
    """What is taken of the network's correction.

    Attributes:
        network: Share of the network's correction: 1 takes all of it, 0 leaves the motion model's forecast.
        motion_model: Error of the motion model at the left-out phases, mm (root mean square around the lung).
        before: That of the network as it is.
        after: That with this share.
        expected: What the network expected its error there to be, mm; 0 where nothing was left out.
        phases: Number of left-out phases.
    """

    network: float = PRIOR
    motion_model: float = 0.0
    before: float = 0.0
    after: float = 0.0
    expected: float = 0.0
    phases: int = 0


@dataclass(frozen=True, eq=False)
class LeftOut:
    """A phase that was left out and forecast; all mm, LPS, shape (3, z, y, x).

    Attributes:
        observed: Its registered velocity.
        proposal: The motion model's.
        network: The network's.
        scale: The network's own expectation of its error, mm, shape (z, y, x).
    """

    observed: Tensor
    proposal: Tensor
    network: Tensor
    scale: Tensor


def find_trust(left_out: Sequence[LeftOut], region: Tensor) -> Trust:
    """The share that forecasts the left-out phases best.

    Args:
        left_out: The phases.
        region: Where errors count, bool, shape (z, y, x).
    """
    count = int(region.sum())
    if not left_out or not count:
        return Trust()
    correction = _column([p.network - p.proposal for p in left_out], region)
    missing = _column([p.observed - p.proposal for p in left_out], region)
    # missing = share · correction, with a prior of the share
    sure = PRIOR_MM**2 * count
    share = (float(correction @ missing) + PRIOR * sure) / (float(correction @ correction) + sure)
    share = float(np.clip(share, *TRUSTED))

    def error(share: float) -> float:
        return float(((missing - share * correction).square().sum() / (count * len(left_out))).sqrt())

    expected = float(torch.stack([p.scale[region].square().mean() for p in left_out]).mean().sqrt())
    return Trust(share, error(0.0), error(1.0), error(share), expected, len(left_out))


def _column(fields: Sequence[Tensor], region: Tensor) -> Tensor:
    return torch.cat([f[:, region].flatten() for f in fields]).double()


def splits(count: int) -> list[int]:
    """How many phases are kept in each round: all but one and all but two, at least two."""
    return [k for k in (count - 1, count - 2) if k >= 2]
