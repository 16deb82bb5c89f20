"""The generative baselines as forecasters: on a small generated patient, with weights made here or shipped."""

import math
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest
import torch

from rtmotion import find_method
from rtmotion.errors import ReadError, RtmotionError
from rtmotion.evaluation.protocol import evaluate
from rtmotion.grid import Grid
from rtmotion.methods import available_forecasters
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion.weights import save_weights, sha256
from rtmotion_baselines.generative.shipped import network_with
from rtmotion_data.phantom import Phantom, PhantomConfig, make_phantom

NAMES = ("convlstm", "adversarial", "simvp", "diffusion", "flow-matching")
IMAGES = ("simvp", "diffusion", "flow-matching")
DRAWN = ("adversarial", "diffusion", "flow-matching")
QUICK: dict[str, dict[str, Any]] = {
    "adversarial": {"samples": 3},
    "diffusion": {"samples": 2, "steps": 2},
    "flow-matching": {"samples": 2, "steps": 2},
}


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(31, PhantomConfig(size=(28, 24, 20), spacing=(10.0, 10.0, 10.0), phases=5))


def network_of(name: str) -> str:
    return str(available_forecasters()[name].options["network"])


@pytest.mark.parametrize("name", NAMES)
def test_a_forecast_is_whole_and_scored_by_the_protocol(name: str, phantom: Phantom) -> None:
    observed, truth = phantom.sequence.observe(3)
    forecast = find_method(name).create(seed=1, **QUICK.get(name, {})).forecast(observed, truth.phases)
    assert forecast.method == name
    assert [v.grid for v in forecast.volumes] == [observed.grid] * 2
    assert all(bool(torch.isfinite(v.data).all()) for v in forecast.volumes)
    metrics = {row.metric for row in evaluate(forecast, truth, observed)}
    assert {"mae", "edge_error", "sharpness", "jitter"} <= metrics
    assert (forecast.displacements is None) == (name in IMAGES)
    assert ("diversity" in metrics and "coverage_hu_80" in metrics) == (name in ("diffusion", "flow-matching"))
    assert ("coverage_80" in metrics) == (name == "adversarial")


@pytest.mark.parametrize("name", DRAWN)
def test_the_seed_decides_what_is_drawn(name: str, phantom: Phantom) -> None:
    observed, truth = phantom.sequence.observe(4)

    def forecast(seed: int) -> torch.Tensor:
        made = find_method(name).create(seed=seed, **QUICK[name]).forecast(observed, truth.phases[:1])
        return made.volumes[0].hu

    assert torch.equal(forecast(0), forecast(0))
    assert not torch.equal(forecast(0), forecast(1))


@pytest.mark.parametrize("name", NAMES)
def test_targets_may_come_in_any_order(name: str, phantom: Phantom) -> None:
    observed, truth = phantom.sequence.observe(3)
    made = find_method(name).create(**QUICK.get(name, {}))
    forth = made.forecast(observed, truth.phases)
    back = made.forecast(observed, truth.phases[::-1])
    for one, other in zip(forth.volumes, back.volumes[::-1], strict=True):
        assert torch.allclose(one.hu, other.hu, atol=1e-2)


@pytest.mark.parametrize("name", IMAGES)
def test_untrained_networks_keep_the_last_phase_on_any_grid(name: str, tmp_path: Path) -> None:
    """Oblique, anisotropic, two slices, one observed phase: what the network leaves alone is as it was scanned."""
    turn = math.cos(0.3), math.sin(0.3)
    grid = Grid((21, 34, 2), (1.3, 2.7, 6.0), (5.0, -9.0, 2.0), (turn[0], -turn[1], 0, turn[1], turn[0], 0, 0, 0, 1))
    network = network_with(name, network_of(name)).state_dict()
    still = {key: torch.zeros_like(value) for key, value in network.items()}
    path = tmp_path / "still.safetensors"
    save_weights(still, path, {})
    scan = Volume(torch.randint(-1000, 400, grid.shape, generator=torch.Generator().manual_seed(0)), grid)
    observed = PhaseSequence((Phase(0.0),), (scan,))
    options = {**QUICK.get(name, {}), "samples": 1}
    forecast = find_method(name).create(weights=path, **options).forecast(observed, [Phase(0.5)])
    if name == "simvp":
        assert torch.allclose(forecast.volumes[0].hu, scan.hu, atol=1e-3)
    assert forecast.volumes[0].data.shape == grid.shape
    assert forecast.hu_spread is None


def test_a_recorded_trace_changes_what_the_recurrent_network_forecasts(phantom: Phantom) -> None:
    observed, truth = phantom.sequence.observe(3)
    made = find_method("convlstm").create()
    told, untold = (made.forecast(observed, truth.phases, trace) for trace in (phantom.trace, None))
    assert told.details["trace"]
    assert not torch.allclose(told.volumes[0].hu, untold.volumes[0].hu)
    assert told.waveform is None  # the network is not asked for one


def test_large_volumes_are_answered_in_tiles_without_seams(phantom: Phantom) -> None:
    observed, truth = phantom.sequence.observe(4)
    made = find_method("simvp")
    whole = made.create().forecast(observed, truth.phases[:1]).volumes[0].hu
    parts = made.create(tile=20).forecast(observed, truth.phases[:1]).volumes[0].hu
    off = parts - whole
    change = whole - observed.volumes[-1].hu
    assert float(off.abs().mean()) < 0.1 * float(change.abs().mean()) + 0.5
    # no jump between neighbours that the whole answer does not have: in voxels of 9 mm a seam would be one plane
    for axis in (1, 2):
        steps = off.diff(dim=axis).abs().mean(dim=[a for a in (0, 1, 2) if a != axis])
        assert float(steps.max()) < 6 * float(steps.mean()) + 0.5


@pytest.mark.parametrize("name", NAMES)
def test_the_model_card_is_that_of_the_shipped_weights(name: str) -> None:
    with as_file(files("rtmotion_baselines.generative").joinpath("weights")) as folder:
        weights, card = folder / f"{name}.safetensors", (folder / f"{name}.md").read_text(encoding="utf-8")
        assert f"`{sha256(weights)}`" in card
        assert f"{weights.stat().st_size:,} bytes" in card
        assert weights.stat().st_size < 16e6
    parameters = sum(p.numel() for p in network_with(name, network_of(name)).parameters())
    assert f"{parameters:,} parameters" in card


def test_bad_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RtmotionError, match="simvp is not drawn step by step"):
        find_method("simvp").create(steps=3)
    for steps in (0, 1001):
        with pytest.raises(RtmotionError, match="must be from 1 to 1000"):
            find_method("diffusion").create(steps=steps)
    for name in ("diffusion", "adversarial"):
        with pytest.raises(RtmotionError, match="at least 1"):
            find_method(name).create(samples=0)
    other = tmp_path / "other.safetensors"
    save_weights({"a": torch.zeros(1)}, other, {})
    for name in NAMES:
        with pytest.raises(ReadError, match="weights are of another network"):
            find_method(name).create(weights=other)
