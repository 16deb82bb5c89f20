"""Data-parallel training under torchrun, on the CPU."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.rtmotion.training.toy import SLOPE

REPOSITORY = Path(__file__).resolve().parents[3]
PROGRAM = """
import sys
from pathlib import Path
from rtmotion.training import TrainingConfig, train
from tests.rtmotion.training.toy import LineRecipe, numbers

config = TrainingConfig(steps=60, rate=0.1, warmup=5, average=0.9, pool=2, steps_each=5, validate_every=30)
train(LineRecipe(), numbers, [0.5], config, Path(sys.argv[1]))
"""


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(script), str(tmp_path / "out")], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert load_file(tmp_path / "out" / "line.safetensors")["weight"].item() == pytest.approx(SLOPE, abs=0.05)
    with (tmp_path / "out" / "log.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["part"] == "loss"]
    assert steps == [20, 40, 60], "one process alone writes the log"
