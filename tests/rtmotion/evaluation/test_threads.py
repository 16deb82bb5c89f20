import os

import torch

from rtmotion.evaluation.threads import ITK_VARIABLE, limited_threads


def test_libraries_take_as_many_threads_as_they_may_and_then_as_many_as_before() -> None:
    import SimpleITK as sitk  # noqa: N813

    def state() -> tuple[int, str | None, int]:
        itk = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
        return torch.get_num_threads(), os.environ.get(ITK_VARIABLE), itk

    before = state()
    with limited_threads(3):
        assert state() == (3, "3", 3)
        with limited_threads(2):
            assert state() == (2, "2", 2)
        assert state() == (3, "3", 3)
    assert state() == before
