"""Registration: the protocol of an engine, the native engine, and the registration of a whole sequence."""

from rtmotion.registration.engine import GroupwiseEngine, Registration, RegistrationEngine
from rtmotion.registration.joint import register_sequence
from rtmotion.registration.memory import remembered_registrations
from rtmotion.registration.svf import SvfRegistration

__all__ = [
    "GroupwiseEngine",
    "Registration",
    "RegistrationEngine",
    "SvfRegistration",
    "register_sequence",
    "remembered_registrations",
]
