"""How many threads the numerical libraries take: processes that share a machine must not each take all of it."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

ITK_VARIABLE = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"
"""Read by ITK, elastix and SimpleITK when they are loaded."""


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Within this block torch, ITK and SimpleITK take at most `count` threads; afterwards as many as before.

    Sums of floats depend on how many threads share them: registrations are the same to the last bit only with the
    same number of threads.
    """
    import torch

    threads, variable = torch.get_num_threads(), os.environ.get(ITK_VARIABLE)
    loaded = [(take, give()) for take, give in _loaded()]
    torch.set_num_threads(count)
    os.environ[ITK_VARIABLE] = str(count)
    for take, _ in loaded:
        take(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if variable is None:
            del os.environ[ITK_VARIABLE]
        else:
            os.environ[ITK_VARIABLE] = variable
        for take, before in loaded:
            take(before)


def _loaded() -> Iterator[tuple[Any, Any]]:
    """Set and get the number of threads of the libraries that were loaded before and no longer look at the variable."""
    if (sitk := sys.modules.get("SimpleITK")) is not None:
        yield (
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads,
            sitk.ProcessObject.GetGlobalDefaultNumberOfThreads,
        )
    if (itk := sys.modules.get("itk")) is not None:
        base: Any = itk.MultiThreaderBase
        yield base.SetGlobalDefaultNumberOfThreads, base.GetGlobalDefaultNumberOfThreads
