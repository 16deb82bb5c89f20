"""The numbers that make one synthetic patient differ from the next."""

from dataclasses import dataclass

import numpy as np

from rtmotion_data.phantom.config import PhantomConfig, Range

MARGIN_BELOW_LARGEST = 0.999
"""Lognormal draws are clipped inside their range, so that rounding cannot leave it."""


@dataclass(frozen=True)
class Motion:
    """How this patient breathes; amplitudes in mm from end-exhale to end-inhale.

    Attributes:
        diaphragm: Craniocaudal amplitude in the middle of the domes.
        posterior_ratio: Posterior over anterior craniocaudal amplitude.
        right_ratio: Right over left craniocaudal amplitude.
        central_loss: Part of the amplitude that is missing under the heart.
        chest: Anteroposterior amplitude of the chest wall.
        abdomen: Anteroposterior amplitude of the abdominal wall, in step with the diaphragm.
        lateral: Left-right amplitude on either side.
        lag: Lag of the chest behind the diaphragm, fraction of the period.
        chest_share: Largest part of the craniocaudal motion (anterior) that follows the chest's time course.
        decay: Length over which the motion fades below the domes, mm.
        heartbeat: Amplitude of the beat.
        heart_phases: Phase of the heart at each breathing phase, radians; unrelated to breathing.
    """

    diaphragm: float
    posterior_ratio: float
    right_ratio: float
    central_loss: float
    chest: float
    abdomen: float
    lateral: float
    lag: float
    chest_share: float
    decay: float
    heartbeat: float
    heart_phases: tuple[float, ...]


@dataclass(frozen=True)
class Build:
    """Sizes of the trunk at end-exhale, mm; x to the left, y to posterior, z to superior, depth s = top - z.

    Attributes:
        top: z of the lid of the thoracic cavity.
        height: Depth of the right dome below the lid.
        half_width: Half-width of the cavity at its widest.
        half_depth: Half its anteroposterior depth there.
        lid: Width of the lid relative to the widest place.
        taper: Depth at which the cavity reaches its full width.
        posterior: y of the cavity's posterior end (beside the spine).
        squareness: Exponent of the cross-section's superellipse.
        spine_notch: How far the spine reaches into the cavity, relative.
        harmonics: Irregularity of the cross-section: amplitudes of cos 3θ-like and asymmetric terms.
        left_lower: How much lower the left dome stands.
        dome_height: Height of the domes above their insertion.
        dome_right: Centre (u, v) of the right dome in relative coordinates.
        dome_left: Centre (u, v) of the left dome.
        fat: Thickness of the fat under the skin.
        wall: Thickness of ribs and muscle at the side.
        breast: Size of the breasts, 0 for none.
        arms_up: Whether the arms are raised.
        shears: Rows (amplitude mm, two wave numbers 1/mm along the two other axes, phase) for each of x, y and z: the
            smooth diffeomorphism that makes the anatomy irregular.
    """

    top: float
    height: float
    half_width: float
    half_depth: float
    lid: float
    taper: float
    posterior: float
    squareness: float
    spine_notch: float
    harmonics: tuple[float, float, float]
    left_lower: float
    dome_height: float
    dome_right: tuple[float, float]
    dome_left: tuple[float, float]
    fat: float
    wall: float
    breast: float
    arms_up: bool
    shears: tuple[tuple[tuple[float, float, float, float], ...], ...]


@dataclass(frozen=True)
class Tissue:
    """What the organs look like, HU at end-exhale.

    Attributes:
        parenchyma: Lung, at mid depth.
        gradient: Rise of the lung from anterior to posterior.
        muscle: Skeletal muscle.
        fat: Fat.
        blood: Blood, with contrast medium where given.
        contrast: Rise by contrast medium; 0 without.
        liver: Liver.
        spleen: Spleen.
        cortex: Cortical bone.
        marrow: Marrow.
        emphysema: Part of the lung that is destroyed, 0 to 0.3.
        effusion: Depth of the fluid behind the lungs (right, left), mm.
        texture: Strength of the organs' texture, relative.
        vessel_density: Number of vessel ends a lung and tree.
        tumours: One row a tumour: (side, lobe, radius mm, solidity 0..1, spiculation 0..1, at the wall).
    """

    parenchyma: float
    gradient: float
    muscle: float
    fat: float
    blood: float
    contrast: float
    liver: float
    spleen: float
    cortex: float
    marrow: float
    emphysema: float
    effusion: tuple[float, float]
    texture: float
    vessel_density: int
    tumours: tuple[tuple[int, int, float, float, float, bool], ...]


def _between(rng: np.random.Generator, limits: Range) -> float:
    return float(rng.uniform(*limits))


