"""Visual sentences: tokens of pictures one after the other, without marks between them.

As in Bai et al., arXiv 2312.00785: a sequence is the frames of a video, whose next frame is asked for; an analogy is
pairs of question and answer and then a question. Whole frames alone are cut off where a sentence grows too long.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from rtmotion.errors import GeometryError


def sequence_sentence(frames: Sequence[Tensor]) -> Tensor:
    """Frames, (n, tokens) each, of n videos as sentences (n, frames · tokens).

    Raises:
        GeometryError: Without frames, or where they differ in shape.
    """
    if not frames or len({tuple(f.shape) for f in frames}) != 1:
        raise GeometryError(f"frames of one shape were expected, got {[tuple(f.shape) for f in frames]}")
    return torch.cat(list(frames), dim=1)


def analogy_sentence(pairs: Sequence[tuple[Tensor, Tensor]], query: Tensor) -> Tensor:
    """Pairs of question and answer and a question, (n, tokens) each, as sentences.

    >>> ids = torch.arange(3)[:, None]
    >>> analogy_sentence([(ids, ids + 10)], ids + 5).tolist()
    [[0, 10, 5], [1, 11, 6], [2, 12, 7]]
    """
    return sequence_sentence([*(frame for pair in pairs for frame in pair), query])


def last_frames(sentence: Tensor, tokens: int, longest: int) -> Tensor:
    """The end of a sentence (n, frames · tokens) that leaves room for one more frame within `longest` tokens.

    Raises:
        GeometryError: If not even one frame and its successor have room.
    """
    most = longest // tokens - 1
    if most < 1:
        raise GeometryError(f"a transformer of {longest} tokens has no room for two frames of {tokens}")
    return sentence[:, -min(most * tokens, sentence.shape[1]) :]
