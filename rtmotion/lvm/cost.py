"""What a forecast by a large vision model costs: tokens, operations, bytes, and the time that these take at least.

A decoder reads all its weights, and the cache of every sentence, for each token that it says; what is observed is read
at once. Attention is counted over the tokens that are there, not over the longest sentence.
"""

from dataclasses import dataclass

from rtmotion.lvm.checkpoint import PUBLISHED_VOCABULARY

HALF = 2
"""Bytes of a number in float16 or bfloat16."""


@dataclass(frozen=True)
class Speaker:
    """The size of a transformer.

    Attributes:
        hidden: Width.
        inner: Width of the perceptrons.
        layers: Number of layers.
        words: Size of the vocabulary.
    """

    hidden: int
    inner: int
    layers: int
    words: int = PUBLISHED_VOCABULARY

    @property
    def parameters(self) -> int:
        """Of a LLaMA with as many key and value heads as heads, embeddings not shared.

        >>> Speaker(4096, 11008, 32).parameters
        6544199680
        """
        layer = 4 * self.hidden**2 + 3 * self.hidden * self.inner + 2 * self.hidden
        return self.layers * layer + 2 * self.words * self.hidden + self.hidden

    @property
    def cache_bytes(self) -> int:
        """Of one token: a key and a value in every layer.

        >>> Speaker(4096, 11008, 32).cache_bytes
        524288
        """
        return 2 * self.layers * self.hidden * HALF


@dataclass(frozen=True)
class Task:
    """A patient.

    Attributes:
        slices: Sentences.
        observed: Frames that each of them has.
        predicted: Frames that follow.
        tokens: Of a frame.
        batch: Sentences that are continued together.
    """

    slices: int = 100
    observed: int = 5
    predicted: int = 5
    tokens: int = 256
    batch: int = 25


@dataclass(frozen=True)
class Cost:
    """What a task costs.

    Attributes:
        read: Tokens that are read.
        said: Tokens that are said.
        operations: Floating point operations, a multiplication and an addition counted as two.
        weight_bytes: Memory of the weights.
        cache_bytes: Memory of the cache of one batch at its fullest.
        moved_bytes: What has to be read from memory while tokens are said.
        steps: How often the weights are read, once a token for each batch.
    """

    read: int
    said: int
    operations: float
    weight_bytes: int
    cache_bytes: int
    moved_bytes: float
    steps: int

    def seconds(self, operations_per_second: float, bytes_per_second: float, devices: int = 1) -> float:
        """The least time on devices that share the slices: the slower of computing and reading memory."""
        return max(self.operations / operations_per_second, self.moved_bytes / bytes_per_second) / devices


def cost(speaker: Speaker, task: Task) -> Cost:
    """What it costs to forecast a patient.

    >>> found = cost(Speaker(4096, 11008, 32), Task())
    >>> found.read, found.said
    (128000, 128000)
    """
    before, after = task.observed * task.tokens, task.predicted * task.tokens
    # attention of a token over those before it: two products of `hidden` numbers in every layer
    reading = before * (2 * speaker.parameters + 2 * speaker.layers * speaker.hidden * before)
    mean_length = before + after / 2
    saying = after * (2 * speaker.parameters + 4 * speaker.layers * speaker.hidden * mean_length)
    batches = -(-task.slices // task.batch)
    weights = speaker.parameters * HALF
    steps = batches * after
    return Cost(
        read=task.slices * before,
        said=task.slices * after,
        operations=float(task.slices * (reading + saying)),
        weight_bytes=weights,
        cache_bytes=min(task.batch, task.slices) * (before + after) * speaker.cache_bytes,
        moved_bytes=float(steps * weights + task.slices * after * mean_length * speaker.cache_bytes),
        steps=steps,
    )
