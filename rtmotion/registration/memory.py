"""Registrations that several methods need are made once: a memory for the length of a `with` block.

A comparison runs many temporal models over the same observed phases; each would register them again.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor

from rtmotion.registration.engine import Registration, RegistrationEngine
from rtmotion.sequence import Volume

LIMIT_BYTES = 1 << 30
"""The oldest registrations are forgotten beyond this size of their fields."""

_memory: ContextVar["OrderedDict[Any, Registration] | None"] = ContextVar("registrations", default=None)


@contextmanager
def remembered_registrations() -> Iterator[None]:
    """Within this block, the same registration (engine, voxels, grids, start) is made once and then looked up.

    A looked-up registration keeps the seconds that making it took.
    """
    token = _memory.set(OrderedDict())
    try:
        yield
    finally:
        _memory.reset(token)


def recall(
    engine: RegistrationEngine, fixed: Volume, moving: Volume, start: Tensor | None, make: Callable[[], Registration]
) -> Registration:
    """The remembered registration, or the one that `make` makes; outside of the block always the latter."""
    memory = _memory.get()
    if memory is None:
        return make()
    key = (
        engine,
        fixed.grid,
        moving.grid,
        _digest(fixed.data),
        _digest(moving.data),
        start if start is None else _digest(start),
    )
    if key not in memory:
        memory[key] = make()
        while len(memory) > 1 and sum(_size(r) for r in memory.values()) > LIMIT_BYTES:
            memory.popitem(last=False)
    return memory[key]


def _digest(data: Tensor) -> bytes:
    return hashlib.blake2b(data.detach().cpu().contiguous().numpy().tobytes(), digest_size=16).digest()


def _size(registration: Registration) -> int:
    return registration.displacement.data.nbytes
