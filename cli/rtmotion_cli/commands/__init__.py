"""One module a command, each about ten lines: parse, call, print or save."""

from collections.abc import Callable

import typer

from rtmotion_cli.commands.calibrate import calibrate
from rtmotion_cli.commands.compare import compare
from rtmotion_cli.commands.demo import demo
from rtmotion_cli.commands.forecast import forecast
from rtmotion_cli.commands.inspect import inspect
from rtmotion_cli.commands.methods import methods
from rtmotion_cli.commands.phantom import phantom
from rtmotion_cli.commands.register import register as register_phases
from rtmotion_cli.commands.report import report
from rtmotion_cli.commands.train import train

EXAMPLES = {
    "inspect": "rtmotion inspect /data/patient_07",
    "phantom": "rtmotion phantom patient --seed 7 --size 128 128 96 --spacing 2.5",
    "forecast": "rtmotion forecast /data/patient_07 --observe 5 --out forecast_07",
    "compare": "rtmotion compare /data/patient_* --phantoms 8 --observe 3,5,7 --preset standard --out comparison",
    "methods": "rtmotion methods",
    "register": "rtmotion register /data/patient_07 --reference T50 --out fields_07",
    "report": "rtmotion report forecast_07",
    "calibrate": "rtmotion calibrate /data/patient_* --observe 3,5,7 --out calibration.json",
    "train": "rtmotion train video --cases /data/patient_01 --cases /data/patient_02 --out tuned",
    "demo": "rtmotion demo",
}
"""What the help of each command ends with."""


def register(app: typer.Typer) -> None:
    """Adds all commands to the application."""
    commands: dict[str, Callable[..., None]] = {
        "inspect": inspect,
        "phantom": phantom,
        "forecast": forecast,
        "compare": compare,
        "methods": methods,
        "register": register_phases,
        "report": report,
        "calibrate": calibrate,
        "train": train,
        "demo": demo,
    }
    for name, command in commands.items():
        app.command(name, epilog=f"Example:  {EXAMPLES[name]}")(command)
