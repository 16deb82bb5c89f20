"""What a comparison leaves of each single forecast: its page, and its volumes and fields where they are wanted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtmotion.methods import find_method
from rtmotion_cli.cases import versions

if TYPE_CHECKING:
    from rtmotion.evaluation.protocol import MetricRow
    from rtmotion.forecasting import Forecast
    from rtmotion.sequence import PhaseSequence
    from rtmotion_data.found import FoundSequence


@dataclass(frozen=True)
class SaveForecast:
    """Writes the page of a forecast into its folder of the comparison, and its files; travels to another process.

    Attributes:
        found: What was found of each case that was read, by the name of its folder; the others were generated.
        device: Torch device.
        seed: Of everything random.
    """

    found: "dict[str, FoundSequence]"
    device: str
    seed: int

    def __call__(
        self,
        folder: Path,
        forecast: "Forecast",
        observed: "PhaseSequence",
        truth: "PhaseSequence",
        rows: "Sequence[MetricRow]",
        *,
        keep_volumes: bool,
    ) -> None:
        """See `rtmotion.evaluation.cohort.ForecastWriter`; the folder is `<case>/<k>/<method>`."""
        from rtmotion.report import write_forecast_summary

        name = folder.parent.parent.name
        case = self.found.get(name) or generated(name, observed, truth)
        if keep_volumes:
            from rtmotion_data.writers.forecast import write_forecast

            write_forecast(
                folder, forecast, observed, case, metrics=rows, device=self.device, seed=self.seed, versions=versions()
            )
        info: dict[str, Any] = {
            "case": case.name,
            "format": case.format,
            "device": self.device,
            "seed": self.seed,
            "versions": versions(),
            "warnings": list(case.warnings),
            "kind": find_method(forecast.method).kind,
        }
        write_forecast_summary(folder, forecast, observed, truth, rows, info, full=keep_volumes)


def generated(name: str, observed: "PhaseSequence", truth: "PhaseSequence") -> "FoundSequence":
    """What a reader would say of a generated patient."""
    from rtmotion_data.found import FoundPhase, FoundSequence

    phases = sorted((*observed.phases, *truth.phases))
    found = tuple(FoundPhase(p.label, p.fraction, "generated at this fraction of the cycle", 1.0, ()) for p in phases)
    return FoundSequence("phantom", observed.grid, found, ("a generated patient, not a real one",), name)
