"""How much memory a piece of work takes at its peak."""

import threading
from importlib import import_module
from types import TracebackType
from typing import Any

INTERVAL_SECONDS = 0.02
MEGABYTE = 2.0**20


class PeakMemory:
    """Watches the resident memory of this process while its block runs.

    It counts all that the process holds, what it held before included (`before_mb` tells how much that was).

    Attributes:
        before_mb: Resident memory when the block began, MiB.
        peak_mb: The largest resident memory seen in the block, MiB; a peak shorter than 20 ms may be missed.
    """

    def __init__(self) -> None:
        self.before_mb = 0.0
        self.peak_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> "PeakMemory":
        self.before_mb = self.peak_mb = resident_mb()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.peak_mb = max(self.peak_mb, resident_mb())

    def _watch(self) -> None:
        while not self._done.wait(INTERVAL_SECONDS):
            self.peak_mb = max(self.peak_mb, resident_mb())


def resident_mb() -> float:
    """The resident memory of this process, MiB."""
    psutil: Any = import_module("psutil")  # comes with distributed
    return float(psutil.Process().memory_info().rss) / MEGABYTE
