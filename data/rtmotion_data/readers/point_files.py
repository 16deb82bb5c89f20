"""Text files of points: one `x y z` a line, as DIR-Lab and the POPI sets have them."""

from pathlib import Path

import torch

from rtmotion.errors import ReadError
from rtmotion.types import Points


def read_point_file(file: Path) -> tuple[Points, tuple[int, ...]]:
    """The numbers of a file of points as they stand there, float64, shape (n, 3), and the line of each, from 1.

    Empty lines and lines that begin with `#` (POPI's header `#X Y Z`) are passed over.

    Raises:
        ReadError: If a line does not hold three finite numbers, or there is none; the message names file and line.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    except OSError as error:
        raise ReadError(f"{file}: cannot be read ({error.strerror}): check its permissions") from None
    rows, at = [], []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            row = torch.tensor([float(word) for word in words], dtype=torch.float64)
        except ValueError:
            raise ReadError(f"{file}, line {number}: {_EXPECTED}, there is something else") from None
        if len(row) != 3 or not bool(row.isfinite().all()):
            count = f"there are {len(row)}" if len(row) != 3 else "one is not finite"
            raise ReadError(f"{file}, line {number}: {_EXPECTED}, {count}")
        rows.append(row)
        at.append(number)
    if not rows:
        raise ReadError(f"{file}: lines of three numbers x y z were expected, there is none; copy the file again")
    return torch.stack(rows), tuple(at)


_EXPECTED = "three numbers x y z were expected (separated by blanks, with decimal points)"


def same_count(points: dict[Path, Points]) -> None:
    """Checks that the files of one set have as many points each, since their rows belong together.

    Raises:
        ReadError: If they do not; the message names two of the files.
    """
    first, *others = points.items()
    for file, found in others:
        if len(found) != len(first[1]):
            raise ReadError(
                f"{file}: {len(found)} landmarks, {first[0].name} has {len(first[1])}: the rows of one set belong "
                "together; copy the files again"
            )
