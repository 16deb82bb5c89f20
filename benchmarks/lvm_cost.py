"""What large vision models of several sizes cost for a patient, and how near lvm-mini comes to the machine's limits.

    python benchmarks/lvm_cost.py [--out results.csv]

The table is counted, not measured, for GPUs of given peak operations and memory bandwidth; the last lines are measured
on this machine: how fast it multiplies matrices and copies memory, and what lvm-mini makes of it.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

import torch

from rtmotion.lvm.checkpoint import PRESETS
from rtmotion.lvm.cost import Cost, Speaker, Task, cost
from rtmotion.lvm.generation import continued
from rtmotion.lvm.model import load_model

GPUS = {"A100 80GB": (312e12, 2.0e12), "H100 80GB": (989e12, 3.35e12), "H200": (989e12, 4.8e12)}
"""Dense bfloat16 operations and bytes a second, from the vendor's data sheets."""

COLUMNS = (
    "model",
    "parameters",
    "tokens read",
    "tokens said",
    "Tera-operations",
    "weights (GB)",
    "cache (GB)",
    "moved (TB)",
)


def row(name: str, speaker: Speaker, found: Cost) -> list[str]:
    """A line of the table."""
    times = [f"{found.seconds(o, b, n):.1f}" for o, b in GPUS.values() for n in (1, 8)]
    return [
        name,
        f"{speaker.parameters:,}",
        f"{found.read:,}",
        f"{found.said:,}",
        f"{found.operations / 1e12:,.0f}",
        f"{found.weight_bytes / 1e9:.2f}",
        f"{found.cache_bytes / 1e9:.2f}",
        f"{found.moved_bytes / 1e12:.2f}",
        *times,
    ]


def machine() -> tuple[float, float]:
    """Operations and bytes a second of this machine, float32: a product of matrices, and the sum of a large array."""
    a = torch.randn(1024, 1024)
    large = torch.randn(64 * 2**20)
    best = [float("inf")] * 2
    for _ in range(5):
        for i, work in enumerate((lambda: a @ a, lambda: large.sum())):
            started = time.perf_counter()
            work()
            best[i] = min(best[i], time.perf_counter() - started)
    return 2 * 1024**3 / best[0], large.numel() * 4 / best[1]


def main() -> None:
    """Prints the table and the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="a CSV file of the table")
    parser.add_argument("--slices", type=int, default=16, help="sentences that are measured")
    given = parser.parse_args()
    header = [*COLUMNS, *(f"{n} x {gpu} (s)" for gpu in GPUS for n in (1, 8))]
    rows = []
    for name in ("100m", "300m", "1b", "3b", "7b"):
        size = PRESETS[name]
        speaker = Speaker(size["hidden_size"], size["intermediate_size"], size["num_hidden_layers"])
        rows.append(row(name, speaker, cost(speaker, Task())))
    for line in (header, *rows):
        print(" | ".join(line))
    if given.out is not None:
        with given.out.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
    model = load_model()
    config, tokens = model.transformer.config, model.tokenizer.config.tokens
    speaker = Speaker(config.hidden_size, config.intermediate_size, config.num_hidden_layers, config.vocab_size)
    sentences = torch.randint(0, model.tokenizer.config.codes, (given.slices, 5 * tokens))
    started = time.perf_counter()
    continued(model.transformer, sentences, 5, tokens, model.tokenizer.config.codes, batch=given.slices)
    seconds = time.perf_counter() - started
    found = cost(speaker, Task(given.slices, 5, 5, tokens, given.slices))
    operations, moved = machine()
    # lvm-mini runs in float32 here: twice the bytes
    least = max(found.operations / operations, 2 * found.moved_bytes / moved)
    print(
        f"lvm-mini, {given.slices} slices, 5 -> 5 frames, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}: "
        f"{seconds:.1f} s, {found.said / seconds:,.0f} tokens/s; at least {least:.1f} s at {operations / 1e9:,.0f} "
        f"GFLOP/s and {moved / 1e9:.0f} GB/s of this machine",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
