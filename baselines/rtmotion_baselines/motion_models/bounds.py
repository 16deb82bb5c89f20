"""Bounds: forecasts that know the answer, for showing where the error of the others comes from.

All stand on the registration of the whole cycle, future phases included, to the first phase:

- `oracle-svf`: the field fitted to the true phase. What is left is the error of registration and appearance.
- `oracle-one-mode`: the best single spatial mode of the whole cycle with its true coefficient.
- `oracle-waveform`: the motion model, told the true coefficient of that mode over the whole cycle. What is left above
  `oracle-svf` is the error of space; what the motion model loses against it is that of the waveform.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rtmotion.cycle.appearance import AppearanceConfig
from rtmotion.cycle.forecaster import MotionModelForecaster, combined
from rtmotion.cycle.mixture import centred, first_mode
from rtmotion.cycle.observed import ObservedMotion, Progress, observe_motion
from rtmotion.cycle.rendering import render_targets
from rtmotion.cycle.waveforms import Array
from rtmotion.errors import PhaseError
from rtmotion.forecasting import Forecast, Forecaster
from rtmotion.registration import SvfRegistration
from rtmotion.sequence import BreathingTrace, Phase, PhaseSequence


@dataclass(frozen=True)
class Oracle:
    """Warps the first phase by fields fitted to the true phases, whole or reduced to their modes.

    Attributes:
        name: Name of the method.
        truth: The true target phases.
        modes: How many spatial modes of the whole cycle are kept; None keeps all.
        device: Torch device.
        progress: Called with a stage's name, steps done and steps in all.
    """

    name: str
    truth: PhaseSequence
    modes: int | None = None
    device: str = "cpu"
    progress: Progress | None = None

    def forecast(
        self, observed: PhaseSequence, targets: Sequence[Phase], trace: BreathingTrace | None = None
    ) -> Forecast:
        """See `rtmotion.forecasting.Forecaster`; a trace changes nothing."""
        cycle = whole_cycle(observed, self.truth).to(self.device)
        motion = observe_motion(cycle, SvfRegistration(), 0, self.progress)
        registered = time.perf_counter()
        projection = mode_projection(motion.gram, self.modes)
        wanted = [cycle.labels.index(p.label) for p in targets]
        share = np.eye(len(cycle))[0]
        volumes, displacements = render_targets(
            cycle,
            motion,
            (combined(motion.velocities, projection[j]) for j in wanted),
            [share] * len(wanted),
            AppearanceConfig(sources=1, density=False),
            self.progress,
        )
        return Forecast(
            method=self.name,
            targets=tuple(targets),
            volumes=volumes,
            reference=cycle.phases[0],
            displacements=displacements,
            seconds={"registration": motion.seconds, "appearance": time.perf_counter() - registered},
            warnings=("a bound: this method is told the answer",),
        )


@dataclass(frozen=True)
class WaveformOracle:
    """The motion model, told the coefficient of the whole cycle's first mode as if it were a recorded trace."""

    truth: PhaseSequence
    device: str = "cpu"
    seed: int = 0
    progress: Progress | None = None
    name: str = "oracle-waveform"

    def forecast(
        self, observed: PhaseSequence, targets: Sequence[Phase], trace: BreathingTrace | None = None
    ) -> Forecast:
        """See `rtmotion.forecasting.Forecaster`; a given trace is not used."""
        cycle = whole_cycle(observed, self.truth).to(self.device)
        motion = observe_motion(cycle, SvfRegistration(), 0, self.progress)
        model = MotionModelForecaster(device=self.device, seed=self.seed, name=self.name, progress=self.progress)
        return model.forecast(observed, targets, first_mode_trace(motion, cycle))


def first_mode_trace(motion: ObservedMotion, cycle: PhaseSequence) -> BreathingTrace:
    """The first mode's coefficient over a whole cycle as a trace, one sample a phase, one second a cycle."""
    coefficient, _ = first_mode(centred(motion.gram))
    return BreathingTrace(cycle.fractions, coefficient, cycle.fractions)


def whole_cycle(observed: PhaseSequence, truth: PhaseSequence) -> PhaseSequence:
    """Observed and true phases in one sequence, in the order of their fractions."""
    pairs = [*zip(observed.phases, observed.volumes, strict=True), *zip(truth.phases, truth.volumes, strict=True)]
    pairs.sort(key=lambda pair: pair[0].fraction)
    return PhaseSequence(tuple(p for p, _ in pairs), tuple(v for _, v in pairs))


def mode_projection(gram: Array, modes: int | None) -> Array:
    """The weights (n, n) that reduce n fields to their first modes; the identity for all of them."""
    if modes is None:
        return np.eye(len(gram))
    vectors = np.linalg.eigh(gram)[1][:, -modes:]
    return np.asarray(vectors @ vectors.T)


def create(
    name: str, truth: PhaseSequence | None = None, device: str = "cpu", seed: int = 0, progress: Progress | None = None
) -> Forecaster:
    """The bound of that name.

    Args:
        name: `oracle-svf`, `oracle-one-mode` or `oracle-waveform`.
        truth: The true target phases.
        device: Torch device.
        seed: Of the samples behind the waveform's interval.
        progress: Called with a stage's name, steps done and steps in all.

    Raises:
        PhaseError: Without the truth, which a bound needs.
    """
    if truth is None:
        raise PhaseError(f"{name} is a bound and needs the true phases: run it through `rtmotion compare`")
    if name == "oracle-waveform":
        return WaveformOracle(truth, device, seed, progress)
    return Oracle(name, truth, {"oracle-svf": None, "oracle-one-mode": 1}[name], device, progress)
