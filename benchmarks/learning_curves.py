"""How far from converged the networks are: validation over the steps of their training.

    python benchmarks/learning_curves.py benchmarks/results/*_training_*.csv [--out curves.html]

The logs are those of `rtmotion train`. Each network's error on patients that it was not trained on stands as a part of
that of doing nothing (`validation_error_K` over `validation_base_K`; for `video` the motion model's): below 1 it has
learned something. A line a network and k, a column a validation; and the same as a plot over seconds.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

Curve = dict[int, tuple[float, float]]
"""By step: seconds, and the error as a part of that of doing nothing."""


def main() -> None:
    """Prints the table and writes the plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="a page with the plot")
    arguments = parser.parse_args()
    curves = {path.stem.rpartition("_training_")[2]: curves_of(path) for path in arguments.logs}
    print("| network | *k* | validations, from first to last | steps | seconds |")
    print("| --- " * 5 + "|")
    for name, by_k in curves.items():
        for k, curve in sorted(by_k.items()):
            course = " ".join(f"{ratio:.2f}" for _, ratio in curve.values())
            step, (seconds, _) = max(curve.items())
            print(f"| {name} | {k} | {course} | {step:,} | {seconds:.0f} |")
    if arguments.out:
        plot(curves, arguments.out)


def curves_of(path: Path) -> dict[int, Curve]:
    """The curves of a log by k; none where it has no such scores."""
    values: dict[tuple[int, str], float] = {}
    seconds: dict[int, float] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["part"].startswith("validation_"):
                values[int(row["step"]), row["part"].removeprefix("validation_")] = float(row["value"])
                seconds[int(row["step"])] = float(row["seconds"])
    found: defaultdict[int, Curve] = defaultdict(dict)
    for (step, part), value in values.items():
        kind, _, k = part.partition("_")
        if kind == "error" and k.isdigit():
            found[int(k)][step] = (seconds[step], value / values[step, f"base_{k}"])
    return dict(found)


def plot(curves: dict[str, dict[int, Curve]], out: Path) -> None:
    """A page with one panel a k."""
    import plotly.graph_objects as go
    from plotly.colors import qualitative
    from plotly.subplots import make_subplots

    ks = sorted({k for by_k in curves.values() for k in by_k})
    figure = make_subplots(cols=len(ks), rows=1, shared_yaxes=True, subplot_titles=[f"k = {k}" for k in ks])
    for (name, by_k), colour in zip(curves.items(), qualitative.D3, strict=False):
        for k, curve in by_k.items():
            at, ratios = zip(*curve.values(), strict=True)
            line = {"color": colour}
            trace = go.Scatter(x=at, y=ratios, name=name, line=line, legendgroup=name, showlegend=k == ks[0])
            figure.add_trace(trace, row=1, col=ks.index(k) + 1)
    figure.add_hline(y=1, line_dash="dot")
    figure.update_xaxes(title="seconds of training")
    figure.update_yaxes(title="error / error of doing nothing", col=1)
    figure.update_layout(template="plotly_white", width=1100, height=420)
    figure.write_html(out, include_plotlyjs=True)


if __name__ == "__main__":
    main()
