"""Two methods against each other over the same patients."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rtmotion.evaluation.statistics import FEWEST_CASES, holm, paired_bootstrap, paired_permutation

Key = tuple[str, int, str]
"""Case, k, method."""


def against_each(
    errors: Mapping[Key, float | None], methods: Sequence[str], others: Sequence[str], seed: int = 0
) -> list[dict[str, Any]]:
    """Every method against each of some others, at every k, over the cases that both have.

    Args:
        errors: The error of each case, k and method, None where it failed.
        methods: The methods that are compared.
        others: What they are compared with, such as the predictors.
        seed: Of the bootstrap and the permutations.

    Returns:
        One entry a k, `against` and `method`: `cases`, and over them the mean `difference` (method minus `against`, so
        that above 0 the method is worse), its 95 % `interval`, `p`, and `p_holm`, adjusted over the methods that are
        held against the same one at the same k. `interval` and both p are None with fewer than `FEWEST_CASES` cases.
    """
    observe = list(dict.fromkeys(k for _, k, _ in errors))
    return [entry for k in observe for other in others for entry in _against(errors, k, methods, other, seed)]


def _against(
    errors: Mapping[Key, float | None], observe: int, methods: Sequence[str], other: str, seed: int
) -> list[dict[str, Any]]:
    entries, tested = [], []
    for method in methods:
        differences = paired_differences(errors, observe, method, other)
        if method == other or not differences:
            continue
        entry: dict[str, Any] = {
            "observe": observe,
            "against": other,
            "method": method,
            "cases": len(differences),
            "difference": float(np.mean(differences)),
            "interval": None,
            "p": None,
            "p_holm": None,
        }
        entries.append(entry)
        if len(differences) >= FEWEST_CASES:
            interval = paired_bootstrap(differences, seed=seed)
            entry["interval"] = [interval.low, interval.high]
            entry["p"] = paired_permutation(differences, seed=seed)
            tested.append(entry)
    for entry, adjusted in zip(tested, holm([e["p"] for e in tested]), strict=True):
        entry["p_holm"] = adjusted
    return entries


def paired_differences(errors: Mapping[Key, float | None], observe: int, method: str, other: str) -> list[float]:
    """The error of one method minus that of another in every case that both have, in the order of the cases."""
    cases = list(dict.fromkeys(case for case, _, _ in errors))
    pairs = [(errors.get((case, observe, method)), errors.get((case, observe, other))) for case in cases]
    return [mine - theirs for mine, theirs in pairs if mine is not None and theirs is not None]
