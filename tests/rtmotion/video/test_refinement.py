from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import as_file, files

import numpy as np
import pytest
import torch

from rtmotion.cycle.forecaster import FieldForecaster, MotionModelForecaster
from rtmotion.forecasting import Forecast
from rtmotion.methods import find_method
from rtmotion.sequence import PhaseSequence
from rtmotion.video.network import VideoNetwork
from rtmotion.video.refinement import WEIGHTS, NetworkRefinement, mixed_sd, network_with
from rtmotion.video.tokens import Correction, Scene
from rtmotion.weights import sha256
from tests.rtmotion.video.test_network import SMALL, awake


def forecaster(network: VideoNetwork | None, *, adapt: bool = False) -> FieldForecaster:
    return replace(MotionModelForecaster(samples=50), refinement=NetworkRefinement(adapt=adapt, network=network))


@pytest.fixture(scope="module")
def plain(breathing: PhaseSequence) -> Forecast:
    observed, truth = breathing.observe(4)
    return MotionModelForecaster(samples=50).forecast(observed, truth.phases)


@pytest.mark.parametrize("adapt", [False, True])
def test_the_zero_output_is_the_motion_models_forecast(breathing: PhaseSequence, plain: Forecast, adapt: bool) -> None:
    observed, truth = breathing.observe(4)
    found = forecaster(VideoNetwork(SMALL), adapt=adapt).forecast(observed, truth.phases)
    assert found.displacements is not None
    assert plain.displacements is not None
    for a, b in zip(found.displacements, plain.displacements, strict=True):
        assert torch.equal(a.data, b.data)
    assert all(torch.equal(a.hu, b.hu) for a, b in zip(found.volumes, plain.volumes, strict=True))
    assert found.details["trust"]["phases"] == (3 if adapt else 0)
    assert found.details["trust"]["after"] <= found.details["trust"]["before"]
    assert found.details["trust"]["network"] == (0.5 if adapt else 1.0)  # nothing to be told


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_spread_is_that_of_samples_of_the_network_and_the_motion_model(share: float) -> None:
    random = np.random.default_rng(0)
    network = random.random(200_000) < share
    samples = np.where(network, random.normal(5.0, 2.0, 200_000), random.normal(1.0, 3.0, 200_000))
    said = mixed_sd(share, torch.tensor(2.0), torch.tensor(3.0), torch.tensor(4.0))
    assert float(said) == pytest.approx(samples.std(), rel=0.01)


class Shifting(VideoNetwork):
    """Says that every phase was registered so far off, mm."""

    def __init__(self, sources: bool) -> None:
        super().__init__(SMALL)
        self.sources = sources

    def forward(self, scene: Scene, settled: Sequence[int] = ()) -> list[Correction]:
        targets, shape = len(scene.proposals), scene.images.shape[1:]
        shift = torch.tensor([2.0, 0.0, 0.0])[:, None, None, None].expand(3, *shape)
        counts = [*range(len(scene.images), len(scene.images) + targets), *(len(scene.images) for _ in settled)]
        shifts = [shift] * targets + [shift * float(self.sources)] * len(settled)
        return [Correction(torch.zeros(n, *shape), s, torch.zeros(shape)) for n, s in zip(counts, shifts, strict=True)]


def test_the_image_is_taken_from_phases_that_are_corrected_too(breathing: PhaseSequence, plain: Forecast) -> None:
    """An error that all registrations share moves the displacements and leaves the image where it is."""
    observed, truth = breathing.observe(4)
    both, alone = (forecaster(Shifting(sources)).forecast(observed, truth.phases) for sources in (True, False))
    moved = [
        float((a.data - b.data)[0].mean())
        for a, b in zip(both.displacements or (), plain.displacements or (), strict=True)
    ]
    assert moved == pytest.approx([2.0] * len(moved), abs=0.2)
    # towards the end of the cycle the image comes from the reference as well, which nothing corrects
    still, off = (float((f.volumes[0].hu - plain.volumes[0].hu).abs().mean()) for f in (both, alone))
    assert still < 0.25 * off


def test_targets_may_come_in_any_order(breathing: PhaseSequence) -> None:
    observed, truth = breathing.observe(4)
    model = forecaster(awake())
    one = model.forecast(observed, truth.phases)
    other = model.forecast(observed, truth.phases[::-1])
    assert one.uncertainty is not None
    assert other.uncertainty is not None
    assert all(torch.equal(a.hu, b.hu) for a, b in zip(one.volumes, other.volumes[::-1], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(one.uncertainty, other.uncertainty[::-1], strict=True))


def test_the_default_forecaster_adapts_and_can_be_told_not_to(breathing: PhaseSequence) -> None:
    observed, truth = breathing.observe(3)
    method = find_method("video")
    adapted, plain = (
        method.create(device="cpu", samples=50, adapt=adapt).forecast(observed, truth.phases) for adapt in (True, False)
    )
    assert adapted.method == "video"
    assert (adapted.details["trust"]["phases"], plain.details["trust"]["phases"]) == (1, 0)
    assert adapted.uncertainty is not None
    assert all(bool((u > 0).all()) for u in adapted.uncertainty)
    folds = [float((f.jacobian_determinant() <= 0).float().mean()) for f in adapted.displacements or ()]
    assert max(folds) == 0


def test_the_shipped_network_changes_the_forecast_and_repeats_it(breathing: PhaseSequence) -> None:
    observed, truth = breathing.observe(4)
    one, other = (find_method("video").create(device="cpu", samples=50, adapt=False) for _ in range(2))
    first, second = one.forecast(observed, truth.phases), other.forecast(observed, truth.phases)
    assert all(torch.equal(a.hu, b.hu) for a, b in zip(first.volumes, second.volumes, strict=True))
    untouched = MotionModelForecaster(samples=50).forecast(observed, truth.phases)
    differences = [
        float((a.data - b.data).abs().max())
        for a, b in zip(first.displacements or (), untouched.displacements or (), strict=True)
    ]
    assert np.min(differences) > 0


def test_the_model_card_is_that_of_the_shipped_weights() -> None:
    with as_file(files("rtmotion.video").joinpath(WEIGHTS)) as weights:
        card = weights.with_suffix(".md").read_text(encoding="utf-8")
        assert f"`{sha256(weights)}`" in card
        assert weights.stat().st_size < 16e6
    assert f"{sum(p.numel() for p in network_with().parameters()):,} parameters" in card
