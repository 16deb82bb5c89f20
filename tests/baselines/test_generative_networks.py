"""The networks of the generative baselines against what is known of them."""

import numpy as np
import pytest
import torch

from rtmotion_baselines.generative.adversarial import CODE, Adversarial, changed, clock
from rtmotion_baselines.generative.clip import CHANGE_UNIT
from rtmotion_baselines.generative.convlstm import ConvLstm
from rtmotion_baselines.generative.diffusion import Diffusion, FlowMatching
from rtmotion_baselines.generative.fields import flowed, last_velocities, mean_distance
from rtmotion_baselines.generative.simvp import SimVp
from tests.baselines.generative_toys import Knowing, random_clip, random_example, random_scene


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_ddim_ends_at_the_answer_that_the_network_points_to(steps: int) -> None:
    clip, network = random_clip(targets=1), Diffusion()
    answer = torch.randn(1, *clip.last.shape, generator=drawn(3))
    network.unet = Knowing(answer, "velocity")
    found = network.sample(clip, drawn(0), steps=steps)
    assert torch.allclose(found / CHANGE_UNIT, answer, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 4])
def test_the_flow_ends_at_the_answer_that_the_network_points_to(steps: int) -> None:
    clip, network = random_clip(targets=1), FlowMatching()
    answer = torch.randn(1, *clip.last.shape, generator=drawn(3))
    network.unet = Knowing(answer, "direction")
    found = network.sample(clip, drawn(0), steps=steps)
    assert torch.allclose(found / CHANGE_UNIT, answer, atol=1e-4)


def test_the_diffusion_is_taught_what_leads_to_the_change() -> None:
    """The loss of a network that knows the answer is nothing."""
    example, network = random_example(targets=1), Diffusion()
    network.unet = Knowing(example.change / CHANGE_UNIT, "velocity")
    assert float(network(example)["loss"]) < 1e-6
    flow = FlowMatching()
    flow.unet = Knowing(example.change / CHANGE_UNIT, "direction")
    assert float(flow(example)["loss"]) < 1e-6


def test_networks_that_have_learned_nothing_say_that_nothing_changes() -> None:
    clip, scene = random_clip(), random_scene()
    with torch.no_grad():
        assert bool((SimVp().sample(clip) == 0).all())
        assert torch.equal(ConvLstm().sample(scene), last_velocities(scene))
        adversarial = Adversarial()
        silent = torch.zeros(CODE)
        ways = adversarial.ways(clock(scene), scene)
        assert torch.equal(changed(ways, silent, scene), last_velocities(scene))


@pytest.mark.parametrize("network", [Diffusion, FlowMatching])
def test_the_same_seed_draws_the_same_image_and_another_draws_another(network: type[Diffusion]) -> None:
    torch.manual_seed(0)
    built, clip = network(), random_clip()
    with torch.inference_mode():
        first, again, other = (built.sample(clip, drawn(s), steps=2) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_the_code_changes_the_field_of_the_adversarial_network() -> None:
    torch.manual_seed(0)
    network, scene = Adversarial(), random_scene()
    with torch.inference_mode():
        first, again, other = (network.sample(scene, drawn(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_the_best_of_many_codes_comes_near_a_truth_that_lies_in_their_way() -> None:
    """Along one way, with the fields' own velocities as truth, sixteen draws leave less than one."""
    torch.manual_seed(0)
    network, scene = Adversarial(), random_scene()
    ways = network.ways(clock(scene), scene).detach()
    wanted = torch.tensor([1.0, -0.5, 0.3, 0.8])
    truth, weight = flowed(changed(ways, wanted, scene)), torch.ones(2, 10, 12, 9)
    still = float(mean_distance(last_velocities(scene), truth, weight))
    best = np.mean([float(network(scene, truth, weight, seed)["error"].detach()) for seed in range(4)])
    single = np.mean([float(mean_distance(network.sample(scene, drawn(s)), truth, weight).detach()) for s in range(8)])
    assert best < 0.7 * single
    assert best < still


def test_the_discriminator_learns_from_its_own_loss_and_the_generator_from_deceiving_it() -> None:
    torch.manual_seed(0)
    network, scene = Adversarial(), random_scene()
    truth, weight = torch.randn(2, 3, 10, 12, 9), torch.ones(2, 10, 12, 9)
    judges = set(network.discriminator.parameters())
    for part, learns in (("judge", True), ("deceive", False)):
        network.zero_grad()
        network(scene, truth, weight, 7)[part].backward()
        moved = {p for p in network.parameters() if p.grad is not None and bool((p.grad != 0).any())}
        assert moved
        assert moved <= judges if learns else not moved & judges


def test_a_trace_changes_what_the_recurrent_network_says() -> None:
    torch.manual_seed(0)
    network = ConvLstm()
    torch.nn.init.normal_(network.out.weight)
    told = random_scene(amplitude=True)
    assert told.amplitude is not None
    deeper = told._replace(amplitude=told.amplitude * [1, 1, 1, 2, 2])
    unit = told._replace(amplitude=3 + 5 * told.amplitude)
    with torch.inference_mode():
        found, untold, other, same = (network.sample(s) for s in (told, random_scene(), deeper, unit))
    assert not torch.allclose(found, untold)
    assert not torch.allclose(found, other)
    assert torch.allclose(found, same, atol=1e-4)  # any unit and offset


def test_the_recurrent_network_never_sees_the_future() -> None:
    """A later target changes nothing of an earlier one."""
    torch.manual_seed(0)
    network = ConvLstm()
    torch.nn.init.normal_(network.out.weight)
    with torch.inference_mode():
        two, four = network.sample(random_scene(targets=2)), network.sample(random_scene(targets=4))
    assert torch.allclose(two, four[:2], atol=1e-5)


def test_the_field_error_is_the_mean_length_of_what_is_off() -> None:
    velocity = torch.zeros(2, 3, 8, 8, 8)
    truth = torch.zeros(2, 3, 8, 8, 8)
    truth[0, 0], truth[0, 2] = 3.0, 4.0
    weight = torch.ones(2, 8, 8, 8)
    assert float(mean_distance(velocity, truth, weight)) == pytest.approx(2.5 + 0.05, abs=1e-2)
    assert float(mean_distance(truth, truth, weight)) == pytest.approx(0.1, abs=1e-3)
    assert torch.allclose(flowed(truth), truth, atol=1e-4)  # a constant flow is its own displacement
