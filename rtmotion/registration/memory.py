"""Registrations that several methods need are made once: a memory for the length of a `with` block.

A comparison runs many temporal models over the same observed phases; each would register them again.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import Tensor

from rtmotion.registration.engine import Registration, RegistrationEngine
from rtmotion.sequence import Volume

LIMIT_BYTES = 1 << 30
"""The oldest registrations are forgotten beyond this size of their fields."""

_memory: ContextVar["OrderedDict[Any, tuple[Registration, ...]] | None"] = ContextVar("registrations", default=None)


@contextmanager
def remembered_registrations() -> Iterator[None]:
    """Within this block, the same registration (engine, voxels, grids, mask, start) is made once and then looked up.

    A looked-up registration keeps the seconds that making it took.
    """
    token = _memory.set(OrderedDict())
    try:
        yield
    finally:
        _memory.reset(token)


def recall(
    engine: RegistrationEngine,
    volumes: Sequence[Volume],
    others: Sequence[Tensor | int | None],
    make: Callable[[], tuple[Registration, ...]],
) -> tuple[Registration, ...]:
    """The remembered registrations, or those that `make` makes; outside of the block always the latter.

    Args:
        engine: Makes them; engines that are equal make equal registrations.
        volumes: Those that are registered, in their order.
        others: All else that the registrations depend on: masks, a start, the index of a reference.
        make: Makes them.
    """
    memory = _memory.get()
    if memory is None:
        return make()
    key = (
        engine,
        *((volume.grid, _digest(volume.data)) for volume in volumes),
        *(_digest(other) if isinstance(other, Tensor) else other for other in others),
    )
    if key not in memory:
        memory[key] = make()
        while len(memory) > 1 and sum(map(_size, memory.values())) > LIMIT_BYTES:
            memory.popitem(last=False)
    return memory[key]


def _digest(data: Tensor) -> bytes:
    return hashlib.blake2b(data.detach().cpu().contiguous().numpy().tobytes(), digest_size=16).digest()


def _size(registrations: tuple[Registration, ...]) -> int:
    return sum(r.displacement.data.nbytes for r in registrations)
