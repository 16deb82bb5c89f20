"""`rtmotion demo`: a generated patient, a forecast, a comparison with the quick baselines, and their reports."""

from pathlib import Path
from typing import Any

from rtmotion_cli.comparison_run import ComparisonRequest, run_comparison
from rtmotion_cli.forecasting_run import ForecastRequest, run_forecast
from rtmotion_cli.output_folder import check_output
from rtmotion_cli.phantom_run import PhantomRequest, run_phantom
from rtmotion_cli.terminal import Terminal

SIZE = (80, 64, 56)
SPACING = "5"
OBSERVE = 5
METHODS = ("video", "svf+closure")


def run_demonstration(out: Path, device: str, seed: int, terminal: Terminal) -> dict[str, Any]:
    """Generates, forecasts, compares.

    A patient that an earlier demonstration left is taken again; `compare` redoes only what is missing.

    Returns:
        The folder and the paths of the two reports.
    """
    check_output(out)
    patient = out / f"patient_{seed}"
    if not (patient / "phantom.json").is_file():
        terminal.say(f"generating a breathing patient: {patient}")
        run_phantom(PhantomRequest(patient, size=SIZE, spacing=SPACING, device=device, seed=seed), terminal)
    terminal.say(f"forecasting the phases after the first {OBSERVE}: {out / 'forecast'}")
    forecast = run_forecast(
        ForecastRequest((patient,), OBSERVE, out=out / "forecast", device=device, seed=seed), terminal
    )
    terminal.say(f"comparing with the quick baselines: {out / 'comparison'}")
    run_comparison(
        ComparisonRequest((patient,), (OBSERVE,), METHODS, out / "comparison", device=device, seed=seed), terminal
    )
    return {
        "folder": str(out),
        "forecast": str(forecast.folder / "report.html"),
        "comparison": str(out / "comparison" / "report.html"),
    }
