"""In what order methods are shown, and what each looks like in every plot of a comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

from rtmotion.report.figures import Figure, clean

Entry = Mapping[str, Any]

KINDS = {
    "predictor": "forecasts with a model of breathing",
    "generative": "generates images or fields",
    "dvf": "registration engine + temporal model",
    "trivial": "needs no model: what every method has to beat",
    "bound": "knows the answer: no competitor, shows what is left to gain",
}
"""The kinds in the order in which they are shown, and what they are; unknown ones come before `trivial`."""

PREDICTOR_COLOURS = ("var:predicted", "#0b9ed9", "#6a4fd8")
ENGINE_COLOURS = ("#e4792b", "#1aa37a", "#a259c4", "#d1495b", "#8c6d46", "#b8860b", "#4f7f2a", "#c2459e")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "pentagon", "hexagram", "triangle-down", "cross")

MAIN_OTHERS = 4
MAIN_TRIVIAL = 2


def kind_rank(kind: str) -> int:
    """The place of a kind: unknown ones come before the trivial baselines."""
    order = list(KINDS)
    return order.index(kind) if kind in order else order.index("trivial") - 1


def ordered_methods(entries: Sequence[Entry]) -> list[Entry]:
    """One entry a method, by kind, then by the mean error over its numbers of observed phases."""
    of_method: dict[str, list[Entry]] = {}
    for entry in entries:
        of_method.setdefault(str(entry["method"]), []).append(entry)

    def place(group: Sequence[Entry]) -> tuple[int, float, str]:
        errors = [e["error"] for e in group if e["error"] is not None]
        mean = sum(errors) / len(errors) if errors else float("inf")
        return kind_rank(str(group[0]["kind"])), mean, str(group[0]["method"])

    return [group[0] for group in sorted(of_method.values(), key=place)]


def main_methods(entries: Sequence[Entry]) -> set[str]:
    """The methods that the plots begin with, where all would be too many: predictors, bounds, the best of the rest."""
    ordered = ordered_methods(entries)
    chosen = [e for e in ordered if e["kind"] in ("predictor", "bound")]
    others = [e for e in ordered if kind_rank(str(e["kind"])) < kind_rank("trivial") and e["kind"] != "predictor"]
    errors: dict[str, list[float]] = {}
    for e in entries:
        if e["error"] is not None:
            errors.setdefault(str(e["method"]), []).append(e["error"])
    others.sort(key=lambda e: _mean(errors.get(str(e["method"]), [])))
    chosen += others[:MAIN_OTHERS]
    chosen += [e for e in ordered if e["kind"] == "trivial"][:MAIN_TRIVIAL]
    return {str(e["method"]) for e in chosen}


def method_styles(entries: Sequence[Entry]) -> dict[str, Figure]:
    """Method to the looks of its line, in the order in which methods are shown.

    The colour of a DVF method is its engine, its dash and symbol the temporal model; trivial baselines are grey, bounds
    in the colour of the truth.
    """
    styles: dict[str, Figure] = {}
    engines: list[str] = []
    models: list[str] = []
    count = {"predictor": 0, "trivial": 0, "bound": 0}
    for entry in ordered_methods(entries):
        name, kind = str(entry["method"]), str(entry["kind"])
        n = count.get(kind, 0)
        if kind in count:
            count[kind] += 1
            colours = {"predictor": PREDICTOR_COLOURS, "trivial": ("var:reference",), "bound": ("var:truth",)}[kind]
            colour, symbol = colours[n % len(colours)], SYMBOLS[n % len(SYMBOLS)]
            dash = {"predictor": "solid", "trivial": "dot", "bound": "dash"}[kind]
        else:
            engine, _, model = name.partition("+")
            colour = ENGINE_COLOURS[_place(engines, engine) % len(ENGINE_COLOURS)]
            at = _place(models, model)
            dash, symbol = DASHES[at % len(DASHES)], SYMBOLS[at % len(SYMBOLS)]
        aside = kind in ("trivial", "bound")
        styles[name] = {
            "name": f"{clean(name)} ({kind})" if aside else clean(name),
            "line": {"color": colour, "dash": dash, "width": 1.5 if aside else 3.2 if kind == "predictor" else 2.2},
            "marker": {"color": colour, "symbol": symbol, "size": 6 if aside else 9},
            "meta": {"method": name, "kind": kind},
        }
    return styles


def first_observe(known: Sequence[int]) -> int:
    """The number of observed phases that is shown first: 5, which is the protocol's, else the middle one."""
    ordered = sorted(set(known))
    return 5 if 5 in ordered else ordered[len(ordered) // 2]


def _place(known: list[str], name: str) -> int:
    if name not in known:
        known.append(name)
    return known.index(name)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("inf")
