"""Single values out of a pydicom dataset, quickly, and without stumbling over malformed ones."""

import math
from collections.abc import Callable, MutableSequence
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")

PIXEL_DATA = b"\xe0\x7f\x10\x00"


@cache
def tag_of(keyword: str) -> Any:
    """The tag of a DICOM keyword, as pydicom has tags."""
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return Tag(tag)


def get(dataset: Any, keyword: str, convert: Callable[[Any], T]) -> T | None:
    """A value converted, or None where it is missing, empty or malformed."""
    if dataset is None:
        return None
    try:
        value = dataset.get(keyword)
        return None if value is None or value == "" else convert(value)
    except Exception:
        return None


def text(dataset: Any, keyword: str) -> str:
    """A text as stored, several values joined by backslashes; empty where there is none."""
    # pydicom's conversion of every value takes most of the time of a header: plain ASCII needs none
    element = None if dataset is None else dataset.get_item(tag_of(keyword))
    raw = getattr(element, "value", None)
    if type(raw) is bytes and raw.isascii():
        return raw.decode("ascii").strip("\0 ")
    value = get(dataset, keyword, lambda v: v)
    if value is None:
        return ""
    return "\\".join(str(v) for v in value) if isinstance(value, MutableSequence) else str(value).strip("\0 ")


def words(dataset: Any, keyword: str) -> tuple[str, ...]:
    """Texts as stored; empty where there are none."""
    joined = text(dataset, keyword)
    return tuple(w.strip() for w in joined.split("\\")) if joined else ()


def decimals(dataset: Any, keyword: str) -> tuple[float, ...] | None:
    """Numbers stored as text (DS, IS), or None where they are missing or malformed."""
    try:
        values = tuple(float(w) for w in words(dataset, keyword))
    except ValueError:
        return None
    return values if values and all(math.isfinite(v) for v in values) else None


def integer(dataset: Any, keyword: str) -> int | None:
    """The first of the numbers stored as text (IS), or None."""
    values = decimals(dataset, keyword)
    return None if values is None else int(values[0])


def binary(dataset: Any, keyword: str) -> int | None:
    """A number stored as two bytes (US, SS read as US)."""
    element = dataset.get_item(tag_of(keyword))
    raw = getattr(element, "value", None)
    if type(raw) is bytes and len(raw) == 2:
        return int.from_bytes(raw, "little" if element.is_little_endian else "big")
    return get(dataset, keyword, int)


def item(*datasets: Any, sequence: str) -> Any:
    """The first item of a functional group, from the frame's own groups or the shared ones."""
    for dataset in datasets:
        items = get(dataset, sequence, list)
        if items:
            return items[0]
    return None


def decimals_of(value: Any) -> tuple[float, ...]:
    """Several numbers as pydicom gives them."""
    return tuple(float(v) for v in value)


def pixel_start(end: bytes, at: int, implicit: bool, little: bool, expected: int) -> int | None:
    """Where the uncompressed pixels of a file begin, or None where that cannot be told.

    Args:
        end: The first 12 bytes behind the header, where pixel data are expected.
        at: The offset of these bytes in the file.
        implicit: The value representation is not written in the file.
        little: Little-endian byte order.
        expected: Number of bytes of the pixels.
    """
    if not little or end[:4] != PIXEL_DATA:
        return None
    head = 8 if implicit else 12
    length = int.from_bytes(end[head - 4 : head], "little")
    return at + head if expected <= length <= expected + 1 else None
