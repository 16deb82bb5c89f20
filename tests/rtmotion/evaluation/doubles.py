"""Forecasters that stand in for real ones in a comparison; made from cards, in this or another process."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from rtmotion.forecasting import Forecast
from rtmotion.methods import Method
from rtmotion.sequence import BreathingTrace, Phase, PhaseSequence, Volume
from tests.rtmotion.evaluation.tiny import Shifted

HERE = "tests.rtmotion.evaluation.doubles"


class Broken:
    """Fails on every case."""

    name = "broken"

    def forecast(
        self, observed: PhaseSequence, targets: Sequence[Phase], trace: BreathingTrace | None = None
    ) -> Forecast:
        raise ValueError("no such luck\nand more lines that belong in a log")


class Between:
    """Knows the truth, and gives it mixed with the last phase."""

    name = "oracle-svf"

    def __init__(self, truth: PhaseSequence, share: float) -> None:
        self.truth, self.share = truth, share

    def forecast(
        self, observed: PhaseSequence, targets: Sequence[Phase], trace: BreathingTrace | None = None
    ) -> Forecast:
        last = observed.volumes[-1].hu
        volumes = (Volume(last + self.share * (self.truth.volume(t.label).hu - last), observed.grid) for t in targets)
        return Forecast(self.name, tuple(targets), tuple(volumes))


def shifted() -> Shifted:
    return Shifted(1.0)


def broken() -> Broken:
    return Broken()


def between(truth: PhaseSequence, share: float = 0.9) -> Between:
    return Between(truth, share)


def nosy(truth: PhaseSequence | None = None) -> Shifted:
    """A predictor that would take the truth if it were handed it."""
    if truth is not None:
        raise AssertionError("a predictor was handed the true phases")
    return Shifted()


METHODS = {
    "shifted": Method("shifted", "predictor", "the exact shift", f"{HERE}:shifted"),
    "broken": Method("broken", "predictor", "fails", f"{HERE}:broken"),
    "nosy": Method("nosy", "predictor", "looks for the truth", f"{HERE}:nosy"),
    "oracle-svf": Method("oracle-svf", "bound", "nearly the truth", f"{HERE}:between"),
}


def digest(forecast: Forecast) -> str:
    """A hash of the voxels that a forecast predicts, and of its fields."""
    state = hashlib.sha256()
    for volume in forecast.volumes:
        state.update(volume.data.detach().cpu().numpy().tobytes())
    for field in forecast.displacements or ():
        state.update(field.data.detach().cpu().numpy().tobytes())
    return state.hexdigest()


def save_digest(
    folder: Path,
    forecast: Forecast,
    observed: PhaseSequence,
    truth: PhaseSequence,
    rows: Sequence[object],
    *,
    keep_volumes: bool,
) -> None:
    """A writer of a comparison that keeps the hash of each forecast."""
    facts = (digest(forecast), keep_volumes, len(rows) > 0, len(observed), len(truth))
    (folder / "digest.txt").write_text(" ".join(map(str, facts)), encoding="utf-8")


def unreadable() -> PhaseSequence:
    """A case whose files are damaged."""
    raise ValueError("a broken file")