def sample_motion(rng: np.random.Generator, config: PhantomConfig) -> Motion:
    """Draws how a patient breathes; ranges as in the configuration."""
    low, high = config.diaphragm_range
    diaphragm = float(np.clip(config.diaphragm_median * np.exp(rng.normal(0, 0.45)), low, high))
    relative = diaphragm / config.diaphragm_median
    chest_low, chest_high = config.chest_range
    chest = float(np.clip(3.0 * relative**0.4 * np.exp(rng.normal(0, 0.45)), chest_low, chest_high))
    return Motion(
        diaphragm=diaphragm,
        posterior_ratio=_between(rng, config.posterior_ratio),
        right_ratio=_between(rng, config.right_ratio),
        central_loss=_between(rng, (0.2, 0.45)),
        chest=chest,
        abdomen=float(np.clip(diaphragm * rng.uniform(0.15, 0.5), 0.5, 8.0)),
        lateral=_between(rng, config.lateral_range),
        lag=_between(rng, config.lag_range),
        chest_share=_between(rng, (0.1, 0.5)),
        decay=_between(rng, (110.0, 170.0)),
        heartbeat=config.heartbeat * _between(rng, (0.5, 1.0)),
        heart_phases=tuple(float(a) for a in rng.uniform(0, 2 * np.pi, config.phases)),
    )


def sample_build(rng: np.random.Generator, config: PhantomConfig) -> Build:
    """Draws the sizes of a trunk, from small women to large men."""
    stature = float(np.clip(rng.normal(1.0, 0.07), 0.85, 1.15))
    height = 178 * stature * rng.uniform(0.9, 1.12)
    half_depth = 88 * stature * rng.uniform(0.85, 1.12)
    woman = bool(rng.random() < 0.45)
    shears = tuple(
        tuple(
            (
                float(amplitude * rng.normal(0, 0.7)),
                float(2 * np.pi / rng.uniform(140, 320) * rng.choice((-1, 1))),
                float(2 * np.pi / rng.uniform(140, 320)),
                float(rng.uniform(0, 2 * np.pi)),
            )
            for amplitude in amplitudes
        )
        for amplitudes in ((4.0, 2.0), (4.0, 2.0), (2.0, 1.0))
    )
    # the spine is convex to the back in the middle of the chest
    kyphosis = (float(rng.uniform(5, 14)), 0.0, 2 * np.pi / float(rng.uniform(420, 560)), np.pi)
    shears = (shears[0], (*shears[1], kyphosis), shears[2])
    return Build(
        top=float(height / 2 + rng.uniform(10, 24)),
        height=float(height),
        half_width=float(132 * stature * rng.uniform(0.92, 1.08)),
        half_depth=float(half_depth),
        lid=float(rng.uniform(0.57, 0.67)),
        taper=float(height * rng.uniform(0.8, 1.0)),
        posterior=float(half_depth + rng.uniform(-6, 2)),
        squareness=float(rng.uniform(2.1, 2.6)),
        spine_notch=float(rng.uniform(0.34, 0.42)),
        harmonics=tuple(float(a) for a in rng.normal(0, 0.015, 3)),  # type: ignore[arg-type]
        left_lower=float(rng.uniform(2, 20)),
        dome_height=float(rng.uniform(32, 52)),
        dome_right=(float(rng.uniform(-0.52, -0.4)), float(rng.uniform(-0.2, 0.05))),
        dome_left=(float(rng.uniform(0.42, 0.55)), float(rng.uniform(-0.15, 0.1))),
        fat=float(np.clip(rng.lognormal(np.log(12), 0.5), 4, 40)),
        wall=float(rng.uniform(20, 32)),
        breast=float(rng.uniform(0.4, 1.0)) if woman else 0.0,
        arms_up=bool(rng.random() < config.arms_up_probability),
        shears=shears,
    )


def sample_tissue(rng: np.random.Generator, config: PhantomConfig) -> Tissue:
    """Draws densities, disease and tumours."""
    contrast = float(rng.uniform(60, 220)) if rng.random() < config.contrast_probability else 0.0
    count = int(rng.random() < config.tumour_probability) + int(rng.random() < 0.2 * config.tumour_probability)
    tumours = tuple(
        (
            int(rng.integers(2)),
            int(rng.choice(3, p=(0.5, 0.15, 0.35))),
            float(np.clip(rng.lognormal(np.log(10), 0.45), 4, 28)),
            float(rng.choice((1.0, 1.0, 1.0, rng.uniform(0.3, 0.7)))),
            float(rng.uniform(0, 1) ** 1.5),
            bool(rng.random() < 0.25),
        )
        for _ in range(count)
    )
    effused = rng.random() < config.effusion_probability
    depth = rng.uniform(8, 40)
    left = rng.random() < 0.5
    return Tissue(
        parenchyma=float(rng.uniform(-865, -745)),
        gradient=float(rng.uniform(30, 120)),
        muscle=float(rng.uniform(45, 65)),
        fat=float(rng.uniform(-115, -90)),
        blood=float(rng.uniform(35, 50)) + contrast,
        contrast=contrast,
        liver=float(rng.uniform(45, 68)) + 0.3 * contrast,
        spleen=float(rng.uniform(45, 55)) + 0.35 * contrast,
        cortex=float(rng.uniform(700, 1250)),
        marrow=float(rng.uniform(120, 280)),
        emphysema=float(rng.uniform(0.05, 0.3)) if rng.random() < config.emphysema_probability else 0.0,
        effusion=(0.0 if left or not effused else float(depth), float(depth) if left and effused else 0.0),
        texture=float(rng.uniform(0.7, 1.4)),
        vessel_density=int(rng.integers(900, 1400)),
        tumours=tumours,
    )
