import pytest

from rtmotion.sequence import PhaseSequence
from tests.rtmotion.evaluation.tiny import breathing


@pytest.fixture(scope="session")
def sequence() -> PhaseSequence:
    """Ten phases of a chest of 24 × 20 × 16 voxels in which a tumour moves by 12 mm."""
    return breathing()
