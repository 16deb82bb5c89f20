"""The patients that examples are drawn from: a window that moves along an endless stream."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import torch

from rtmotion.training.recipe import Recipe


class Pool:
    """The last patients of a stream; each example comes from one of them at random.

    Attributes:
        made: How many patients of the stream have been made, those before the window included.
    """

    def __init__(
        self,
        recipe: Recipe[Any, Any, Any],
        stream: Callable[[int], Iterator[Any]],
        size: int,
        steps_each: int,
        drawn: int = 0,
    ) -> None:
        """Starts, or goes on: the window is made again as it was after `drawn` examples.

        Args:
            recipe: What is kept of a patient, and how an example is drawn from it.
            stream: The patients from a number on, endless.
            size: How many patients the window holds.
            steps_each: After so many examples the next patient comes in.
            drawn: How many examples were drawn before.
        """
        made = math.ceil(drawn / steps_each)
        self._recipe = recipe
        self._stream = stream(max(0, made - size))
        self._steps_each = steps_each
        self._drawn = drawn
        self._kept: deque[Any] = deque(maxlen=size)
        for _ in range(min(made, size)):
            self._take()
        self.made = made

    def draw(self, random: torch.Generator) -> Any:
        """An example; a new patient is made first when it is time."""
        if self._drawn % self._steps_each == 0:
            self._take()
            self.made += 1
        self._drawn += 1
        place = int(torch.randint(0, len(self._kept), (), generator=random))
        return self._recipe.example(self._kept[place], random)

    def _take(self) -> None:
        self._kept.append(self._recipe.keep(next(self._stream)))
