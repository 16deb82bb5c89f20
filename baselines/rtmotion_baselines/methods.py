"""The cards of the baselines; imports nothing heavy."""

from rtmotion.methods import Method
from rtmotion_baselines.registration.engines import ENGINES


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

TEMPORAL = {
    "persistence": "the last observed field",
    "linear": "the last two fields extrapolated, clipped",
    "closure": "the last field scaled linearly back to the first phase",
    "harmonic": "harmonic least squares",
    "pca-ar": "principal components, autoregression of their coefficients",
    "cyclic-gp": "the cyclic Gaussian process over the fields",
    "posterior-known-start": "one mode, waveform posterior, the first phase end-inhale",
    "posterior": "one mode, waveform posterior, start and sign unknown",
    "amplitude-rate": "fields regressed on the posterior waveform and its rate",
}
"""The temporal models that make DVF baselines."""

DVF = [
    Method(
        f"{engine.name}+{temporal}",
        "dvf",
        f"{engine.summary}; {goes_on}",
        "rtmotion_baselines.motion_models.dvf:create",
        {"engine": engine.name, "temporal": temporal},
        weights=engine.weights,
        requires=engine.requires,
    )
    for engine in ENGINES.values()
    for temporal, goes_on in TEMPORAL.items()
]
"""Every registration engine with every temporal model."""


def _bound(name: str, summary: str) -> Method:
    return Method(name, "bound", summary, "rtmotion_baselines.motion_models.bounds:create", {"name": name})


BOUNDS = [
    _bound("oracle-svf", "the first phase warped by the field fitted to the true phase (a bound)"),
    _bound("oracle-one-mode", "the best single spatial mode of the whole cycle (a bound)"),
    _bound("oracle-waveform", "the motion model told the true waveform of the first mode (a bound)"),
]


def _generative(name: str, kind: str, network: str, summary: str, **defaults: int) -> Method:
    return Method(
        name,
        "generative",
        summary,
        f"rtmotion_baselines.generative.{kind}:create",
        {"name": name, "network": f"rtmotion_baselines.generative.{network}"},
        weights=f"generative/weights/{name}.safetensors",
        defaults=defaults,
    )


GENERATIVE = [
    _generative("convlstm", "fields", "convlstm:ConvLstm", "SVF registration, fields carried on by a ConvLSTM"),
    _generative(
        "adversarial", "fields", "adversarial:Adversarial", "SVF registration, fields drawn by a GAN", samples=16
    ),
    _generative("simvp", "images", "simvp:SimVp", "generic video network: images by convolutions over frames"),
    _generative("diffusion", "images", "diffusion:Diffusion", "images drawn by conditional diffusion", samples=4),
    _generative(
        "flow-matching", "images", "diffusion:FlowMatching", "images drawn along a flow from the last phase", samples=4
    ),
]
"""Networks trained on generated patients: two over registered motion, three over images alone."""

BASELINES = [*TRIVIAL, *DVF, *GENERATIVE, *BOUNDS]
"""All baselines, as the entry point hands them out."""
