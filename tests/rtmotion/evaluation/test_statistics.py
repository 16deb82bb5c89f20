from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, wilcoxon

from rtmotion.errors import RtmotionError
from rtmotion.evaluation.statistics import holm, paired_bootstrap, paired_permutation

DIFFERENCES = [-4.1, -2.0, -3.3, 0.7, -1.2, -5.0, -0.4, -2.6]


def test_the_interval_of_many_patients_is_that_of_normal_theory() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, size=400)
    found = paired_bootstrap(values.tolist(), seed=5)
    half = norm.ppf(0.975) * values.std() / np.sqrt(values.size)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.05 * half)


def test_an_interval_depends_on_its_seed_alone() -> None:
    assert paired_bootstrap(DIFFERENCES, seed=2) == paired_bootstrap(DIFFERENCES, seed=2)
    narrow, wide = (paired_bootstrap(DIFFERENCES, level=level) for level in (50, 99))
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_equal_differences_have_an_interval_of_no_width() -> None:
    found = paired_bootstrap([2.0] * 6)
    assert (found.mean, found.low, found.high) == (2.0, 2.0, 2.0)


def test_p_is_the_share_of_sign_flips_that_are_as_extreme() -> None:
    values = np.array(DIFFERENCES)
    flips = np.array([np.mean(values * signs) for signs in product((1, -1), repeat=values.size)])
    expected = (np.abs(flips) >= abs(values.mean()) - 1e-12).mean()
    assert paired_permutation(DIFFERENCES) == pytest.approx(expected)
    assert paired_permutation([-d for d in DIFFERENCES]) == pytest.approx(expected)


def test_p_is_near_wilcoxons() -> None:
    ours, theirs = paired_permutation(DIFFERENCES), float(wilcoxon(DIFFERENCES).pvalue)
    assert ours == pytest.approx(theirs, abs=0.02)
    assert ours < 0.05


def test_many_patients_are_sampled() -> None:
    values = np.random.default_rng(0).normal(0.4, 1.0, size=40).tolist()
    assert paired_permutation(values, seed=1) == paired_permutation(values, seed=1)
    assert paired_permutation(values) == pytest.approx(float(wilcoxon(values).pvalue), abs=0.05)


def test_no_difference_is_no_evidence() -> None:
    assert paired_permutation([0.0] * 7) == 1.0
    assert paired_permutation([3.0]) == 1.0


def test_patients_are_needed() -> None:
    with pytest.raises(RtmotionError, match="at least two of them, got 1"):
        paired_bootstrap([1.0])
    with pytest.raises(RtmotionError, match="got none"):
        paired_permutation([])


def test_holm_of_a_known_example() -> None:
    # the example of R's p.adjust(c(.01, .02, .03, .04), "holm")
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12))
def test_holm_keeps_the_order_and_never_lowers(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1.0 for p, a in zip(p_values, adjusted, strict=True))
    assert min(adjusted) == pytest.approx(min(1.0, len(p_values) * min(p_values)))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()
