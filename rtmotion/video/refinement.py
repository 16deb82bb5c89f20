"""The network's part of a forecast: the motion model's proposals, corrected, trusted and given a spread."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch

from rtmotion.cycle.forecaster import Refined, combined, displacement_sd
from rtmotion.cycle.mixture import Combination
from rtmotion.cycle.observed import ObservedMotion, near_lung
from rtmotion.cycle.temporal import Situation, TemporalModel, ahead
from rtmotion.cycle.waveforms import Array
from rtmotion.field import resample
from rtmotion.sequence import PhaseSequence
from rtmotion.types import ScalarVolume, VectorVolume
from rtmotion.video.adaptation import LeftOut, Trust, find_trust, splits
from rtmotion.video.calibration import SpreadCalibration
from rtmotion.video.network import VideoNetwork
from rtmotion.video.proposal import doubts_of
from rtmotion.video.tokens import Correction, Scene, corrected
from rtmotion.video.working import WorkingMotion, on_working_grid
from rtmotion.weights import load_weights

WEIGHTS = "weights/video.safetensors"
"""The shipped weights, relative to this package; their model card lies beside them."""

SD_OF_SCALE = 12**0.5
"""The root of the summed variances of a vector whose density falls as exp(-length / scale)."""


@lru_cache(maxsize=2)
def network_with(weights: Path | None = None, device: str = "cpu") -> VideoNetwork:
    """The network with the weights of a file, or the shipped ones, on a device.

    Raises:
        ReadError: If the file holds no weights of this network.
    """
    network = VideoNetwork()
    with weights_file(weights) as path:
        load_weights(network, path)
    return network.to(device).eval().requires_grad_(False)


@contextmanager
def weights_file(weights: Path | None = None) -> Iterator[Path]:
    """The path of a file of weights, or of the shipped ones."""
    if weights is not None:
        yield weights
        return
    with as_file(files(__package__).joinpath(WEIGHTS)) as path:
        yield path


@dataclass(frozen=True)
class NetworkRefinement:
    """Corrects the motion model's forecast by the network.

    Attributes:
        adapt: Whether phases are left out to find how far the network is to be trusted on this patient; without, all
            of its correction is taken.
        network: The network; None takes the one with `weights`.
        weights: A file of weights; None takes the shipped ones.
        calibration: Stretches the stated uncertainty as learned on the user's cases; None leaves it as it was learned
            on generated patients.
    """

    adapt: bool = True
    network: VideoNetwork | None = None
    weights: Path | None = None
    calibration: SpreadCalibration | None = None

    def refine(
        self,
        observed: PhaseSequence,
        motion: ObservedMotion,
        situation: Situation,
        combination: Combination,
        temporal: TemporalModel,
    ) -> Refined:
        """See `rtmotion.cycle.forecaster.Refinement`."""
        seen = on_working_grid(observed, motion)
        order = np.argsort(ahead(situation.targets, situation.observed[-1]), kind="stable").tolist()
        with torch.inference_mode():
            trust = self._trust(seen, situation, temporal) if self.adapt else Trust(network=1.0)
            scene = scene_of(seen, situation, combination, order)
            settled = [i for i in range(len(observed)) if i != seen.reference]
            found = self._network(seen)(scene, settled)
            corrections = found[: len(order)]
            fine = _fine(motion, seen, combination.mean[order], corrections)
            velocities = [proposal + trust.network * (found - proposal) for proposal, found in fine]
            sources = motion.velocities.clone()
            for i, correction in zip(settled, found[len(order) :], strict=True):
                at = _finer(correction, motion, seen).applied(motion.velocities[i], motion.velocities)
                sources[i] += trust.network * (at - sources[i])
            factor = 1.0 if self.calibration is None else self.calibration.factor(len(observed))
            modelled = displacement_sd(motion, combination, observed.grid)
            spread = []
            for place, correction, (proposal, found) in zip(order, corrections, fine, strict=True):
                own = resample(SD_OF_SCALE * correction.log_scale.exp(), seen.grid, observed.grid).cpu()
                apart = resample((found - proposal).norm(dim=0), motion.grid, observed.grid).cpu()
                spread.append(factor * mixed_sd(trust.network, own, modelled[place], apart))
        back = np.argsort(order).tolist()
        details = {
            "trust": {name: round(value, 4) for name, value in vars(trust).items()},
            "uncertainty learned on": "generated patients alone"
            if self.calibration is None
            else f"generated patients, stretched by {factor:.2f} after {self.calibration.description}",
        }
        return Refined([velocities[i] for i in back], tuple(spread[i] for i in back), details, sources=sources)

    def _network(self, seen: WorkingMotion) -> VideoNetwork:
        return self.network or network_with(self.weights, str(seen.images.device))

    def _trust(self, seen: WorkingMotion, situation: Situation, temporal: TemporalModel) -> Trust:
        """How far the network is to be trusted on this patient."""
        left_out: list[LeftOut] = []
        for k in splits(len(seen.images)):
            if seen.reference >= k:
                continue
            known = first_phases(seen, k)
            told = part_of(situation, k)
            scene = scene_of(known, told, temporal.combine(told))
            *corrections, again = self._network(seen)(scene, [k - 1])
            # a phase that was left out was registered with the errors of the one before; the reference has none
            last = known.velocities[-1]
            common = last * 0 if seen.reference == k - 1 else again.applied(last, known.velocities) - last
            scales = [SD_OF_SCALE * c.log_scale.exp() for c in corrections]
            predicted = [v - common for v in corrected(scene, corrections)]
            fields = zip(seen.velocities[k:], scene.proposals, predicted, scales, strict=True)
            left_out += [LeftOut(*each) for each in fields]
        return find_trust(left_out, near_lung(seen.images.mean(dim=0), seen.grid))


def mixed_sd(share: float, network: ScalarVolume, model: ScalarVolume, apart: ScalarVolume) -> ScalarVolume:
    """The standard deviation where the network is right with probability `share`, and otherwise the motion model, mm.

    The mean of that mixture is the forecast; its variance holds what both expect of themselves and how far they lie
    apart.

    Args:
        share: Of the network, 0 to 1.
        network: The standard deviation that the network states, mm.
        model: That of the motion model, mm.
        apart: How far the two forecasts lie from each other, mm.
    """
    variance: ScalarVolume = (
        share * network.square() + (1 - share) * model.square() + share * (1 - share) * apart.square()
    )
    return variance.sqrt()


def scene_of(
    seen: WorkingMotion, situation: Situation, combination: Combination, order: Sequence[int] | None = None
) -> Scene:
    """What the network is shown.

    Args:
        seen: The observed phases.
        situation: What the temporal model was told.
        combination: What it said.
        order: Of the targets in time; None where they are given so.
    """
    places = np.arange(len(situation.targets)) if order is None else np.asarray(order)
    start, count = situation.observed[seen.reference], len(situation.observed)
    weights = torch.as_tensor(combination.mean[places], dtype=seen.velocities.dtype).to(seen.velocities)
    return Scene(
        seen.images,
        seen.velocities,
        (situation.observed - start) % 1.0,
        seen.reference,
        torch.tensordot(weights, seen.velocities, dims=1),
        (situation.targets[places] - start) % 1.0,
        doubts_of(combination, situation.gram)[places],
        None if situation.amplitude is None else situation.amplitude[[*range(count), *(count + places)]],
    )


def first_phases(seen: WorkingMotion, count: int) -> WorkingMotion:
    """The first observed phases alone."""
    return replace(seen, images=seen.images[:count], velocities=seen.velocities[:count])


def part_of(situation: Situation, count: int) -> Situation:
    """The situation in which the phases after the first `count` observed ones are the targets."""
    s, k = situation, len(situation.observed)
    return Situation(
        s.gram[:count, :count],
        s.observed[:count],
        s.observed[count:],
        None if s.inhale is None else s.inhale[:count],
        None if s.amplitude is None else s.amplitude[:k],
    )


def _fine(
    motion: ObservedMotion, seen: WorkingMotion, weights: Array, corrections: Sequence[Correction]
) -> list[tuple[VectorVolume, VectorVolume]]:
    """Proposals and corrected velocities on the motion's own grid, in the order of time."""
    velocities = motion.velocities
    found = []
    for share, correction in zip(weights, corrections, strict=True):
        proposal = combined(motion.velocities, share)
        velocity = _finer(correction, motion, seen).applied(proposal, velocities)
        velocities = torch.cat([velocities, velocity[None]])
        found.append((proposal, velocity))
    return found


def _finer(correction: Correction, motion: ObservedMotion, seen: WorkingMotion) -> Correction:
    """A correction on the motion's own grid; its scale stays as it is."""
    parts = [resample(part, seen.grid, motion.grid) for part in (correction.weights, correction.residual)]
    return Correction(parts[0], parts[1], correction.log_scale)
