"""What `rtmotion compare` runs where the user names no methods; imports nothing heavy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A set of methods, and what is measured of them.

    Attributes:
        name: What `--preset` takes.
        methods: Names of forecasters; the trivial baselines and the bounds always run too.
        metrics: Names of the metrics; None takes all.
        summary: One line for the help.
    """

    name: str
    methods: tuple[str, ...]
    metrics: tuple[str, ...] | None
    summary: str


QUICK = Preset(
    "quick",
    ("video", "svf+closure", "svf+linear"),
    (
        "mae",
        "rmse",
        "psnr",
        "change",
        "edge_error",
        "sharpness",
        "jitter",
        "diversity",
        "coverage_hu_80",
        "round_trip",
        "tre_mean",
        "tre_sd",
        "tre_p95",
        "tre_max",
        "tre_identity",
        "coverage_50",
        "coverage_80",
        "coverage_95",
        "width_80",
        "crps",
    ),
    summary="the predictor and the native baselines; error in HU, landmarks and uncertainty",
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
        "convlstm",
        "adversarial",
        "simvp",
        "diffusion",
        "flow-matching",
        "oracle-waveform",
    ),
    None,
    summary="every family of baselines, all metrics",
)

PRESETS = {preset.name: preset for preset in (QUICK, STANDARD)}
