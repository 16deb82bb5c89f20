"""The examples of the documentation do what they say."""

import doctest
from pathlib import Path

import pytest

PAGES = ["docs/concepts/geometry.md", "docs/concepts/landmarks.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_hold(page: str, repository: Path) -> None:
    failed, attempted = doctest.testfile(str(repository / page), module_relative=False, encoding="utf-8")
    assert attempted > 5
    assert failed == 0
