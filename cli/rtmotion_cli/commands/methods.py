"""`rtmotion methods`: the forecasters that are installed."""

import os
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtmotion.methods import Method, available_forecasters
from rtmotion_cli.options import Json, Quiet, UnusedDevice, UnusedSeed, Verbose
from rtmotion_cli.terminal import write_json, write_line, write_table

if TYPE_CHECKING:
    from rtmotion_baselines.registration.engines import Engine

SCHEMA = "rtmotion.methods/1"
PAIRS = "dvf"
"""The kind of the methods that are a registration engine with a temporal model."""


def methods(
    json: Json = False,
    device: UnusedDevice = "auto",
    seed: UnusedSeed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Lists the forecasters: what each is, whether its weights are present and its optional package is installed.

    The registration baselines, any engine with any temporal model, are shown as two tables; --json lists them all.
    """
    cards = available_forecasters().values()
    if json:
        write_json({"schema": SCHEMA, "methods": [entry(m) for m in cards]})
        return
    rows = [(m.name, m.kind, weights_state(m), m.summary) for m in cards if m.kind != PAIRS]
    write_table(("method", "kind", "weights", "what it does"), rows)
    show_pairs(sum(m.kind == PAIRS for m in cards))


def show_pairs(count: int) -> None:
    """The registration engines and the temporal models, which make `count` methods."""
    from rtmotion_baselines.methods import TEMPORAL
    from rtmotion_baselines.registration.engines import ENGINES

    write_line(f"ENGINE+TEMPORAL, such as svf+closure: {count} methods of kind {PAIRS}, from these two tables")
    rows = [(e.name, package_state(e), weights_state(e), e.summary) for e in ENGINES.values()]
    write_table(("engine", "package", "weights", "what it does"), rows)
    write_table(("temporal model", "how the fields go on"), list(TEMPORAL.items()))


def entry(method: Method) -> dict[str, Any]:
    """A method as --json lists it."""
    return {
        "name": method.name,
        "kind": method.kind,
        "summary": method.summary,
        "weights": weights_state(method),
        "installed": method.installed,
        "install": None if method.requires is None else method.requires.pip_line,
    }


def package_state(card: "Method | Engine") -> str:
    """`installed`, or the line that installs what is missing."""
    return "installed" if card.requires is None or card.requires.installed else card.requires.pip_line


def weights_state(card: "Method | Engine") -> str:
    """`none needed`, `present` or `missing`; where the user brings them, the environment variable that names them."""
    if card.weights is None:
        return "none needed"
    if card.weights.startswith("$"):
        given = os.environ.get(card.weights[1:], "")
        return "present" if given and Path(given).is_file() else f"yours: {card.weights}"
    package = card.target.partition(".")[0].partition(":")[0]
    return "present" if files(package).joinpath(card.weights).is_file() else "missing"
