"""Cuts the prior waveforms that ship in the package from recordings of an external marker.

    python benchmarks/waveforms.py PATH/TO/breathing_traces

The recordings are those of Krilavičius et al. (CC BY 4.0); files of one session share the first twelve characters of
their names (the time of recording), and a cross-validation must leave out whole sessions.
"""

import sys
from pathlib import Path

import numpy as np

from rtmotion_data.traces import cycles, read_trace

BINS = 20
STORE = Path(__file__).parents[1] / "rtmotion" / "cycle" / "cycles.npz"


def main(folder: Path) -> None:
    """Writes cycles (float16, amplitude 0 to 1) and the number of their session."""
    files = sorted(folder.glob("*.csv"))
    sessions = sorted({f.name[:12] for f in files})
    rows, numbers = [], []
    for file in files:
        found = cycles(read_trace(file), bins=BINS)
        rows.append(found)
        numbers += [sessions.index(file.name[:12])] * len(found)
        print(f"{file.name}: {len(found)} cycles")
    stored = np.concatenate(rows).astype(np.float16)
    np.savez_compressed(STORE, cycles=stored, recording=np.array(numbers, dtype=np.int16))
    print(f"{len(stored)} cycles of {len(set(numbers))} sessions, {STORE.stat().st_size / 1024:.0f} kB")
    print("mean", stored.mean(axis=0, dtype=float).round(2), "sd", stored.astype(float).std(axis=0).round(2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
