"""Forecasters that register the observed phases and extrapolate their fields; `motion-model` is the best of them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rtmotion.cycle.appearance import AppearanceConfig, blend_weights
from rtmotion.cycle.mixture import Combination, MixtureConfig, centred, first_mode
from rtmotion.cycle.observed import ObservedMotion, Progress, observe_motion
from rtmotion.cycle.rendering import render_targets
from rtmotion.cycle.temporal import CycleMixture, Situation, TemporalModel
from rtmotion.cycle.waveforms import Array, trace_amplitudes
from rtmotion.errors import PhaseError
from rtmotion.field import gaussian_smooth, resample
from rtmotion.forecasting import Forecast, Waveform
from rtmotion.grid import Grid
from rtmotion.registration import RegistrationEngine, SvfRegistration
from rtmotion.sequence import BreathingTrace, Phase, PhaseSequence
from rtmotion.types import ScalarVolume, VectorStack, VectorVolume

UNCERTAINTY_SMOOTHING_MM = 8.0
"""The variance is pooled over this distance: a voxel's own k values tell little of its scale."""

START_CONCENTRATION = {"unknown": 0.0, "known": 1.0}
"""Prior probability that the first phase is end-inhale."""


@dataclass(frozen=True, eq=False)
class Refined:
    """What a refinement makes of a temporal model's forecast.

    Attributes:
        velocities: Target phases to the reference, mm, LPS, on the motion's grid, (3, z, y, x) each.
        uncertainty: One standard deviation of displacement, mm, on the volumes' grid, one a target.
        details: Facts for the report, JSON-compatible.
        warnings: What the user should know of it.
        sources: Observed phases to the reference, as the image is made from them, mm, LPS, on the motion's grid, shape
            (k, 3, z, y, x); None takes them as they were registered.
    """

    velocities: Sequence[VectorVolume]
    uncertainty: tuple[ScalarVolume, ...]
    details: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    sources: VectorStack | None = None


class Refinement(Protocol):
    """Anything that goes on from a temporal model's forecast, such as a network."""

    def refine(
        self,
        observed: PhaseSequence,
        motion: ObservedMotion,
        situation: Situation,
        combination: Combination,
        temporal: TemporalModel,
    ) -> Refined:
        """The refined forecast.

        Args:
            observed: The observed phases.
            motion: Their motion.
            situation: What the temporal model was told.
            combination: What it said.
            temporal: The temporal model, to be asked of other situations.
        """
        ...


