"""The tensor shapes in the signatures hold at run time (jaxtyping with beartype, in a process of its own)."""

import os
import subprocess
import sys
from pathlib import Path

CHECKED = "rtmotion.field,rtmotion.grid,rtmotion.interop"

WRONG_SHAPE = """
from jaxtyping import TypeCheckError, install_import_hook
with install_import_hook(["rtmotion.field", "rtmotion.grid"], "beartype.beartype"):
    from rtmotion.field import jacobian_determinant
    from rtmotion.grid import Grid
import torch
jacobian_determinant(torch.zeros(3, 4, 4, 4), Grid((4, 4, 4)))
try:
    jacobian_determinant(torch.zeros(2, 4, 4, 4), Grid((4, 4, 4)))
except TypeCheckError:
    print("refused")
"""


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # a crash or a loop in there must not hang the suite
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=300,
        check=False,
        env=os.environ,
    )


def test_a_wrong_shape_is_noticed(repository: Path) -> None:
    done = run("-c", WRONG_SHAPE, folder=repository)
    assert done.stdout.strip() == "refused", done.stderr


def test_the_fields_keep_to_their_shapes(repository: Path) -> None:
    done = run(
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        f"--jaxtyping-packages={CHECKED},beartype.beartype",
        "tests/rtmotion/test_field.py",
        folder=repository,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
