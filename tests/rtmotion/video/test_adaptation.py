import pytest
import torch
from torch import Tensor

from rtmotion.video.adaptation import PRIOR, LeftOut, Trust, find_trust, splits

REGION = torch.ones(6, 6, 6, dtype=torch.bool)
SCALE = torch.ones(6, 6, 6)


def fields(count: int, size: float = 5.0) -> list[Tensor]:
    random = torch.Generator().manual_seed(3)
    return [size * torch.randn(3, 6, 6, 6, generator=random) for _ in range(count)]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_the_networks_share_is_found(share: float) -> None:
    proposal, network = fields(2)
    trust = find_trust([LeftOut(proposal + share * (network - proposal), proposal, network, SCALE)], REGION)
    assert trust.network == pytest.approx(share, abs=0.03)
    assert trust.after <= min(trust.before, trust.motion_model) + 0.1  # of 12 mm
    assert trust.motion_model == pytest.approx(share * trust.before / abs(1 - share), rel=1e-3)
    assert trust.expected == pytest.approx(1.0)
    assert trust.phases == 1


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_small_corrections_hardly_move_the_share(share: float) -> None:
    proposal, network = fields(2, size=0.05)
    observed = proposal + share * (network - proposal)
    trust = find_trust([LeftOut(observed, proposal, network, SCALE)], REGION)
    assert trust.network == pytest.approx(PRIOR, abs=0.02)
    assert (trust.network - PRIOR) * (share - PRIOR) > 0


@pytest.mark.parametrize("size", [0.2, 1.0, 5.0])
def test_what_is_kept_is_never_worse_at_the_left_out_phases_than_the_start(size: float) -> None:
    proposal, network, truth = fields(3, size)
    trust = find_trust([LeftOut(truth, proposal, network, SCALE)], REGION)
    halfway = (truth - proposal - PRIOR * (network - proposal)).square().sum(dim=0).mean().sqrt()
    assert trust.after <= float(halfway) + 1e-9


def test_the_share_stays_within_its_limits() -> None:
    proposal, network = fields(2)
    for beyond, limit in ((-2, 0.0), (3, 1.0)):
        truth = proposal + beyond * (network - proposal)
        trust = find_trust([LeftOut(truth, proposal, network, SCALE)], REGION)
        assert trust.network == limit
        assert trust.after <= min(trust.before, trust.motion_model)


def test_without_a_phase_left_out_or_a_lung_half_is_taken() -> None:
    proposal, network, truth = fields(3)
    assert find_trust([], REGION) == Trust()
    assert Trust().network == PRIOR
    assert find_trust([LeftOut(truth, proposal, network, SCALE)], ~REGION) == Trust()


def test_at_least_two_phases_are_kept() -> None:
    assert [splits(k) for k in (2, 3, 4, 7)] == [[], [2], [3, 2], [6, 5]]
