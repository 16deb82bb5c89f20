"""What a report is made of: small, and stored without the volumes, so that the page can be built again."""

import json
import math
import os
import secrets
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmotion.errors import ReadError, WriteError

SCHEMA = "rtmotion.report/1"
FILE = "report_data.npz"
PAGE = "report.html"


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything that the page of one forecast shows.

    Attributes:
        facts: JSON-compatible: phases, views, plots, metrics, parameters, warnings.
        sprites: View name to its slices, each a JPEG with one tile an image (see `facts["tiles"]`).
        overlays: `displacement` int8 (phases, 3, s, p, l), `uncertainty` uint8 (phases, s, p, l), `body` uint8
            (s, p, l); those that the forecast has.
    """

    facts: Mapping[str, Any]
    sprites: Mapping[str, tuple[bytes, ...]]
    overlays: Mapping[str, npt.NDArray[Any]]


def save_report_data(path: Path, data: ReportData) -> Path:
    """Writes one `report_data.npz`, beside and then renamed; it needs no pickle.

    Args:
        path: The file, or the folder that gets `report_data.npz`.
        data: What is written.

    Returns:
        The file.

    Raises:
        WriteError: If the system refuses.
    """
    file = path / FILE if path.is_dir() else path
    text = json.dumps({"schema": SCHEMA, **data.facts}, allow_nan=False).encode()
    arrays: dict[str, Any] = {"facts": np.frombuffer(text, dtype=np.uint8)}
    for view, images in data.sprites.items():
        arrays[f"sprites/{view}/bytes"] = np.frombuffer(b"".join(images), dtype=np.uint8)
        arrays[f"sprites/{view}/lengths"] = np.asarray([len(i) for i in images], dtype=np.int64)
    arrays |= {f"overlays/{name}": values for name, values in data.overlays.items()}
    beside = file.with_name(f".{secrets.token_hex(4)}-{file.name}")
    try:
        with beside.open("wb") as stream:
            np.savez_compressed(stream, **arrays)
        os.replace(beside, file)
    except OSError as error:
        raise WriteError(
            f"{file}: cannot be written ({error.strerror}): check permissions and free space, or choose another folder"
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return file


def load_report_data(path: Path) -> ReportData:
    """Reads what `save_report_data` wrote.

    Args:
        path: The file, or the folder of the run.

    Raises:
        ReadError: If it is not there or is something else.
    """
    file = path / FILE if path.is_dir() else path
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        facts = json.loads(arrays["facts"].tobytes())
        if facts.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        sprites = {}
        for name in (n for n in arrays if n.startswith("sprites/") and n.endswith("/bytes")):
            view = name.split("/")[1]
            blob, ends = arrays[name].tobytes(), np.cumsum(arrays[f"sprites/{view}/lengths"])
            sprites[view] = tuple(blob[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True))
        overlays = {n.removeprefix("overlays/"): a for n, a in arrays.items() if n.startswith("overlays/")}
    except FileNotFoundError as error:
        raise ReadError(f"{file}: not there; run rtmotion forecast into this folder again") from error
    except Exception as error:  # whatever zip, numpy and json make of a broken file
        raise ReadError(
            f"{file}: expected what rtmotion forecast wrote for its report ({SCHEMA}), this cannot be read; "
            "run rtmotion forecast again"
        ) from error
    return ReportData(facts, sprites, overlays)


def plain(value: Any) -> Any:
    """The value with nothing but what JSON knows; numbers that are not finite become None, the unknown text."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (bool, str, int)) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, np.generic):
        return plain(value.item())
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(v) for v in value]
    return str(value)


def plain_rows(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Metric rows (dataclasses or mappings) as mappings with nothing but what JSON knows."""
    return [plain(asdict(r) if is_dataclass(r) and not isinstance(r, type) else dict(r)) for r in rows]


def page_path(path: Path) -> Path:
    """The page that a path means: itself where it ends in `.html`, else `report.html` in that folder."""
    return path if path.suffix == ".html" else path / PAGE


def write_text(path: Path, text: str) -> Path:
    """Writes a page beside `path` and renames it.

    Raises:
        WriteError: If the system refuses.
    """
    beside = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise WriteError(
            f"{path}: cannot be written ({error.strerror}): check permissions and free space, or choose another folder"
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return path
