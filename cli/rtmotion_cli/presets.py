"""What `rtmotion compare` runs where the user names no methods; imports nothing heavy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A set of methods, and whether every metric is measured.

    Attributes:
        name: What `--preset` takes.
        methods: Names of forecasters; the trivial baselines and the bounds always run too.
        registered: Whether predictions are registered to the truth (the metrics `*_registered`).
        summary: One line for the help.
    """

    name: str
    methods: tuple[str, ...]
    registered: bool
    summary: str


QUICK = Preset(
    "quick",
    ("video", "motion-model", "svf+closure", "svf+linear"),
    registered=False,
    summary="the predictor and native baselines, without the registered metrics",
)

STANDARD = Preset(
    "standard",
    (
        "video",
        "motion-model",
        "svf+linear",
        "svf+closure",
        "svf+harmonic",
        "svf+pca-ar",
        "svf+cyclic-gp",
        "svf+posterior-known-start",
        "svf+posterior",
        "svf+amplitude-rate",
        "demons+posterior",
        "elastix+closure",
        "elastix+cyclic-gp",
        "elastix+posterior",
        "voxelmorph+posterior",
        "voxelmorph-optimised+posterior",
        "oracle-waveform",
    ),
    registered=True,
    summary="every family of baselines, all metrics",
)

PRESETS = {preset.name: preset for preset in (QUICK, STANDARD)}
