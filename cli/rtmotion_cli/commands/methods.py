"""`rtmotion methods`: the forecasters that are installed."""

from importlib.resources import files

from rtmotion.methods import Method, available_forecasters
from rtmotion_cli.options import Json, Quiet, UnusedDevice, UnusedSeed, Verbose
from rtmotion_cli.terminal import write_json, write_table

SCHEMA = "rtmotion.methods/1"


def methods(
    json: Json = False,
    device: UnusedDevice = "auto",
    seed: UnusedSeed = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Lists the installed forecasters: what each is, and whether its weights are present."""
    cards = available_forecasters().values()
    if json:
        entries = [{"name": m.name, "kind": m.kind, "summary": m.summary, "weights": weights_state(m)} for m in cards]
        write_json({"schema": SCHEMA, "methods": entries})
    else:
        rows = [(m.name, m.kind, weights_state(m), m.summary) for m in cards]
        write_table(("method", "kind", "weights", "what it does"), rows)


def weights_state(method: Method) -> str:
    """`none needed`, `present` or `missing`."""
    if method.weights is None:
        return "none needed"
    package = method.target.partition(".")[0].partition(":")[0]
    return "present" if files(package).joinpath(method.weights).is_file() else "missing"
