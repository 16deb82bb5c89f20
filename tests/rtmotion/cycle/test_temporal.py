import numpy as np
import pytest

from rtmotion.cycle.temporal import CLIP, TEMPORAL_MODELS, Situation, temporal_model
from rtmotion.cycle.waveforms import at_fractions, shipped_prior
from rtmotion.errors import UnknownNameError

PHASES = np.arange(10) / 10


def situation(fields: np.ndarray, k: int) -> Situation:
    gram = fields @ fields.T
    return Situation(gram[:k, :k], PHASES[:k], PHASES[k:], fields[:k, 0])


@pytest.mark.parametrize("name", list(TEMPORAL_MODELS))
@pytest.mark.parametrize("k", [2, 5, 9])
def test_every_model_gives_finite_weights_for_every_target(name: str, k: int) -> None:
    fields = np.random.default_rng(k).standard_normal((10, 6))
    fields = fields - fields[0]
    found = temporal_model(name).combine(situation(fields, k))
    assert found.mean.shape == (10 - k, k)
    assert np.isfinite(found.mean).all()
    assert np.isfinite(found.variance_form()).all()
    assert np.linalg.eigvalsh(found.variance_form()).min() > -1e-9
    assert found.probability.sum() == pytest.approx(1.0)


def test_linear_extrapolates_and_is_clipped() -> None:
    fields = np.outer(np.arange(10.0), [1.0, 2.0])
    weights = temporal_model("linear").combine(situation(fields, 5)).mean
    np.testing.assert_allclose(weights[:4] @ fields[:5], fields[5:9], atol=1e-9)
    # the observed range is 4 steps: the fifth step ahead stays at the fourth
    np.testing.assert_allclose(weights[4] @ fields[:5], fields[8], atol=1e-9)


def test_closure_reaches_the_first_phase_a_cycle_later() -> None:
    fields = np.random.default_rng(0).standard_normal((10, 4))
    weights = temporal_model("closure").combine(situation(fields, 4)).mean
    np.testing.assert_allclose(weights[-1] @ fields[:4], fields[3] / 7 + fields[0] * 6 / 7)


def test_harmonic_follows_a_sine() -> None:
    fields = np.stack([np.cos(2 * np.pi * PHASES), np.sin(2 * np.pi * PHASES)], axis=1)
    for k in (6, 8):  # from six phases on the observed range is that of the sine
        weights = temporal_model("harmonic").combine(situation(fields, k)).mean
        np.testing.assert_allclose(weights @ fields[:k], fields[k:], atol=1e-9)


@pytest.mark.parametrize("name", ["linear", "harmonic", "pca-ar"])
@pytest.mark.parametrize("k", range(2, 10))
def test_no_extrapolation_leaves_the_observed_range(name: str, k: int) -> None:
    growing = np.exp(0.9 * np.arange(10))[:, None] * np.random.default_rng(k).standard_normal((10, 5))
    weights = temporal_model(name).combine(situation(growing, k)).mean
    observed = growing[:k]
    widest = max(np.linalg.norm(a - b) for a in observed for b in observed)
    beyond = np.linalg.norm(weights @ observed - observed[-1], axis=1)
    assert beyond.max() <= CLIP * widest * (1 + 1e-9)


def test_harmonic_is_not_carried_away_by_noise() -> None:
    generator = np.random.default_rng(0)
    wave = np.cos(2 * np.pi * PHASES)[:, None] * np.ones(4)
    for k in range(5, 10):
        noisy = [wave + generator.normal(0, 0.05, wave.shape) for _ in range(50)]
        off = [temporal_model("harmonic").combine(situation(f, k)).mean @ f[:k] - wave[k:] for f in noisy]
        # less than persistence loses, which stays up to 2 away; two harmonics on five phases lose 1.3
        assert np.sqrt(np.mean([(o**2).mean() for o in off])) < 0.2


def test_the_mixture_beats_what_it_is_made_of_on_breathing_that_it_has_not_seen() -> None:
    """Real cycles with a second mode that lags; mean over sessions, each left out of its own prior.

    `amplitude-rate` is not among them: a second mode that is exactly the first one's rate is its own assumption.
    """
    from dataclasses import replace

    prior = shipped_prior()
    generator = np.random.default_rng(0)
    errors: dict[str, list[float]] = {name: [] for name in TEMPORAL_MODELS}
    for session in sorted(set(prior.recording)):
        cycles = prior.cycles[prior.recording == session]
        for cycle in cycles[generator.permutation(len(cycles))[:5]]:
            start = generator.random()
            first = at_fractions(cycle[None], PHASES, start)[0]
            second = 0.3 * at_fractions(cycle[None], PHASES, start - 0.1)[0]
            fields = np.stack([first, second, *generator.normal(0, 0.03, (4, 10))], axis=1)
            fields = fields - fields[0]
            s = situation(fields, 5)
            for name in TEMPORAL_MODELS:
                model = temporal_model(name)
                if hasattr(model, "prior"):
                    model = replace(model, prior=prior.without(session))  # type: ignore[type-var]
                off = model.combine(s).mean @ fields[:5] - fields[5:]
                errors[name].append(float(np.sqrt((off**2).sum(axis=1)).mean()))
    means = {name: np.mean(e) for name, e in errors.items()}
    simpler = ("closure", "cyclic-gp", "posterior", "posterior-known-start", "pca-ar", "linear", "persistence")
    for name in simpler:
        assert means["mixture"] < means[name], means


def test_an_unknown_model_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="cyclic-gp"):
        temporal_model("fourier")


def test_the_cards_of_the_baselines_name_every_temporal_model() -> None:
    from rtmotion_baselines.methods import TEMPORAL

    assert {*TEMPORAL, "mixture"} == set(TEMPORAL_MODELS)
