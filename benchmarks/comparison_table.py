"""The table of a comparison for a page: one line a method, from what `rtmotion compare` wrote.

    python benchmarks/comparison_table.py comparison --together phantom
    python benchmarks/comparison_table.py comparison --metrics skill,tre_mean,coverage_80 --at 3,5,7

Columns: mean absolute error in the body (HU), mean over the future phases, for every case and k; cases whose names
begin with the text of --together are averaged into one, and have their landmark error (mm) and skill at the middle k.
Seconds: wall time of a forecast, mean over all cases and k. With --metrics another table: these metrics (in the body,
the lung or at landmarks, as they are; skill too), mean over the future phases, at some k, by case and for the others
together.
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

ORDER = ("predictor", "dvf", "generative", "trivial", "bound")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what rtmotion compare wrote")
    parser.add_argument("--together", default="phantom", help="average the cases whose names begin so")
    parser.add_argument("--metrics", help="names of metrics of the protocol: that table instead")
    parser.add_argument("--at", default="5", help="the k of that table, several with commas")
    arguments = parser.parse_args()
    summary = json.loads((arguments.folder / "summary.json").read_text(encoding="utf-8"))
    groups: dict[str, list[str]] = {}
    for case in summary["cases"]:
        one = case.startswith(arguments.together)
        groups.setdefault(arguments.together if one else case, []).append(case)
    if arguments.metrics:
        at = [int(k) for k in arguments.at.split(",")]
        print_metrics(arguments.folder / "results.csv", arguments.metrics.split(","), at, groups, summary)
        return
    errors = {(s["case"], s["observe"], s["method"]): s["error"] for s in summary["per_case"]}
    skills = {(s["case"], s["observe"], s["method"]): s["skill"] for s in summary["per_case"]}
    landmarks = landmark_errors(arguments.folder / "results.csv")
    seconds = defaultdict(list)
    for entry in summary["summary"]:
        seconds[entry["method"]].append(entry["seconds"])
    ks, together = summary["observe"], groups.get(arguments.together, [])

    middle = ks[len(ks) // 2]
    head = ["method", *(f"{name} *k*={k}" for name in groups for k in ks)]
    head += [f"TRE *k*={middle}, mm", f"skill *k*={middle}", "seconds"]
    print("| " + " | ".join(head) + " |")
    print("| --- " * len(head) + "|")
    for method in sorted(summary["methods"], key=lambda m: ORDER.index(m["kind"])):
        name = method["name"]
        cells = [f"*{name}*" if method["kind"] == "bound" else f"`{name}`"]
        cells += [mean((errors.get((c, k, name)) for c in cases), 1) for cases in groups.values() for k in ks]
        cells.append(mean((landmarks.get((c, middle, name)) for c in together), 2))
        cells.append(mean((skills.get((c, middle, name)) for c in together), 2))
        cells.append(mean(seconds[name], 1))
        print("| " + " | ".join(cells) + " |")


def print_metrics(
    path: Path, metrics: list[str], ks: list[int], groups: dict[str, list[str]], summary: dict[str, Any]
) -> None:
    """The table of other metrics."""
    found: defaultdict[tuple[str, int, str, str], list[float]] = defaultdict(list)
    units: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["metric"] in metrics and row["region"] in ("body", "lung", "landmarks"):
                found[row["case"], int(row["observe"]), row["method"], row["metric"]].append(float(row["value"]))
                units[row["metric"]] = row["unit"]
    for score in summary["per_case"]:
        if "skill" in metrics and score["skill"] is not None:
            found[score["case"], score["observe"], score["method"], "skill"].append(score["skill"])
            units["skill"] = "1"
    shown = [(metric, name, k) for metric in metrics if metric in units for name in groups for k in ks]
    head = ["method", *(f"{metric} ({units[metric]}), {name}, *k*={k}" for metric, name, k in shown)]
    print("| " + " | ".join(head) + " |")
    print("| --- " * len(head) + "|")
    for method in sorted(summary["methods"], key=lambda m: ORDER.index(m["kind"])):
        cells = [f"`{method['name']}`"]
        for metric, name, k in shown:
            values = [found.get((case, k, method["name"], metric)) for case in groups[name]]
            cells.append(mean((fmean(v) for v in values if v), 2))
        print("| " + " | ".join(cells) + " |")


def landmark_errors(path: Path) -> dict[tuple[str, int, str], float]:
    """The mean landmark error over the future phases by case, k and method."""
    found = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["metric"] == "tre_mean":
                found[row["case"], int(row["observe"]), row["method"]].append(float(row["value"]))
    return {key: fmean(values) for key, values in found.items()}


def mean(values: Iterable[float | None], digits: int) -> str:
    """The mean of what is known, as text; a dash where nothing is."""
    known = [v for v in values if v is not None]
    return f"{fmean(known):.{digits}f}" if known else "–"


if __name__ == "__main__":
    main()
