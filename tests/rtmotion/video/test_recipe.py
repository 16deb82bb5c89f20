from dataclasses import replace

import pytest
import torch

from rtmotion.grid import Grid
from rtmotion.sequence import PhaseSequence
from rtmotion.video.examples import example_of, on_part, with_variations
from rtmotion.video.prepared import PreparedPatient, prepare_sequence
from rtmotion.video.recipe import VideoRecipe
from rtmotion.video.tokens import WORKING_SPACING_MM
from tests.rtmotion.video.test_network import SMALL

RECIPE = VideoRecipe(config=SMALL, crop=(10, 12), small_crop=(8, 10))


@pytest.fixture(scope="module")
def patient(breathing: PhaseSequence) -> PreparedPatient:
    return prepare_sequence(breathing, torch.ones(10, *breathing.grid.shape, dtype=torch.bool))


def test_a_patient_is_prepared_on_the_working_grid(patient: PreparedPatient, breathing: PhaseSequence) -> None:
    grid = breathing.grid.along_patient_axes(WORKING_SPACING_MM)
    assert grid.spacing == (WORKING_SPACING_MM,) * 3
    assert tuple(patient.truth.shape) == (10, 3, *grid.shape)
    assert float(patient.truth[0].abs().max()) == 0
    assert bool(patient.body.all())
    # where the truth is not known it is what was registered
    assert float(patient.truth[5].float().abs().max()) > 4


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 1, 0, 1, 0, 0, 0, 0, -1)])
def test_the_working_grid_covers_a_volume_of_any_direction(direction: tuple[float, ...]) -> None:
    grid = Grid((30, 21, 17), (3.0, 4.0, 5.0), (10.0, -20.0, 300.0), direction)
    found = grid.along_patient_axes(WORKING_SPACING_MM)
    corners = grid.index_to_world(torch.tensor([[-0.49, -0.49, -0.49], [29.49, 20.49, 16.49]]))
    assert bool(found.contains(corners).all())
    assert found.is_axis_aligned
    extent = torch.tensor(found.size) * WORKING_SPACING_MM - (corners[1] - corners[0]).abs()
    assert bool((extent < WORKING_SPACING_MM + 0.2).all())


def test_an_example_is_what_the_forecaster_would_know_and_the_truth(patient: PreparedPatient) -> None:
    example = example_of(patient, [0, 1, 2], [4, 9])
    assert torch.equal(example.truth, patient.truth[[4, 9]].float())
    assert example.scene.angles.tolist() == pytest.approx([0, 0.1, 0.2])
    assert example.scene.target_angles.tolist() == pytest.approx([0.4, 0.9])
    back = example_of(patient, [0, 1, 2], [4], backward=True)
    assert torch.equal(back.scene.velocities[1], patient.velocities[9].float())
    assert torch.equal(back.truth[0], patient.truth[6].float())


def test_a_given_waveform_leaves_less_doubt(patient: PreparedPatient) -> None:
    told = example_of(patient, [0, 1, 2], [5], traced=True)
    assert told.scene.doubts[0] < example_of(patient, [0, 1, 2], [5]).scene.doubts[0]


def test_mirrored_twice_is_the_same(patient: PreparedPatient) -> None:
    whole = (slice(None),) * 3
    mirrored = on_part(patient, *whole, mirrored=True)
    assert torch.equal(mirrored.truth[5, 0], -patient.truth[5, 0].flip(-1))
    again = on_part(mirrored, *whole, mirrored=True)
    assert all(torch.equal(v, vars(patient)[name]) for name, v in vars(again).items())


def test_an_untrained_network_errs_like_the_motion_model(patient: PreparedPatient) -> None:
    network = RECIPE.build()
    example = RECIPE.example(patient, torch.Generator().manual_seed(1))
    parts = RECIPE.loss(network, example)
    assert float(parts["error"].detach()) == pytest.approx(float(parts["base"]))
    scores = RECIPE.validate(network, patient)
    assert all(scores[f"error_{k}"] == pytest.approx(scores[f"base_{k}"]) for k in (3, 5, 7))


def test_a_few_steps_make_the_error_smaller(patient: PreparedPatient) -> None:
    torch.manual_seed(0)
    recipe = replace(RECIPE, varied=0.0)  # variations take the first phase for the still one
    network = recipe.build()
    # a truth that lies above all that was seen
    moved = patient.truth.clone()
    moved[:, 2] += 3.0
    aside = replace(patient, truth=moved)
    random = torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    errors = []
    for _ in range(25):
        parts = recipe.loss(network, recipe.example(aside, random))
        optimiser.zero_grad()
        parts["loss"].backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        errors.append(float(parts["error"].detach()))
    assert sum(errors[-5:]) < 0.6 * sum(errors[:5])


def test_variations_change_registered_and_true_motion_alike(patient: PreparedPatient) -> None:
    varied = with_variations(patient, torch.Generator().manual_seed(1))
    assert torch.equal(varied.velocities[0], torch.zeros_like(varied.velocities[0]))
    unchanged = (patient.truth - patient.velocities).float()
    differs = (varied.truth - varied.velocities).float()
    changed = (varied.velocities - patient.velocities).float()
    assert float(changed.abs().mean()) > 0.01 * float(patient.velocities.float().abs().mean())
    # what registration got wrong is mixed with the neighbouring phases' and stretched, no more
    assert float(differs.abs().mean()) < 1.5 * float(unchanged.abs().mean())
    assert 10 < float((varied.images - patient.images).float().abs().mean()) < 120
    assert torch.equal(varied.body, patient.body)
    assert torch.equal(varied.fractions, patient.fractions)


def test_the_same_seed_gives_the_same_examples(patient: PreparedPatient) -> None:
    one, other = (RECIPE.example(patient, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one.scene.proposals, other.scene.proposals)
    assert torch.equal(one.truth, other.truth)
