"""Every installed forecaster is held to the rule that only a bound may know the answer."""

from typing import Any

import pytest
import torch

from rtmotion.grid import Grid
from rtmotion.methods import available_forecasters
from rtmotion.sequence import PhaseSequence, Volume
from tests.rtmotion.evaluation.doubles import digest
from tests.rtmotion.evaluation.tiny import GRID, breathing

OBSERVE = 3
FINER = Grid((48, 40, 40), (2.0, 2.0, 2.0), (-47.0, -39.0, 10.0))


def representatives() -> list[Any]:
    """Every forecaster that can run here but the bounds; of those that share a registration engine the first one."""
    names: list[Any] = []
    engines: set[str] = set()
    for name, card in sorted(available_forecasters().items()):
        engine = card.options.get("engine")
        if card.kind == "bound" or not card.installed or (card.weights or "").startswith("$") or engine in engines:
            continue
        # elastix takes a minute on any volume
        slow = engine is not None and engine.startswith("elastix")
        names.append(pytest.param(name, marks=pytest.mark.slow) if slow else name)
        engines |= set() if engine is None else {engine}
    return names


def with_noise_after(sequence: PhaseSequence, observe: int) -> PhaseSequence:
    """The sequence with its later phases replaced by noise, and their landmarks and masks removed."""
    generator = torch.Generator().manual_seed(9)
    grid = sequence.grid
    noise = [torch.randint(-1000, 1000, grid.shape, generator=generator).to(torch.int16) for _ in sequence.phases]
    volumes = tuple(v if i < observe else Volume(noise[i], grid) for i, v in enumerate(sequence.volumes))
    observed = sequence.select(range(observe))
    return PhaseSequence(sequence.phases, volumes, observed.landmarks, observed.masks)


def test_every_engine_that_ships_is_held_to_it() -> None:
    engines = {available_forecasters()[getattr(p, "values", (p,))[0]].options.get("engine") for p in representatives()}
    assert {"svf", "demons", "elastix", "voxelmorph", "voxelmorph-optimised"} <= engines


@pytest.mark.parametrize("name", representatives())
def test_a_forecast_does_not_depend_on_the_future(name: str) -> None:
    digests = []
    # the pyramid of elastix needs more than a handful of voxels
    whole = breathing(grid=FINER if name.startswith("elastix") else GRID)
    for sequence in (whole, with_noise_after(whole, OBSERVE)):
        observed, truth = sequence.observe(OBSERVE)
        before = [v.data.clone() for v in observed.volumes]
        forecast = available_forecasters()[name].create(device="cpu", seed=3).forecast(observed, truth.phases[-2:])
        assert [p.label for p in forecast.targets] == ["T80", "T90"]
        # nor may a method change what the next one is given
        assert all(torch.equal(a, v.data) for a, v in zip(before, observed.volumes, strict=True))
        digests.append(digest(forecast))
    assert digests[0] == digests[1]
