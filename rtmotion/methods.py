"""The registry of forecasters: cards that list without importing torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from inspect import signature
from typing import TYPE_CHECKING, Any

from rtmotion.errors import UnknownNameError

if TYPE_CHECKING:
    from rtmotion.forecasting import Forecaster

ENTRY_POINT_GROUP = "rtmotion.forecasters"


@dataclass(frozen=True)
class Method:
    """The card of an installed forecaster; listing cards imports no heavy library.

    Attributes:
        name: What `--method` takes.
        kind: `predictor`, `trivial`, `dvf`, `generative` or `bound` (knows the answer; for comparison only).
        summary: One line: what it does.
        target: `module:callable`; the callable takes keyword options and returns a Forecaster.
        options: Options that this card fixes.
        weights: Weights file inside the package that it needs, relative to its package, or None.
    """

    name: str
    kind: str
    summary: str
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None

    def create(self, **options: Any) -> "Forecaster":
        """Builds the forecaster; options that it does not have are left out (a persistence has no seed)."""
        module, _, attribute = self.target.partition(":")
        factory: Callable[..., Forecaster] = getattr(import_module(module), attribute)
        known = signature(factory).parameters
        return factory(**{k: v for k, v in {**options, **self.options}.items() if k in known})


def available_forecasters() -> dict[str, Method]:
    """The cards of all installed forecasters by name, from the entry points `rtmotion.forecasters`.

    An entry point is a Method or a list of them, in a module that imports nothing heavy.
    """
    found: dict[str, Method] = {}
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name):
        loaded = point.load()
        for method in [loaded] if isinstance(loaded, Method) else loaded:
            found[method.name] = method
    return found


def find_method(name: str) -> Method:
    """The card of that name.

    Raises:
        UnknownNameError: If no such forecaster is installed; the message lists those that are.
    """
    methods = available_forecasters()
    if name not in methods:
        raise UnknownNameError("method", name, list(methods))
    return methods[name]


PREDICTORS = [
    Method(
        name="video",
        kind="predictor",
        summary="the video-model predictor (default); stands on the motion model until a network is trained",
        target="rtmotion.video.forecaster:create",
    ),
    Method(
        name="motion-model",
        kind="predictor",
        summary="SVF registration of the observed phases, waveform posterior and cyclic process in one mixture",
        target="rtmotion.cycle.forecaster:MotionModelForecaster",
    ),
    Method(
        name="motion-model-known-start",
        kind="predictor",
        summary="the motion model told that the first phase is end-inhale",
        target="rtmotion.cycle.forecaster:MotionModelForecaster",
        options={"start": "known"},
    ),
]
"""The core's own forecasters."""
