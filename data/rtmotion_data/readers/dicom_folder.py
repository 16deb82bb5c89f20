"""All DICOM headers below a folder, read in parallel."""

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rtmotion.errors import ReadError
from rtmotion_data.readers.dicom_headers import Slice, read_slices

Progress = Callable[[int, int], None]
"""Called with what is done and what there is to do."""

THREADS = min(4, os.cpu_count() or 1)

T = TypeVar("T")


@dataclass(frozen=True)
class Headers:
    """The headers of all DICOM files below a folder.

    Attributes:
        slices: One a slice; objects other than images once a file.
        unreadable: DICOM files and folders that could not be read, and why.
        other_files: Number of files that are not DICOM.
    """

    slices: tuple[Slice, ...]
    unreadable: tuple[tuple[Path, str], ...]
    other_files: int


def walk(root: Path) -> tuple[list[Path], list[tuple[Path, str]]]:
    """All files below a folder in a stable order, and the folders that could not be listed.

    Links to folders are followed once; files and folders whose name begins with a dot are left out.
    """
    files: list[Path] = []
    refused: list[tuple[Path, str]] = []

    def note(error: OSError) -> None:
        refused.append((Path(error.filename or root), error.strerror or str(error)))

    seen: set[str] = set()
    for folder, subfolders, names in os.walk(root, onerror=note, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(s for s in subfolders if not s.startswith("."))
        files += [Path(folder, n) for n in sorted(names) if not n.startswith(".")]
    return files, refused


def read_all(files: Sequence[Path], read: Callable[[Path], T], progress: Progress | None = None) -> list[T]:
    """Applies a function to files in parallel, in order, with pydicom's warnings about odd values kept quiet."""
    results: list[T] = []
    # the filters are set here, before the threads start: they are shared by all threads
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with ThreadPoolExecutor(THREADS) as pool:
            for result in pool.map(read, files):
                results.append(result)
                if progress is not None:
                    progress(len(results), len(files))
    return results


def read_headers(root: Path | Sequence[Path], progress: Progress | None = None) -> Headers:
    """Reads the headers of all DICOM files at a path, or at several, at any depth.

    Raises:
        ReadError: If a path does not exist or cannot be listed.
    """
    files: list[Path] = []
    refused: list[tuple[Path, str]] = []
    for path in [root] if isinstance(root, Path) else root:
        if not path.exists():
            raise ReadError(f"{path} does not exist: check the path")
        below, closed = ([path], []) if path.is_file() else walk(path)
        files += below
        refused += closed
    files = list(dict.fromkeys(files))
    if not files and refused:
        raise ReadError(f"{refused[0][0]} cannot be opened ({refused[0][1]}): check its permissions")
    slices: list[Slice] = []
    other = 0
    for path, result in zip(files, read_all(files, read_slices, progress), strict=True):
        if isinstance(result, str):
            refused.append((path, result))
        elif result is None:
            other += 1
        else:
            slices += result
    return Headers(tuple(slices), tuple(refused), other)
