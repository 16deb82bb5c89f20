"""The exceptions that rtmotion raises for input it cannot work with."""


class RtmotionError(Exception):
    """Something about the input is wrong: the message says what, where, and what to do.

    The command line prints the message in one line and ends with exit code 2.
    """


class ReadError(RtmotionError):
    """A file or folder cannot be read as what it was given for."""


class GeometryError(RtmotionError):
    """Volumes, grids or fields do not fit together."""


class PhaseError(RtmotionError):
    """The phases of a sequence are missing, double, too few or cannot be told apart."""


class WriteError(RtmotionError):
    """A result cannot be written."""


class UnknownNameError(RtmotionError):
    """A method, engine, metric or phase of that name does not exist; the message lists those that do."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        super().__init__(f"unknown {kind} {name!r}; known: {', '.join(sorted(known)) or 'none'}")


class MissingExtraError(RtmotionError):
    """An optional package is not installed; the message gives the pip line."""


class ReadWarning(UserWarning):
    """Something about the voxels that a reader saw only while reading them, and what it did about it."""
