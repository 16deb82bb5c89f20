import pytest
import torch
from torch import Tensor

from rtmotion.video.adaptation import LeftOut, Trust, find_trust, splits

REGION = torch.ones(6, 6, 6, dtype=torch.bool)


def fields(count: int, size: float = 5.0) -> list[Tensor]:
    random = torch.Generator().manual_seed(3)
    return [size * torch.randn(3, 6, 6, 6, generator=random) for _ in range(count)]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.2])
def test_the_networks_share_is_found(share: float) -> None:
    proposal, network, closure = fields(3)
    left_out = [LeftOut(proposal + share * (network - proposal), proposal, network, closure, torch.ones(6, 6, 6))]
    trust = find_trust(left_out, REGION)
    assert trust.network == pytest.approx(share, abs=0.03)
    assert trust.closure == pytest.approx(0.0, abs=0.03)
    assert trust.after <= trust.before
    assert trust.expected == pytest.approx(1.0)


def test_closure_is_mixed_in_where_it_was_right() -> None:
    proposal, network, closure = fields(3)
    truth = network + 0.4 * (closure - network)
    trust = find_trust([LeftOut(truth, proposal, network, closure, torch.ones(6, 6, 6))], REGION)
    assert trust.closure == pytest.approx(0.4, abs=0.03)


def test_corrections_below_the_registrations_noise_change_nothing() -> None:
    proposal, network, closure = fields(3, size=0.05)
    truth = fields(4)[3] * 0.1
    trust = find_trust([LeftOut(truth, proposal, network, closure, torch.ones(6, 6, 6))], REGION)
    assert trust.network == pytest.approx(1.0, abs=0.05)
    assert trust.closure == pytest.approx(0.0, abs=0.05)


def test_shares_stay_within_their_limits_and_are_kept_only_where_they_help() -> None:
    proposal, network, closure = fields(3)
    beyond = proposal - 2 * (network - proposal)
    trust = find_trust([LeftOut(beyond, proposal, network, closure, torch.ones(6, 6, 6))], REGION)
    assert trust.network == 0.0
    assert trust.after < trust.before


def test_without_a_phase_left_out_or_a_lung_all_is_taken() -> None:
    proposal, network, closure = fields(3)
    one = LeftOut(closure, proposal, network, closure, torch.ones(6, 6, 6))
    assert find_trust([], REGION) == Trust()
    assert find_trust([one], ~REGION) == Trust()


def test_at_least_two_phases_are_kept() -> None:
    assert [splits(k) for k in (2, 3, 4, 7)] == [[], [2], [3, 2], [6, 5]]
