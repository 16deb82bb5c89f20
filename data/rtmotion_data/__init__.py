"""What crosses the disk: readers, writers, the phantom, breathing traces."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtmotion_data.inspection import inspect as inspect
    from rtmotion_data.inspection import read as read

# torch takes a second to import: names are loaded when they are first used
_HOMES = {"inspect": "rtmotion_data.inspection", "read": "rtmotion_data.inspection"}

__all__ = ["inspect", "read"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rtmotion_data' has no attribute {name!r}")
