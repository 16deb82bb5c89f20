import numpy as np

from rtmotion.evaluation.memory import PeakMemory, resident_mb

BLOCK_MB = 200


def test_memory_that_was_given_back_is_remembered() -> None:
    with PeakMemory() as memory:
        block = np.ones(BLOCK_MB * 2**20, dtype=np.uint8)
        for _ in range(20):  # long enough for the watch to look
            block.sum()
        del block
    assert memory.peak_mb - memory.before_mb > 0.9 * BLOCK_MB
    assert resident_mb() < memory.peak_mb - 0.5 * BLOCK_MB
