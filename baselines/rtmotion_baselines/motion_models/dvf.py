"""A DVF baseline: any registration engine, any temporal model, the reference phase warped."""

from rtmotion.cycle.forecaster import FieldForecaster
from rtmotion.cycle.observed import Progress
from rtmotion.cycle.temporal import temporal_model
from rtmotion_baselines.registration.engines import create_engine


def create(
    engine: str, temporal: str, device: str = "cpu", seed: int = 0, progress: Progress | None = None
) -> FieldForecaster:
    """The baseline `ENGINE+TEMPORAL`.

    Args:
        engine: Name of a registration engine.
        temporal: Name of a temporal model.
        device: Torch device; engines that only run on the CPU stay there.
        seed: Of the samples behind the waveform's interval.
        progress: Called with a stage's name, steps done and steps in all.
    """
    return FieldForecaster(
        f"{engine}+{temporal}",
        create_engine(engine),
        temporal_model(temporal),
        device=device,
        seed=seed,
        progress=progress,
    )
