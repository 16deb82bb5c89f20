import pytest
import torch

from rtmotion.errors import PhaseError, UnknownNameError
from rtmotion.grid import Grid
from rtmotion.methods import find_method
from rtmotion.sequence import Phase, PhaseSequence, Volume
from rtmotion_baselines.methods import TRIVIAL
from rtmotion_baselines.trivial import PREDICTIONS, create

GRID = Grid((6, 5, 4), (2.0, 2.0, 3.0))


def counting(n: int) -> PhaseSequence:
    """n phases; all voxels of phase i are i (HU of soft tissue, so that the whole volume is body)."""
    return PhaseSequence(
        tuple(Phase(i / n) for i in range(n)),
        tuple(Volume(torch.full(GRID.shape, i, dtype=torch.int16), GRID) for i in range(n)),
    )


def predicted(name: str, sequence: PhaseSequence, k: int) -> list[float]:
    observed, truth = sequence.observe(k)
    forecast = create(name).forecast(observed, truth.phases)
    assert forecast.targets == truth.phases
    copied = {"persistence": observed.phases[-1], "first-phase": observed.phases[0]}.get(name)
    assert forecast.reference == copied
    # nothing moves where one phase is copied
    assert (forecast.displacements is None) == (copied is None)
    assert all(f.grid == GRID and not f.data.any() for f in forecast.displacements or ())
    assert all(v.grid == GRID and v.data.dtype == torch.float32 for v in forecast.volumes)
    assert all(float(v.data.std()) < 1e-6 for v in forecast.volumes)
    return [float(v.data[0, 0, 0]) for v in forecast.volumes]


@pytest.mark.parametrize("n", [6, 8, 10])
def test_copies_are_those_of_the_protocol(n: int) -> None:
    sequence = counting(n)
    for k in range(2, n):
        future = range(k, n)
        assert predicted("persistence", sequence, k) == [k - 1 for _ in future]
        assert predicted("first-phase", sequence, k) == [0 for _ in future]
        assert predicted("mean", sequence, k) == pytest.approx([(k - 1) / 2 for _ in future])
        # T60 = T40, and the last phase where the mirrored one is not observed
        assert predicted("mirror", sequence, k) == [n - j if n - j < k else k - 1 for j in future]
        # the first phase comes again at n: the nearer of two neighbours, the first at a tie
        assert predicted("cyclic-nearest", sequence, k) == [k - 1 if (n - j) / (n - k + 1) > 0.5 else 0 for j in future]


def test_labels_that_are_rounded_are_mirrored_too() -> None:
    phases = [Phase.of_percent(p) for p in (0, 17, 33, 50, 67, 83)]
    sequence = PhaseSequence(tuple(phases), counting(6).volumes)
    assert predicted("mirror", sequence, 4) == [2, 1]


def test_a_cycle_may_start_anywhere() -> None:
    phases = tuple(Phase.of_percent(p) for p in (20, 40, 60, 80))
    sequence = PhaseSequence(phases, counting(4).volumes)
    # T80 mirrors T20; from T80 it is 40 % to the first phase and 20 % from the last one
    assert predicted("mirror", sequence, 3) == [0]
    assert predicted("cyclic-nearest", sequence, 3) == [2]


def test_closest_observed_knows_the_answer() -> None:
    values = [0, 50, 100, 70, 20, -30]
    volumes = tuple(Volume(torch.full(GRID.shape, v, dtype=torch.int16), GRID) for v in values)
    sequence = PhaseSequence(counting(6).phases, volumes)
    observed, truth = sequence.observe(3)
    bound = create("closest-observed", truth=truth).forecast(observed, truth.phases)
    assert [float(v.data[0, 0, 0]) for v in bound.volumes] == [50, 0, 0]
    with pytest.raises(PhaseError, match="closest-observed needs the true phases"):
        create("closest-observed")


def test_closest_observed_is_judged_inside_the_body() -> None:
    tissue = torch.zeros(1, 8, 8)
    tissue[:, 0] = -1000  # a row of air outside
    grid = Grid((8, 8, 1))
    rows = []
    for body, air in ((0.0, -1000.0), (30.0, -980.0), (10.0, -600.0), (11.0, -1000.0)):
        phase = tissue.clone()
        phase[:, 1:], phase[:, 0] = body, air
        rows.append(Volume(phase, grid))
    sequence = PhaseSequence(tuple(Phase(i / 4) for i in range(4)), tuple(rows))
    observed, truth = sequence.observe(3)
    bound = create("closest-observed", truth=truth).forecast(observed, truth.phases)
    # over the whole volume the first phase would be nearest
    assert float(bound.volumes[0].data[0, 4, 4]) == 10.0


def test_every_card_makes_its_forecaster() -> None:
    sequence = counting(6)
    observed, truth = sequence.observe(3)
    for card in TRIVIAL:
        forecaster = find_method(card.name).create(truth=truth, device="cpu", seed=0)
        forecast = forecaster.forecast(observed, truth.phases)
        assert forecast.method == card.name
        assert len(forecast.volumes) == 3
        assert forecast.seconds
    assert {card.name for card in TRIVIAL if card.kind == "trivial"} == set(PREDICTIONS)


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown trivial baseline 'median'; known: closest-observed"):
        create("median")
