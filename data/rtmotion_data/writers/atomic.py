"""Writing so that nobody ever sees half a file: write beside, then rename."""

import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rtmotion.errors import WriteError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`, with its ending, that is renamed to it when the block ends well.

    Args:
        path: The file wanted; an existing one is replaced, a missing folder is made.

    Yields:
        The name to write to. After any exception, Ctrl-C included, nothing is left of it.

    Raises:
        WriteError: If the system refuses (no permission, no space, the folder is a file).
    """
    beside = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise refused(path, error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def together(folder: Path, last: str = "") -> Iterator[Path]:
    """A temporary folder inside `folder`, whose content moves there together when the block ends well.

    A folder in it moves as a whole, and replaces an empty folder only.

    Args:
        folder: Where the files belong; made where it is missing, and taken away again if nothing comes of it.
        last: The file that moves last: where it is, the others are complete.

    Yields:
        The folder to write to. After any exception, Ctrl-C included, nothing is left of it.

    Raises:
        WriteError: If the system refuses (no permission, no space, the folder is a file).
    """
    staging = folder / f".{secrets.token_hex(4)}-incomplete"
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
        yield staging
        for file in sorted(staging.iterdir(), key=lambda f: (f.name == last, f.name)):
            os.replace(file, folder / file.name)
    except WriteError as error:
        raise WriteError(str(error).replace(str(staging), str(folder))) from error
    except OSError as error:
        raise refused(folder, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if is_new:
            with suppress(OSError):
                folder.rmdir()  # succeeds only where it is empty


def refused(path: Path, error: Exception) -> WriteError:
    """What to tell the user when the system refuses to write."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return WriteError(
        f"{path}: cannot be written ({reason}): check permissions and free space, or choose another folder"
    )


def write_text(path: Path, text: str) -> None:
    """Writes a text file, UTF-8, line ends as they are.

    Raises:
        WriteError: If the system refuses.
    """
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8", newline="")


def write_json(path: Path, value: Any) -> None:
    """Writes a JSON file; see `plain` for what may be in it.

    Raises:
        WriteError: If the system refuses.
    """
    write_text(path, json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses as objects, arrays as lists, NaN and infinities as null, paths as text.

    >>> plain({"value": float("nan"), "size": (1, 2)})
    {'value': None, 'size': [1, 2]}
    """
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, np.generic):
        return plain(value.item())
    if hasattr(value, "tolist"):  # arrays and tensors
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    return str(value)
