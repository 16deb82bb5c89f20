import pytest
import torch
from torch import Tensor

from rtmotion.errors import GeometryError
from rtmotion.lvm.sentences import analogy_sentence, last_frames, sequence_sentence


def frame(first: int, sentences: int = 2, tokens: int = 3) -> Tensor:
    """Tokens that count on from `first`; those of the second sentence are a hundred more."""
    return torch.arange(first, first + tokens) + 100 * torch.arange(sentences)[:, None]


def test_a_sequence_is_its_frames_one_after_the_other() -> None:
    found = sequence_sentence([frame(0), frame(10), frame(20)])
    assert found.tolist() == [
        [0, 1, 2, 10, 11, 12, 20, 21, 22],
        [100, 101, 102, 110, 111, 112, 120, 121, 122],
    ]


def test_a_sequence_of_one_frame_is_that_frame() -> None:
    assert torch.equal(sequence_sentence([frame(4)]), frame(4))


def test_an_analogy_is_its_questions_each_with_its_answer_and_a_question() -> None:
    found = analogy_sentence([(frame(0), frame(10)), (frame(20), frame(30))], frame(40))
    assert found[0].tolist() == [0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32, 40, 41, 42]
    assert torch.equal(found[1], found[0] + 100)


def test_an_analogy_without_pairs_is_the_question() -> None:
    assert torch.equal(analogy_sentence([], frame(7)), frame(7))


def test_a_sequence_of_no_frames_is_refused() -> None:
    with pytest.raises(GeometryError, match="frames of one shape"):
        sequence_sentence([])


@pytest.mark.parametrize("other", [frame(0, tokens=4), frame(0, sentences=3)], ids=["longer", "of more sentences"])
def test_frames_of_different_shapes_are_refused(other: Tensor) -> None:
    with pytest.raises(GeometryError, match=r"\(2, 3\).*\(\d, \d\)"):
        sequence_sentence([frame(0), other])
    with pytest.raises(GeometryError, match="frames of one shape"):
        analogy_sentence([(frame(0), frame(3))], other)


@pytest.mark.parametrize(
    ("frames", "longest", "kept"),
    [
        (3, 12, 3),
        (4, 12, 3),
        (9, 12, 3),
        (2, 12, 2),
        (4, 14, 3),  # the room of a part of a frame is no room
        (5, 6, 1),
    ],
)
def test_the_last_frames_leave_room_for_one_more(frames: int, longest: int, kept: int) -> None:
    sentence = sequence_sentence([frame(10 * i) for i in range(frames)])
    found = last_frames(sentence, 3, longest)
    assert torch.equal(found, sequence_sentence([frame(10 * i) for i in range(frames - kept, frames)]))
    assert found.shape[1] + 3 <= longest


def test_a_transformer_that_has_no_room_for_two_frames_is_refused() -> None:
    with pytest.raises(GeometryError, match="of 5 tokens has no room for two frames of 3"):
        last_frames(frame(0), 3, 5)
