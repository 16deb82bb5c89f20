"""How much memory a piece of work takes at its peak, stage by stage."""

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
        stages_mb: The same while each stage ran, by the stage's name; see `enter`.
    """

    def __init__(self) -> None:
        self.before_mb = 0.0
        self.peak_mb = 0.0
        self.stages_mb: dict[str, float] = {}
        self._stage: str | None = None
        self._unnamed_mb = 0.0
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> "PeakMemory":
        self.before_mb = resident_mb()
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._look()

    def enter(self, stage: str) -> None:
        """Says which stage runs from here on; what came before the first one counts as the first."""
        if stage == self._stage:
            return
        self._look()
        with self._lock:
            if self._stage is None:
                self.stages_mb[stage] = self._unnamed_mb
            self._stage = stage
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(INTERVAL_SECONDS):
            self._look()

    def _look(self) -> None:
        now = resident_mb()
        with self._lock:
            self.peak_mb = max(self.peak_mb, now)
            if self._stage is None:
                self._unnamed_mb = max(self._unnamed_mb, now)
            else:
                self.stages_mb[self._stage] = max(self.stages_mb.get(self._stage, 0.0), now)


def resident_mb() -> float:
    """The resident memory of this process, MiB."""
    psutil: Any = import_module("psutil")  # comes with distributed
    return float(psutil.Process().memory_info().rss) / MEGABYTE
