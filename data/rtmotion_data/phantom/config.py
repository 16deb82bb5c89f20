"""What may be asked of a synthetic patient: sizes, ranges, and which faults the scanner has."""

from dataclasses import dataclass

from rtmotion.errors import RtmotionError

Range = tuple[float, float]
"""Smallest and largest value."""


@dataclass(frozen=True)
class PhantomConfig:
    """The choices behind a synthetic breathing patient; what is a range is drawn anew for each seed.

    Attributes:
        size: Voxels along x (to the left), y (to posterior), z (to superior).
        spacing: Voxel size, mm.
        phases: Number of phases of the cycle, at fractions 0, 1/n, 2/n, ...
        centre: World position (LPS, mm) of the middle of the grid; None: the middle of the chest, or, where the grid
            is narrower than the chest, one of the lungs. The chest itself is always centred at (0, 0, 0).
        random_start: False: T00 is end-inhale, as the convention says; True: the cycle starts anywhere.
        diaphragm_median: Median of the lognormal craniocaudal amplitude of the domes, mm.
        diaphragm_range: Its limits, mm.
        chest_range: Anteroposterior amplitude of the chest wall, mm.
        lateral_range: Left-right amplitude of the chest wall on either side, mm.
        posterior_ratio: Posterior over anterior craniocaudal amplitude.
        right_ratio: Right over left craniocaudal amplitude.
        lag_range: Lag of the chest wall behind the diaphragm, fraction of the period.
        heartbeat: Amplitude of the heart's beat, mm; 0 stops it.
        period_range: Duration of a breath, s.
        noise_range: Standard deviation of the image noise in the middle of the patient, HU.
        noise: Whether the rendered input is noisy.
        streaks: Whether photon starvation through the shoulders makes streaks.
        sorting_artefacts: Whether couch positions have a phase and an amplitude of their own.
        slab_range: Height of a couch position, mm.
        phase_jitter_range: Standard deviation of a couch position's phase, fraction of the period.
        amplitude_jitter_range: Standard deviation of a couch position's relative amplitude.
        motion_blur: Part of the period during which a couch position is exposed; 0 freezes the motion.
        tumour_probability: Chance of at least one tumour.
        effusion_probability: Chance of a pleural effusion.
        emphysema_probability: Chance of emphysema.
        contrast_probability: Chance of contrast medium in heart and vessels.
        arms_up_probability: Chance of arms raised above the head, otherwise beside the body.
        supersampling: Voxels of the anatomy in end-exhale coordinates to one voxel of the grid, along each axis.
    """

    size: tuple[int, int, int] = (128, 128, 96)
    spacing: tuple[float, float, float] = (3.0, 3.0, 3.0)
    phases: int = 10
    centre: tuple[float, float, float] | None = None
    random_start: bool = False
    diaphragm_median: float = 13.0
    diaphragm_range: Range = (4.0, 30.0)
    chest_range: Range = (1.0, 8.0)
    lateral_range: Range = (0.0, 2.5)
    posterior_ratio: Range = (1.3, 2.0)
    right_ratio: Range = (0.8, 1.25)
    lag_range: Range = (-0.1, 0.2)
    heartbeat: float = 0.9
    period_range: Range = (2.8, 6.5)
    noise_range: Range = (15.0, 60.0)
    noise: bool = True
    streaks: bool = True
    sorting_artefacts: bool = True
    slab_range: Range = (8.0, 40.0)
    phase_jitter_range: Range = (0.03, 0.06)
    amplitude_jitter_range: Range = (0.05, 0.15)
    motion_blur: float = 0.0
    tumour_probability: float = 0.75
    effusion_probability: float = 0.12
    emphysema_probability: float = 0.2
    contrast_probability: float = 0.35
    arms_up_probability: float = 0.8
    supersampling: float = 1.25

    def __post_init__(self) -> None:
        if len(self.size) != 3 or any(n < 8 for n in self.size):
            raise RtmotionError(f"a phantom needs at least 8 voxels along x, y and z, got --size {self.size}")
        if len(self.spacing) != 3 or not all(0.5 <= s <= 12 for s in self.spacing):
            raise RtmotionError(f"the phantom's spacing must lie between 0.5 and 12 mm, got --spacing {self.spacing}")
        if not 2 <= self.phases <= 50:
            raise RtmotionError(f"a phantom has between 2 and 50 phases, got --phases {self.phases}")
        if not 1 <= self.supersampling <= 3:
            raise RtmotionError(f"supersampling must lie between 1 and 3, got {self.supersampling}")
        if not 0 <= self.motion_blur < 0.5:
            raise RtmotionError(f"motion_blur is part of the period, 0 to below 0.5, got {self.motion_blur}")
        for name, value in vars(self).items():
            if name.endswith(("_range", "_ratio")) and not value[0] <= value[1]:
                raise RtmotionError(f"{name} must be (smallest, largest), got {value}")
            if name.endswith("_probability") and not 0 <= value <= 1:
                raise RtmotionError(f"{name} must lie between 0 and 1, got {value}")
