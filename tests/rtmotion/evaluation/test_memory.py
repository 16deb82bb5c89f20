import mmap
import time

from rtmotion.evaluation.memory import INTERVAL_SECONDS, PeakMemory, resident_mb

BLOCK_MB = 200


def test_memory_that_was_given_back_is_remembered() -> None:
    # a mapping of its own: an allocator may serve a block from memory that the process holds already
    with PeakMemory() as memory, mmap.mmap(-1, BLOCK_MB * 2**20) as block:
        block.write(b"\1" * len(block))
        time.sleep(10 * INTERVAL_SECONDS)  # long enough for the watch to look
    assert memory.peak_mb - memory.before_mb > 0.9 * BLOCK_MB
    assert resident_mb() < memory.peak_mb - 0.5 * BLOCK_MB


def test_each_stage_has_its_own_peak() -> None:
    with PeakMemory() as memory:
        memory.enter("small")
        time.sleep(3 * INTERVAL_SECONDS)
        memory.enter("large")
        with mmap.mmap(-1, BLOCK_MB * 2**20) as block:
            block.write(b"\1" * len(block))
            time.sleep(10 * INTERVAL_SECONDS)
        memory.enter("small again")
        time.sleep(3 * INTERVAL_SECONDS)
    assert list(memory.stages_mb) == ["small", "large", "small again"]
    assert memory.stages_mb["large"] == memory.peak_mb
    for stage in ("small", "small again"):
        assert memory.stages_mb["large"] - memory.stages_mb[stage] > 0.5 * BLOCK_MB
