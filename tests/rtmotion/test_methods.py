"""The registry: cards of every installed forecaster, listed without heavy imports."""

import subprocess
import sys
from dataclasses import replace

import pytest

from rtmotion import methods
from rtmotion.errors import MissingExtraError, UnknownNameError
from rtmotion.methods import Method, Requirement, available_forecasters, find_method

KINDS = {"predictor", "trivial", "dvf", "generative", "bound"}


def test_cards_are_complete() -> None:
    cards = available_forecasters()
    assert {"video", "motion-model", "persistence", "mirror"} <= set(cards)
    for name, card in cards.items():
        assert card.name == name
        assert card.kind in KINDS
        assert card.summary.strip()
        assert "\n" not in card.summary
        assert ":" in card.target


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown method 'magic'; known: .*persistence.*video"):
        find_method("magic")


def test_a_method_whose_package_is_missing_is_listed_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    requirement = Requirement("no_such_module", "rtmotion[magic]")
    card = Method("magic+linear", "dvf", "magic", "fractions:Fraction", requires=requirement)
    monkeypatch.setattr(methods, "available_forecasters", lambda: {"magic+linear": card})
    assert not card.installed
    with pytest.raises(MissingExtraError, match=r"magic\+linear needs .*: pip install 'rtmotion\[magic\]'$"):
        find_method("magic+linear")
    # and it is not among the known ones
    with pytest.raises(UnknownNameError, match="known: none"):
        find_method("svf+linear")


def test_create_passes_only_options_that_the_method_has() -> None:
    card = Method("pair", "trivial", "a pair", "fractions:Fraction", {"denominator": 4})
    made: object = card.create(numerator=3, seed=7)
    assert str(made) == "3/4"


def test_options_of_the_card_win() -> None:
    card = Method("pair", "trivial", "a pair", "fractions:Fraction", {"denominator": 4})
    made: object = card.create(numerator=3, denominator=5)
    assert str(made) == "3/4"
    other: object = replace(card, options={}).create(numerator=3, denominator=5)
    assert str(other) == "3/5"


def test_every_forecaster_that_is_listed_can_be_built() -> None:
    for name in ("persistence", "mirror", "mean", "first-phase", "cyclic-nearest"):
        forecaster = find_method(name).create(device="cpu", seed=0)
        assert forecaster.name == name


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from rtmotion.methods import available_forecasters; assert available_forecasters(); "
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
