"""What all tests share: one thread a worker, the real data, hypothesis without a clock."""

import os
from pathlib import Path

# before anything imports torch or ITK: the suite runs one worker a core, each with one thread
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parents[1]

# a busy machine must not make a test fail, and a failure must come back on the next run
settings.register_profile("rtmotion", deadline=None, derandomize=True)
settings.load_profile("rtmotion")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the repository."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real 4D CT: `RTMOTION_TEST_DATA`, else `shared/data` beside the repository."""
    folder = Path(os.environ.get("RTMOTION_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: let RTMOTION_TEST_DATA name its folder")
    return folder
