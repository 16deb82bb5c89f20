"""The cards of the baselines; imports nothing heavy."""

from rtmotion.methods import Method


def _trivial(name: str, summary: str, kind: str = "trivial") -> Method:
    return Method(name, kind, summary, "rtmotion_baselines.trivial:create", {"name": name})


TRIVIAL = [
    _trivial("persistence", "the last observed phase, copied"),
    _trivial("first-phase", "the first observed phase, copied"),
    _trivial("mean", "the mean of the observed phases"),
    _trivial("mirror", "the observed phase at the mirrored fraction (T60 = T40), else the last one"),
    _trivial("cyclic-nearest", "the last or the first phase, whichever is nearer in cyclic time"),
    _trivial("closest-observed", "the observed phase nearest to the truth in hindsight (a bound)", kind="bound"),
]

BASELINES = [*TRIVIAL]
"""All baselines, as the entry point hands them out."""
