import numpy as np
import pytest
import torch
from torch import nn

from rtmotion.video.network import SMALLEST, VideoConfig, VideoNetwork, cut, padded
from rtmotion.video.tokens import Scene, box, corrected, moved_image, token_facts, token_fields

SMALL = VideoConfig(channels=(8, 8, 8), heads=2, fine=4)


def scene(shape: tuple[int, int, int], observed: int = 3, targets: int = 2, seed: int = 0) -> Scene:
    random = torch.Generator().manual_seed(seed)
    images = -600 + 200 * torch.randn(observed, *shape, generator=random)
    velocities, proposals = (torch.randn(n, 3, *shape, generator=random) for n in (observed, targets))
    places = np.arange(observed + targets) / 10
    return Scene(images, velocities, places[:observed], 0, proposals, places[observed:], np.full(targets, 0.3))


def awake(config: VideoConfig = SMALL, seed: int = 0) -> VideoNetwork:
    """A network whose last layers are not zero."""
    torch.manual_seed(seed)
    network = VideoNetwork(config).eval().requires_grad_(False)
    nn.init.normal_(network.last.weight, std=0.1)
    network.share_gain.fill_(0.7)
    return network


@pytest.mark.parametrize("observed", [2, 5, 9])
@pytest.mark.parametrize("shape", [(24, 24, 24), (9, 31, 26)])
def test_an_untrained_network_adds_nothing_whatever_it_is_shown(shape: tuple[int, int, int], observed: int) -> None:
    seen = scene(shape, observed)
    corrections = VideoNetwork(SMALL)(seen)
    assert [tuple(c.weights.shape) for c in corrections] == [(observed, *shape), (observed + 1, *shape)]
    for velocity, proposal in zip(corrected(seen, corrections), seen.proposals, strict=True):
        assert torch.equal(velocity, proposal)


def test_each_prediction_is_a_phase_before_the_next() -> None:
    network, seen = awake(), scene((24, 24, 24))
    changed = seen._replace(proposals=torch.stack([seen.proposals[0] + 1, seen.proposals[1]]))
    first, second = network(seen), network(changed)
    assert not torch.equal(first[1].residual, second[1].residual)
    later = seen._replace(proposals=torch.stack([seen.proposals[0], seen.proposals[1] + 1]))
    assert torch.equal(network(later)[0].residual, first[0].residual)


def test_observed_phases_are_corrected_by_what_is_observed_alone() -> None:
    network, seen = awake(), scene((24, 24, 24), observed=3, targets=2)
    *_, first, last = network(seen, [1, 2])
    changed = seen._replace(proposals=seen.proposals + 1)
    assert torch.equal(network(changed, [2, 1])[-1].residual, first.residual)
    assert tuple(last.weights.shape) == (3, 24, 24, 24)
    assert not torch.equal(first.residual, last.residual)
    assert all(torch.equal(a.residual, b.residual) for a, b in zip(network(seen), network(seen, [1]), strict=False))
    assert float(VideoNetwork(SMALL)(seen, [1])[-1].residual.detach().abs().max()) == 0.0


def test_the_order_in_which_phases_are_listed_does_not_matter() -> None:
    network, seen = awake(), scene((24, 24, 24), targets=1)
    order = [2, 0, 1]
    turned = seen._replace(
        images=seen.images[order], velocities=seen.velocities[order], angles=seen.angles[order], reference=1
    )
    one, other = network(seen)[0], network(turned)[0]
    assert torch.allclose(one.residual, other.residual, atol=1e-5)
    assert torch.allclose(one.weights[order], other.weights, atol=1e-5)


def test_the_field_of_view_does_not_change_what_is_predicted_in_its_middle() -> None:
    """Nothing is normalised over the volume, so a chest need not be cut into tiles: there is no seam to show."""
    network, whole = awake(), scene((24, 24, 168), observed=2, targets=1)
    part = whole._replace(
        images=whole.images[..., 16:], velocities=whole.velocities[..., 16:], proposals=whole.proposals[..., 16:]
    )
    one, other = network(whole)[0].residual[..., 16:], network(part)[0].residual
    assert torch.allclose(one[..., 80:], other[..., 80:], atol=1e-5)
    assert not torch.allclose(one[..., :2], other[..., :2], atol=1e-3)


def test_the_same_input_gives_the_same_answer() -> None:
    network, seen = awake(), scene((25, 24, 24))
    assert all(torch.equal(a, b) for a, b in zip(network(seen)[1], network(seen)[1], strict=True))


def test_padding_continues_the_border_and_is_cut_off_again() -> None:
    x = torch.arange(2 * 9 * 25 * 33, dtype=torch.float32).reshape(2, 9, 25, 33)
    wide = padded(x)
    assert tuple(wide.shape) == (2, SMALLEST, 32, 40)
    assert torch.equal(cut(wide, x.shape[1:]), x)
    assert torch.equal(wide[:, 9:, :25, :33], x[:, -1:].expand(2, SMALLEST - 9, 25, 33))


def test_facts_go_round_the_cycle() -> None:
    at = token_facts(0.0, observed=True, target=False)
    assert torch.allclose(at, token_facts(1.0, observed=True, target=False), atol=1e-5)
    assert not torch.allclose(at, token_facts(0.5, observed=True, target=False), atol=0.1)


def test_a_phase_that_was_not_observed_looks_like_the_reference_moved() -> None:
    still = -700 + 100 * torch.randn(12, 12, 12, generator=torch.Generator().manual_seed(0))
    velocity = torch.zeros(3, 12, 12, 12)
    assert torch.allclose(moved_image(still, velocity, box(still.shape)), still, atol=1e-2)
    velocity[2] = 8.0  # one voxel up in the reference
    moved = moved_image(still, velocity, box(still.shape))
    assert torch.allclose(moved[1:-2], still[2:-1], atol=1e-2)


def test_motion_is_told_from_the_reference_or_since_the_last_phase() -> None:
    still, velocity = torch.zeros(2, 2, 2), torch.full((3, 2, 2, 2), 6.0)
    assert torch.allclose(token_fields(still, velocity)[2:], torch.tensor(0.6))
    assert torch.allclose(token_fields(still, velocity, velocity / 3)[2:], torch.tensor(1.0))
