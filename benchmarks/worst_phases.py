"""Where a method of a comparison does worst: the phases with the largest avoidable error.

    python benchmarks/worst_phases.py comparison --method video [--rows 12]

Avoidable is what the warp that was fitted to the true phase (`oracle-svf`) does not lose: mean absolute error in the
body (HU) less that of the oracle. Beside it what standing still (`persistence`) loses, the best method without future
knowledge at that phase, and, where landmarks are known, their error (mm).
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

BOUNDS = ("oracle-svf", "oracle-waveform", "closest-observed")
Place = tuple[str, int, str]
"""Case, observed phases, phase."""


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what rtmotion compare wrote")
    parser.add_argument("--method", default="video")
    parser.add_argument("--rows", type=int, default=12)
    given = parser.parse_args()
    errors: dict[Place, dict[str, float]] = defaultdict(dict)
    landmarks: dict[Place, float] = {}
    with (given.folder / "results.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            place = (row["case"], int(row["observe"]), row["phase"])
            if (row["region"], row["metric"]) == ("body", "mae"):
                errors[place][row["method"]] = float(row["value"])
            elif row["metric"] == "tre_mean" and row["method"] == given.method:
                landmarks[place] = float(row["value"])
    known = {p: e for p, e in errors.items() if given.method in e and "oracle-svf" in e}
    worst = sorted(known, key=lambda p: known[p]["oracle-svf"] - known[p][given.method])[: given.rows]
    head = ("case", "*k*", "phase", f"{given.method}, HU", "avoidable, HU", "persistence, HU", "best, HU", "TRE, mm")
    print("| " + " | ".join(head) + " |\n" + "| --- " * len(head) + "|")
    for place in worst:
        found = known[place]
        fair = {m: e for m, e in found.items() if m not in BOUNDS}
        best = min(fair, key=lambda m: fair[m])
        own, oracle = found[given.method], found["oracle-svf"]
        tre = f"{landmarks[place]:.1f}" if place in landmarks else "–"
        still = f"{found['persistence']:.1f}" if "persistence" in found else "–"
        cells = [place[0], str(place[1]), place[2], f"{own:.1f}", f"{own - oracle:.1f}", still]
        print("| " + " | ".join([*cells, f"{fair[best]:.1f} ({best})", tre]) + " |")


if __name__ == "__main__":
    main()
