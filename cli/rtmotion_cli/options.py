"""The options that commands share; their names are the parameter names of the API."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from rtmotion.errors import RtmotionError

PATH_HELP = "A DICOM folder, a 4D image, a folder with one 3D image a phase, a DIR-Lab case or a phantom."

InputPath = Annotated[
    list[Path],
    typer.Argument(metavar="PATH", help=f"{PATH_HELP} Or several 3D images, one a phase.", show_default=False),
]

Study = Annotated[
    str | None, typer.Option("--study", help="Which study, where the folder holds several (inspect lists them).")
]
Phases = Annotated[
    str | None,
    typer.Option("--phases", metavar="0,10,...", help="Percentages of the phases in order, where nothing says them."),
]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda|cuda:N", help="auto: cuda where there is one.")]
UnusedDevice = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda|cuda:N", hidden=True)]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, help="Same seed, same device, same result.")]
UnusedSeed = Annotated[int, typer.Option("--seed", min=0, max=2**31 - 1, hidden=True)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but results and errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more, and where a fault came from.")]


def parse_numbers(text: str, option: str) -> list[float]:
    """The numbers of a comma-separated option.

    >>> parse_numbers("0, 10,20", "--phases")
    [0.0, 10.0, 20.0]

    Raises:
        RtmotionError: If an entry is no finite number.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(abs(n) < float("inf") for n in numbers):
        raise RtmotionError(f"{option} takes numbers separated by commas, such as 0,10,20; got {text!r}")
    return numbers


def join_spacing(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--spacing X Y Z` as `--spacing X,Y,Z`, so that one number and three are both taken.

    >>> join_spacing(["phantom", "out", "--spacing", "2", "2", "2.5", "-q"])
    ['phantom', 'out', '--spacing', '2,2,2.5', '-q']
    """
    joined = list(arguments)
    if "--spacing" in joined:
        first = joined.index("--spacing") + 1
        numbers = joined[first : first + 3]
        if len(numbers) == 3 and all(re.fullmatch(r"\d+(\.\d+)?", n) for n in numbers):
            joined[first : first + 3] = [",".join(numbers)]
    return joined


def parse_phases(text: str | None) -> list[float] | None:
    """The percentages of `--phases`.

    Raises:
        RtmotionError: If one of them is not in 0 to 100.
    """
    if text is None:
        return None
    percentages = parse_numbers(text, "--phases")
    wrong = [p for p in percentages if not 0 <= p < 100]
    if wrong or len(set(percentages)) != len(percentages):
        raise RtmotionError(f"--phases takes different percentages from 0 to below 100, got {text!r}")
    return percentages


def parse_observe(text: str) -> list[int]:
    """The counts of `--observe K[,K2,...]`, each at least 2, in order and without repeats.

    >>> parse_observe("5,3,5")
    [3, 5]

    Raises:
        RtmotionError: If an entry is no whole number of at least 2.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= 2 for part in parts):
        raise RtmotionError(f"--observe takes how many phases are given, at least 2 (several: 3,5,7); got {text!r}")
    return sorted({int(part) for part in parts})


def parse_names(text: str) -> list[str]:
    """The names of a comma-separated option, in their order and without repeats.

    >>> parse_names("video, persistence,video")
    ['video', 'persistence']
    """
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def resolve_device(device: str) -> str:
    """The torch device of `--device`: `cpu` or `cuda:N`.

    Raises:
        RtmotionError: If there is no such device on this machine.
    """
    kind, _, index = device.partition(":")
    if device == "cpu":
        return device
    if device != "auto" and (kind != "cuda" or (":" in device and not index.isdecimal())):
        raise RtmotionError(f"unknown --device {device!r}; known: auto, cpu, cuda, cuda:N")
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda:0" if count else "cpu"
    if int(index or 0) >= count:
        raise RtmotionError(
            f"--device {device}: this machine has {count} CUDA device{'s' * (count != 1)} that torch can use; "
            "take --device cpu, or install a torch built for CUDA"
        )
    return f"cuda:{index or 0}"
