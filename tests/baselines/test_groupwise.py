"""Groupwise elastix: all phases at once, against the truth and against pairs."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from rtmotion.errors import GeometryError
from rtmotion.field import DisplacementField
from rtmotion.registration import GroupwiseEngine, Registration, register_sequence, remembered_registrations
from rtmotion.sequence import PhaseSequence
from rtmotion_baselines.registration.elastix_groupwise import ElastixGroupwise
from rtmotion_baselines.registration.engines import create_engine
from tests.baselines.known_motion import GRID, mean_error, motion, sequence

MEAN_ERROR_MM = 0.8
"""A third of the mean voxel side: a short run on noise-like blobs."""

AGREEMENT_MM = 0.5
"""Both lie within their own error of the truth; the phases move by 2 to 4 mm on the mean."""

SHORT = ElastixGroupwise(iterations=100, resolutions=2, samples=500, grid_spacing=16.0, threads=1)
HEIGHTS = (0.0, 0.5, 1.0)


@pytest.mark.parametrize("metric", ["variance", "pca"])
def test_every_phase_finds_its_way_to_the_reference(metric: str) -> None:
    done: list[tuple[int, int]] = []
    engine = replace(SHORT, metric=metric)
    found = register_sequence(engine, sequence(HEIGHTS), 0, lambda i, n: done.append((i, n)))
    assert done == [(3, 3)]
    assert not found[0].displacement.data.any()
    assert found[0].seconds == 0
    for registration, height in zip(found, HEIGHTS, strict=True):
        truth = motion(height)
        assert mean_error(registration.displacement.data, truth) < MEAN_ERROR_MM
        assert registration.details.get("folding_percent", 0) == 0


def test_the_group_agrees_with_its_pairs() -> None:
    phases = sequence(HEIGHTS)
    together = register_sequence(SHORT, phases, 2)
    pairwise = create_engine("elastix", iterations=100, resolutions=2, samples=1000, grid_spacing=16.0, threads=1)
    one_by_one = register_sequence(pairwise, phases, 2)
    for a, b, height in zip(together, one_by_one, HEIGHTS, strict=True):
        assert mean_error(a.displacement.data, b.displacement.data) < AGREEMENT_MM * (height != HEIGHTS[2]) + 1e-6


def test_a_group_is_registered_once_where_it_is_remembered() -> None:
    calls: list[int] = []

    class Still(ElastixGroupwise):
        def register_group(
            self,
            sequence: PhaseSequence,
            reference: int = 0,
            masks: Sequence[torch.Tensor] | None = None,
            progress: Callable[[int, int], None] | None = None,
        ) -> tuple[Registration, ...]:
            calls.append(reference)
            return tuple(Registration(DisplacementField(torch.zeros(3, *GRID.shape), GRID)) for _ in sequence.phases)

    phases, engine = sequence(HEIGHTS), Still()
    masks = [torch.ones(GRID.shape, dtype=torch.bool)] * len(HEIGHTS)
    assert isinstance(engine, GroupwiseEngine)
    with remembered_registrations():
        first = register_sequence(engine, phases)
        again = register_sequence(engine, phases)
        assert all(a is b for a, b in zip(first, again, strict=True))
        assert calls == [0]
        # another reference, masks, and other phases are another registration
        register_sequence(engine, phases, 1)
        register_sequence(engine, phases, masks=masks)
        register_sequence(engine, phases.select([0, 1]))
        assert calls == [0, 1, 0, 0]
    register_sequence(engine, phases)
    assert len(calls) == 5


def test_there_is_one_mask_a_phase() -> None:
    with pytest.raises(GeometryError, match="2 masks for 3 phases"):
        register_sequence(SHORT, sequence(HEIGHTS), masks=[torch.ones(GRID.shape, dtype=torch.bool)] * 2)
