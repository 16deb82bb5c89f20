"""The registry of forecasters: cards that list without importing torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from inspect import signature
from sys import modules
from typing import TYPE_CHECKING, Any

from rtmotion.errors import MissingExtraError, UnknownNameError

if TYPE_CHECKING:
    from rtmotion.forecasting import Forecaster

ENTRY_POINT_GROUP = "rtmotion.forecasters"


@dataclass(frozen=True)
class Requirement:
    """An optional package that a method stands on.

    Attributes:
        module: What is imported, a top-level module.
        install: What `pip install` takes.
    """

    module: str
    install: str

    @property
    def installed(self) -> bool:
        """Whether the package is there; it is looked for, not imported."""
        return self.module in modules or find_spec(self.module) is not None

    @property
    def pip_line(self) -> str:
        """The command that installs it."""
        return f"pip install '{self.install}'"

    def check(self, name: str) -> None:
        """Refuses the method of that name where its package is missing.

        Raises:
            MissingExtraError: If the package is not installed; the message gives the pip line.
        """
        if not self.installed:
            raise MissingExtraError(f"{name} needs the package {self.module}, which is not installed: {self.pip_line}")


@dataclass(frozen=True)
class Method:
    """The card of an installed forecaster; listing cards imports no heavy library.

    Attributes:
        name: What `--method` takes.
        kind: `predictor`, `trivial`, `dvf`, `generative` or `bound` (knows the answer; for comparison only).
        summary: One line: what it does.
        target: `module:callable`; the callable takes keyword options and returns a Forecaster.
        options: Options that this card fixes.
        weights: Weights file that it needs, relative to the package that ships it; `$NAME` where the user names the
            file by that environment variable; None for none.
        requires: The optional package that it needs, or None.
        defaults: Options that this card sets unless the user does.
    """

    name: str
    kind: str
    summary: str
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    requires: Requirement | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)

    @property
    def installed(self) -> bool:
        """Whether the packages that it needs are there."""
        return self.requires is None or self.requires.installed

    def takes(self, option: str) -> bool:
        """Whether the forecaster has an option of that name."""
        return option in signature(self._factory()).parameters

    def create(self, **options: Any) -> "Forecaster":
        """Builds the forecaster; options that it does not have are left out (a persistence has no seed)."""
        return self._factory()(
            **{k: v for k, v in {**self.defaults, **options, **self.options}.items() if self.takes(k)}
        )

    def _factory(self) -> "Callable[..., Forecaster]":
        module, _, attribute = self.target.partition(":")
        factory: Callable[..., Forecaster] = getattr(import_module(module), attribute)
        return factory


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
        UnknownNameError: If there is no such forecaster; the message lists those that are installed.
        MissingExtraError: If it needs an optional package that is not installed; the message gives the pip line.
    """
    methods = available_forecasters()
    if name not in methods:
        raise UnknownNameError("method", name, in_short([n for n, m in methods.items() if m.installed]))
    method = methods[name]
    if method.requires is not None:
        method.requires.check(name)
    return method


def in_short(names: list[str]) -> list[str]:
    """The names, with all pairs of the kind `engine+temporal` in one entry.

    >>> in_short(["video", "svf+linear", "svf+closure", "demons+linear"])
    ['video', '{demons|svf}+{closure|linear}']
    """
    pairs = [name.split("+", 1) for name in names if "+" in name]
    first, second = (sorted({pair[i] for pair in pairs}) for i in (0, 1))
    together = [f"{{{'|'.join(first)}}}+{{{'|'.join(second)}}}"] if pairs else []
    return [*(name for name in names if "+" not in name), *together]


def _lvm(name: str, summary: str, *, anchored: bool) -> Method:
    return Method(
        name,
        "generative",
        summary,
        "rtmotion.lvm.forecaster:create",
        {"name": name, "anchored": anchored},
        weights="lvm/weights/transformer/model.safetensors",
    )


PREDICTORS = [
    Method(
        name="video",
        kind="predictor",
        summary="the video model (default): the motion model, corrected by a network trained on generated patients",
        target="rtmotion.video.forecaster:create",
        weights="video/weights/video.safetensors",
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
    _lvm("lvm", "large vision model: slices as visual sentences, the next frames as they are decoded", anchored=False),
    _lvm("lvm-anchored", "the same frames, shown as a change of the last observed phase", anchored=True),
]
"""The core's own forecasters."""
