"""`rtmotion compare`: looks at every case first, then runs the methods over all of them and writes the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rtmotion.errors import PhaseError, ReadError, RtmotionError
from rtmotion.methods import find_method
from rtmotion_cli.cases import inspect_paths, said_while_reading, versions
from rtmotion_cli.output_folder import check_output
from rtmotion_cli.terminal import Terminal

if TYPE_CHECKING:
    from rtmotion.evaluation.cohort import Case
    from rtmotion.evaluation.protocol import MetricRow
    from rtmotion.forecasting import Forecast
    from rtmotion.sequence import PhaseSequence
    from rtmotion_data.found import FoundSequence

QUICK_METHODS = ("video", "svf+closure", "svf+linear")
"""What is run where no methods are named; the trivial baselines and the bounds always run."""


@dataclass(frozen=True)
class ComparisonRequest:
    """What the user asked for.

    Attributes:
        paths: The inputs, one case each.
        observe: Numbers of observed phases.
        methods: Names of forecasters.
        out: Output folder.
        scheduler: Address of a Dask scheduler, or None for this machine.
        keep_volumes: Whether every forecast's volumes and fields are kept.
        study: Which study, where a folder holds several.
        device: Torch device.
        seed: Of everything random.
    """

    paths: tuple[Path, ...]
    observe: tuple[int, ...]
    methods: tuple[str, ...]
    out: Path
    scheduler: str | None = None
    keep_volumes: bool = False
    study: str | None = None
    device: str = "cpu"
    seed: int = 0


def run_comparison(request: ComparisonRequest, terminal: Terminal) -> dict[str, Any]:
    """Compares the methods over the cases and writes tables and report.

    Returns:
        What summary.json holds.

    Raises:
        RtmotionError: If a path, an option or the output folder is of no use (nothing is written then), or if every
            case failed.
    """
    if not request.methods:
        raise RtmotionError("--methods names no method; rtmotion methods lists them")
    for name in request.methods:
        find_method(name)
    check_output(request.out)
    found = look_at_cases(request, terminal)

    from rtmotion.evaluation.cohort import folder_name
    from rtmotion.evaluation.comparison import compare
    from rtmotion.report import write_comparison_report

    cases = [
        make_case(name, path, f, request.study) for (name, f), path in zip(found.items(), request.paths, strict=True)
    ]
    saver = SaveForecast({folder_name(name): f for name, f in found.items()}, request.device, request.seed)
    with terminal.progress("comparing") as step:
        summary = compare(
            cases,
            request.observe,
            request.methods,
            request.out,
            scheduler=request.scheduler,
            device=request.device,
            seed=request.seed,
            keep_volumes=request.keep_volumes,
            save_forecast=saver,
            progress=lambda done, total, what: step(what, done, total),
        )
    with terminal.progress("building the report"):
        write_comparison_report(request.out, request.out / "report.html")
    report_failures(summary, request, terminal)
    return summary


def look_at_cases(request: ComparisonRequest, terminal: Terminal) -> "dict[str, FoundSequence]":
    """What is at each path by the name of its case, in the order of the paths.

    Raises:
        RtmotionError: If a path holds no sequence or several, or has too few phases for a k.
    """
    found: dict[str, FoundSequence] = {}
    for path in request.paths:
        sequences = inspect_paths([path], terminal, request.study).sequences
        if len(sequences) != 1:
            names = ", ".join(s.name for s in sequences) or "none"
            raise ReadError(f"{path}: one phase sequence is needed for a case, found {names}; choose one with --study")
        count = len(sequences[0].phases)
        for k in request.observe:
            if not 2 <= k < count:
                raise PhaseError(f"--observe {k}: {path} has {count} phases, so that 2 to {count - 1} can be observed")
        check_output(request.out, [file for phase in sequences[0].phases for file in phase.files])
        found[unique_name(sequences[0].name, path, found)] = sequences[0]
    terminal.warn([f"{name}: {w}" for name, f in found.items() for w in f.warnings])
    return found


def unique_name(name: str, path: Path, taken: "dict[str, FoundSequence]") -> str:
    """The name of a case, with the folder above or a number where another case has it already."""
    candidates = [name, f"{path.absolute().parent.name} {name}", *(f"{name} {i}" for i in range(2, len(taken) + 3))]
    return next(c for c in candidates if c.lower() not in {t.lower() for t in taken})


def make_case(name: str, path: Path, found: "FoundSequence", study: str | None) -> "Case":
    """The case as the evaluator takes it; its fingerprint changes when a file does."""
    from rtmotion.evaluation.cohort import Case

    files = sorted({file for phase in found.phases for file in phase.files})
    states = [f"{file.absolute()} {(state := file.stat()).st_size} {state.st_mtime_ns}" for file in files]
    return Case(name, partial(load_sequence, path.absolute(), study), "\n".join(states))


def load_sequence(path: Path, study: str | None) -> "PhaseSequence":
    """The sequence at a path; a function of a module, so that it travels to another process."""
    from rtmotion_data.inspection import read

    with said_while_reading():
        return read(path, study=study)[0]


@dataclass(frozen=True)
class SaveForecast:
    """Writes a forecast's own files into its folder of the comparison; travels to another process.

    Attributes:
        found: What was found of each case, by the name of its folder.
        device: Torch device.
        seed: Of everything random.
    """

    found: "dict[str, FoundSequence]"
    device: str
    seed: int

    def __call__(
        self,
        folder: Path,
        forecast: "Forecast",
        observed: "PhaseSequence",
        truth: "PhaseSequence",
        rows: "Sequence[MetricRow]",
        *,
        keep_volumes: bool,
    ) -> None:
        """See `rtmotion.evaluation.cohort.ForecastWriter`; the folder is `<case>/<k>/<method>`."""
        if not keep_volumes:
            return
        from rtmotion_data.writers.forecast import write_forecast

        case = self.found[folder.parent.parent.name]
        write_forecast(
            folder, forecast, observed, case, metrics=rows, device=self.device, seed=self.seed, versions=versions()
        )


def report_failures(summary: dict[str, Any], request: ComparisonRequest, terminal: Terminal) -> None:
    """Warns of what failed; an error where nothing was left.

    Raises:
        RtmotionError: If every result of the methods asked for is a failure.
    """
    failures = summary["failures"]
    if not failures:
        return
    terminal.warn([f"{f['case']}, k={f['observe']}, {f['method']} failed: {f['error']}" for f in failures])
    if not any(entry["cases"] for entry in summary["summary"] if entry["requested"]):
        first = failures[0]
        raise RtmotionError(f"no method finished; {first['method']} on {first['case']}: {first['error']}")
