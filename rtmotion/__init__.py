"""rtmotion forecasts respiratory motion for radiotherapy from the first phases of a 4D CT. Research use only."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtmotion.field import DisplacementField as DisplacementField
    from rtmotion.forecasting import Forecast as Forecast
    from rtmotion.forecasting import Forecaster as Forecaster
    from rtmotion.grid import Grid as Grid
    from rtmotion.methods import available_forecasters as available_forecasters
    from rtmotion.methods import find_method as find_method
    from rtmotion.sequence import BreathingTrace as BreathingTrace
    from rtmotion.sequence import Phase as Phase
    from rtmotion.sequence import PhaseSequence as PhaseSequence
    from rtmotion.sequence import Volume as Volume

__version__ = "0.1.0"

# torch takes a second to import: names are loaded when they are first used
_HOMES = {
    "BreathingTrace": "rtmotion.sequence",
    "DisplacementField": "rtmotion.field",
    "Forecast": "rtmotion.forecasting",
    "Forecaster": "rtmotion.forecasting",
    "Grid": "rtmotion.grid",
    "Phase": "rtmotion.sequence",
    "PhaseSequence": "rtmotion.sequence",
    "Volume": "rtmotion.sequence",
    "available_forecasters": "rtmotion.methods",
    "find_method": "rtmotion.methods",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'rtmotion' has no attribute {name!r}")
