"""The registry of registration engines: cards that list without importing anything heavy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

from rtmotion.errors import UnknownNameError
from rtmotion.methods import Requirement

if TYPE_CHECKING:
    from rtmotion.registration import RegistrationEngine


@dataclass(frozen=True)
class Engine:
    """The card of a registration engine.

    Attributes:
        name: What `--method` of `rtmotion register` takes, and the first half of a DVF baseline's name.
        summary: A few words: what it is.
        target: `module:class`; the class takes keyword options.
        options: Options that this card fixes.
        weights: As in `rtmotion.methods.Method`, relative to `rtmotion_baselines`.
        requires: The optional package that it needs, or None.
        groupwise: Whether it registers a whole sequence at once (`rtmotion.registration.GroupwiseEngine`).
    """

    name: str
    summary: str
    target: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    requires: Requirement | None = None
    groupwise: bool = False

    @property
    def installed(self) -> bool:
        """Whether the package that it needs is there."""
        return self.requires is None or self.requires.installed

    def create(self, **options: Any) -> "RegistrationEngine":
        """Builds the engine.

        Raises:
            MissingExtraError: If its optional package is not installed; the message gives the pip line.
            TypeError: If its class has no such option.
        """
        if self.requires is not None:
            self.requires.check(self.name)
        engine: RegistrationEngine = self._factory()(**{**options, **self.options})
        return engine

    def takes(self, option: str) -> bool:
        """Whether its class has an option of that name."""
        return option in signature(self._factory()).parameters

    def _factory(self) -> Any:
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


_ROOM = "rtmotion_baselines.registration"
_VOXELMORPH = f"{_ROOM}.voxelmorph:VoxelMorphRegistration"
_VOXELMORPH_WEIGHTS = "registration/weights/voxelmorph.safetensors"

_CARDS = (
    Engine("svf", "native: stationary velocity field fitted to each pair", "rtmotion.registration:SvfRegistration"),
    Engine("elastix", "elastix: cubic B-splines, bending energy", f"{_ROOM}.elastix:ElastixBSpline"),
    Engine(
        "elastix-groupwise",
        "elastix: all observed phases at once, to their mean",
        f"{_ROOM}.elastix_groupwise:ElastixGroupwise",
        groupwise=True,
    ),
    Engine("demons", "Demons: fast symmetric forces", f"{_ROOM}.demons:Demons"),
    Engine(
        "demons-diffeomorphic",
        "Demons: symmetric forces, diffeomorphic updates",
        f"{_ROOM}.demons:Demons",
        {"diffeomorphic": True},
    ),
    Engine(
        "voxelmorph",
        "VoxelMorph: a network's velocity, trained on synthetic patients",
        _VOXELMORPH,
        weights=_VOXELMORPH_WEIGHTS,
    ),
    Engine(
        "voxelmorph-optimised",
        "VoxelMorph, then fitted to each pair",
        _VOXELMORPH,
        {"optimise": True},
        weights=_VOXELMORPH_WEIGHTS,
    ),
    Engine(
        "convexadam",
        "ConvexAdam: discrete search, then Adam, on MIND features",
        f"{_ROOM}.convexadam:ConvexAdam",
        requires=Requirement("convexAdam", "rtmotion[convexadam]"),
    ),
    Engine(
        "ants-syn",
        "ANTs SyN: symmetric diffeomorphism, mutual information",
        f"{_ROOM}.ants_syn:AntsSyn",
        requires=Requirement("ants", "rtmotion[ants]"),
    ),
    Engine(
        "unigradicon",
        "uniGradICON: a network for many organs",
        f"{_ROOM}.unigradicon:UniGradIcon",
        weights="$RTMOTION_UNIGRADICON_WEIGHTS",
        requires=Requirement("unigradicon", "rtmotion[unigradicon]"),
    ),
)

ENGINES: Mapping[str, Engine] = {card.name: card for card in _CARDS}
"""The cards by name."""


def find_engine(name: str) -> Engine:
    """The card of that name.

    Raises:
        UnknownNameError: If there is no such engine; the message lists those that are installed.
    """
    if name not in ENGINES:
        raise UnknownNameError("registration engine", name, [n for n, card in ENGINES.items() if card.installed])
    return ENGINES[name]


def create_engine(name: str, **options: Any) -> "RegistrationEngine":
    """Builds a registration engine by its name, with options of its class.

    Raises:
        UnknownNameError: If there is no such engine; the message lists those that are.
        MissingExtraError: If its optional package is not installed; the message gives the pip line.
    """
    return find_engine(name).create(**options)
