"""Where a run writes: checked before the long work, so that nothing is computed in vain or overwritten by mistake."""

import os
from collections.abc import Iterable
from pathlib import Path

from rtmotion.errors import WriteError


def check_output(folder: Path, inputs: Iterable[Path] = ()) -> Path:
    """The folder, if a run may write into it; it is not made yet.

    Args:
        folder: Where the run would write.
        inputs: The files that the run reads: an output folder that holds one of them could overwrite it.

    Raises:
        WriteError: If the path is a file, cannot be written, or holds the input.
    """
    target = folder.absolute()
    existing = next(p for p in (target, *target.parents) if p.exists() or p.is_symlink())
    if not existing.is_dir():
        raise WriteError(f"--out {folder}: {existing} is a file, a folder was expected; choose another --out")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise WriteError(f"--out {folder}: {existing} cannot be written; choose another --out")
    resolved = target.resolve()
    inside = next((p for p in inputs if p.resolve().parent == resolved), None)
    if inside is not None:
        raise WriteError(f"--out {folder}: this folder holds the input ({inside.name}); choose another --out")
    return folder


def default_output(case: str, purpose: str) -> Path:
    """`<case>_<purpose>` in the current folder, of characters that every file system takes.

    >>> default_output("Lung <b>4D</b>", "forecast").as_posix()
    'Lung_b_4D_b_forecast'
    """
    return Path(f"{file_name(case)}_{purpose}")


def file_name(text: str) -> str:
    """The text as a file name: letters, digits, `-`, `.`, and `_` for runs of all else.

    >>> file_name("../Lung <b>4D</b>")
    'Lung_b_4D_b'
    """
    kept = "".join(c if c.isalnum() or c in "-." else " " for c in text)
    return "_".join(kept.split()).strip("._")[:80] or "case"


def remove_stale(folder: Path, former: Iterable[str], current: Iterable[str]) -> None:
    """Deletes the files that an earlier run into the same folder listed and the present one did not write.

    Args:
        folder: The output folder.
        former: File names that the earlier run listed.
        current: File names that the present run wrote.
    """
    for name in set(former) - set(current):
        if Path(name).name == name:
            (folder / name).unlink(missing_ok=True)