@dataclass(frozen=True)
class FieldForecaster:
    """Registers the observed phases, extrapolates their velocities, and warps.

    Attributes:
        name: Name of the method.
        engine: The registration engine.
        temporal: How the fields go on.
        appearance: How the image is made.
        reference: `first`, `middle` or `last` observed phase, which all fields point to.
        device: Torch device.
        samples: Number of samples behind the waveform's interval.
        seed: Of those samples.
        refinement: What goes on from the temporal model's forecast; None ends with it.
        progress: Called with a stage's name, steps done and steps in all.
    """

    name: str
    engine: RegistrationEngine
    temporal: TemporalModel
    appearance: AppearanceConfig = field(default_factory=lambda: AppearanceConfig(sources=1, density=False))
    reference: str = "first"
    device: str = "cpu"
    samples: int = 1000
    seed: int = 0
    refinement: Refinement | None = None
    progress: Progress | None = None

    def forecast(
        self, observed: PhaseSequence, targets: Sequence[Phase], trace: BreathingTrace | None = None
    ) -> Forecast:
        """See `rtmotion.forecasting.Forecaster`.

        Raises:
            PhaseError: With fewer than two observed phases.
        """
        if len(observed) < 2:
            raise PhaseError(f"{self.name} needs at least 2 observed phases, got {len(observed)}")
        observed = observed.to(self.device)
        reference = {"first": 0, "middle": len(observed) // 2, "last": len(observed) - 1}[self.reference]
        motion = observe_motion(observed, self.engine, reference, self.progress)
        registered = time.perf_counter()
        self._announce("temporal model")
        fractions = np.array([p.fraction for p in targets])
        situation = Situation(
            motion.gram,
            observed.fractions,
            fractions,
            motion.inhale,
            None if trace is None else trace_amplitudes(trace, np.r_[observed.fractions, fractions]),
        )
        combination = self.temporal.combine(situation)
        modelled = time.perf_counter()
        if self.refinement is None:
            refined = _as_modelled(motion, combination, observed.grid)
        else:
            self._announce("network")
            refined = self.refinement.refine(observed, motion, situation, combination, self.temporal)
        predicted = time.perf_counter()
        shown = motion if refined.sources is None else motion.with_velocities(refined.sources)
        doubts = combination.mean_variance(motion.gram)
        shares = [self._share(shown, *target) for target in zip(refined.velocities, doubts, strict=True)]
        volumes, displacements = render_targets(
            observed, shown, refined.velocities, shares, self.appearance, self.progress
        )
        return Forecast(
            method=self.name,
            targets=tuple(targets),
            volumes=volumes,
            reference=observed.phases[reference],
            displacements=displacements,
            uncertainty=refined.uncertainty or None,
            # what a network makes of a model without spread is not that model's waveform any more
            waveform=self._waveform(observed, motion, situation)
            if combination.has_spread or self.refinement is None
            else None,
            seconds={
                "registration": motion.seconds,
                "temporal model": modelled - registered,
                "uncertainty" if self.refinement is None else "network": predicted - modelled,
                "appearance": time.perf_counter() - predicted,
            },
            warnings=(*_warnings(motion), *refined.warnings),
            details={
                "engine": self.engine.name,
                "temporal_model": self.temporal.name,
                "weights": combination.mean.round(4).tolist(),
                "trace": trace is not None,
                **refined.details,
            },
        )

    def _announce(self, stage: str) -> None:
        if self.progress is not None:
            self.progress(stage, 0, 1)

    def _share(self, motion: ObservedMotion, velocity: VectorVolume, doubt: float) -> Array:
        """How much each observed phase counts in the image of a target."""
        if self.appearance.sources != 1:
            return blend_weights(motion.gram, motion.products(velocity), self.appearance, doubt)
        return np.asarray(np.eye(len(motion.gram))[motion.reference])

    def _waveform(self, observed: PhaseSequence, motion: ObservedMotion, situation: Situation) -> Waveform | None:
        """The first mode's coefficient over the whole cycle, scaled to 0–1 over the observed phases."""
        coefficients, _ = first_mode(centred(motion.gram))
        span = float(np.ptp(coefficients))
        if span <= 0:
            return None
        if np.corrcoef(coefficients, motion.inhale)[0, 1] < 0:
            coefficients = -coefficients
        dense = np.linspace(0.0, 1.0, 41)[:-1]
        if situation.amplitude is not None:
            dense = situation.targets
        over_cycle = Situation(situation.gram, situation.observed, dense, situation.inhale, situation.amplitude)
        combination = self.temporal.combine(over_cycle)
        drawn = combination.sample(coefficients, max(self.samples, 50), np.random.default_rng(self.seed))

        def scaled(values: Array) -> Array:
            return np.asarray((values - coefficients.min()) / span)

        return Waveform(
            dense,
            scaled(combination.mean @ coefficients),
            scaled(np.quantile(drawn, 0.1, axis=0)),
            scaled(np.quantile(drawn, 0.9, axis=0)),
            np.stack([observed.fractions, scaled(coefficients)], axis=1),
        )


def _as_modelled(motion: ObservedMotion, combination: Combination, grid: Grid) -> Refined:
    """The temporal model's own forecast, on the grid of the volumes."""
    velocities = [combined(motion.velocities, weights) for weights in combination.mean]
    return Refined(velocities, displacement_sd(motion, combination, grid) if combination.has_spread else ())


def combined(velocities: VectorStack, weights: Array) -> VectorVolume:
    """A linear combination of velocities: weights (n,) of velocities (n, 3, z, y, x)."""
    share = torch.as_tensor(weights, dtype=velocities.dtype, device=velocities.device)
    total: Tensor = torch.tensordot(share, velocities, dims=1)
    return total


def _warnings(motion: ObservedMotion) -> tuple[str, ...]:
    largest = float(np.sqrt(np.diag(motion.gram).max()))
    if largest < 0.5:
        return (
            f"the observed phases hardly differ ({largest:.2f} mm root mean square around the lung): "
            "the motion to come cannot be told from them",
        )
    return ()


def displacement_sd(motion: ObservedMotion, combination: Combination, grid: Grid) -> tuple[ScalarVolume, ...]:
    """One standard deviation of the predicted displacement, mm, a target phase; see `Combination.variance_form`.

    Returns:
        On `grid`, shape (z, y, x) each: the root of the summed variances of the three components.
    """
    forms = combination.variance_form()
    sigma = [UNCERTAINTY_SMOOTHING_MM / s for s in motion.grid.spacing]
    maps = []
    for form in forms:
        matrix = torch.as_tensor(form, dtype=motion.velocities.dtype, device=motion.velocities.device)
        variance = torch.einsum("iczyx,ij,jczyx->zyx", motion.velocities, matrix, motion.velocities)
        pooled = gaussian_smooth(variance.clamp(min=0), sigma).clamp(min=1e-6).sqrt()
        maps.append(resample(pooled, motion.grid, grid).cpu())
    return tuple(maps)


def MotionModelForecaster(  # noqa: N802
    device: str = "cpu",
    seed: int = 0,
    samples: int = 1000,
    start: str = "unknown",
    name: str = "motion-model",
    progress: Progress | None = None,
) -> FieldForecaster:
    """The motion model: SVF registration, the cycle mixture, and appearance from several observed phases.

    Args:
        device: Torch device.
        seed: Of the samples.
        samples: Number of samples behind the waveform's interval.
        start: `unknown`: the cycle may start anywhere; `known`: its first phase is end-inhale.
        name: Name of the method.
        progress: Called with a stage's name, steps done and steps in all.
    """
    return FieldForecaster(
        name=name,
        engine=SvfRegistration(),
        temporal=CycleMixture(config=MixtureConfig(start_concentration=START_CONCENTRATION[start])),
        appearance=AppearanceConfig(),
        device=device,
        samples=samples,
        seed=seed,
        progress=progress,
    )
