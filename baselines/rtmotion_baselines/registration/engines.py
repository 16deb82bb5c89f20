"""The registry of registration engines; listing it imports nothing heavy."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rtmotion.errors import UnknownNameError

if TYPE_CHECKING:
    from rtmotion.registration import RegistrationEngine

ENGINES = {
    "svf": "rtmotion.registration:SvfRegistration",
    "elastix": "rtmotion_baselines.registration.elastix:ElastixBSpline",
    "demons": "rtmotion_baselines.registration.demons:Demons",
}
"""Name to `module:class`."""


def create_engine(name: str, **options: Any) -> "RegistrationEngine":
    """Builds a registration engine by its name, with options of its class.

    Raises:
        UnknownNameError: If there is no such engine; the message lists those that are.
    """
    if name not in ENGINES:
        raise UnknownNameError("registration engine", name, list(ENGINES))
    module, _, attribute = ENGINES[name].partition(":")
    engine: RegistrationEngine = getattr(import_module(module), attribute)(**options)
    return engine
