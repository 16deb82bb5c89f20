"""The work of a comparison: cases, methods and k, each finished result on disk before the next begins."""

import hashlib
import json
import os
import re
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import rtmotion
from rtmotion.errors import RtmotionError
from rtmotion.evaluation.memory import PeakMemory
from rtmotion.evaluation.protocol import MetricRow, evaluate
from rtmotion.evaluation.threads import limited_threads
from rtmotion.evaluation.true_phase import TruePhase, true_phase
from rtmotion.forecasting import Forecast
from rtmotion.methods import Method
from rtmotion.registration import remembered_registrations
from rtmotion.sequence import PhaseSequence

PROTOCOL_VERSION = 4
"""Goes up when a metric or region changes, so that results of an older protocol are redone."""

STAGES = {"registering observed phases": "registration", "predicting phases": "appearance"}
"""What the tables call the stages that forecasters announce in words of their own."""

RESULT_SCHEMA = "rtmotion.compare.result/1"
RESULT_FILE = "result.json"


@dataclass(frozen=True)
class Case:
    """A patient (or phantom) of a comparison.

    Attributes:
        name: What it is called in tables; holds no patient data, and differs from every other case's.
        load: Reads the sequence; must be picklable (a function of a module, `functools.partial` of one) to travel to
            another process.
        fingerprint: Text that changes when the input changes (paths, sizes, times of files), so that results are
            redone; empty where the name says it all.
    """

    name: str
    load: Callable[[], PhaseSequence]
    fingerprint: str = ""


class ForecastWriter(Protocol):
    """Writes a forecast's own files into the folder of its case, k and method; must be picklable.

    It is called for every forecast that was scored: the page by which the comparison's page opens it is written
    always, volumes and fields where they are wanted.
    """

    def __call__(
        self,
        folder: Path,
        forecast: Forecast,
        observed: PhaseSequence,
        truth: PhaseSequence,
        rows: Sequence[MetricRow],
        *,
        keep_volumes: bool,
    ) -> None:
        """Writes the files; `keep_volumes` says whether volumes and fields are wanted."""
        ...


@dataclass(frozen=True)
class Plan:
    """What is run on every case.

    Attributes:
        observe: The numbers of observed phases.
        methods: The cards of the methods, in the order in which they run.
        out: The comparison's folder.
        device: Torch device.
        seed: Of everything random.
        keep_volumes: Whether the writer is to keep volumes and fields.
        save_forecast: Writes each forecast's own files, or None.
        metrics: Names of the metrics wanted; None takes all.
        threads: Of the numerical libraries, in each process; registrations differ in the last bits with another number.
    """

    observe: tuple[int, ...]
    methods: tuple[Method, ...]
    out: Path
    device: str = "cpu"
    seed: int = 0
    keep_volumes: bool = False
    save_forecast: ForecastWriter | None = None
    metrics: tuple[str, ...] | None = None
    threads: int = 1


@dataclass(frozen=True)
class Result:
    """What a method made of a case at one k, or why it failed.

    Attributes:
        case: Name of the case.
        method: Name of the method.
        kind: Its kind; see `rtmotion.methods.Method`.
        observe: Number of observed phases.
        predicted: Labels of the predicted phases, the next one first.
        rows: The metrics; empty where it failed.
        error: One line that says why it failed, or None.
        seconds: `forecast` (making the forecaster and its forecast) and `evaluate`, wall time.
        stages: Seconds of each of the method's own stages, and of `evaluate`. A registration that another method of
            the same case had made already counts with the seconds that it took then.
        peak_memory_mb: Largest resident memory of the process while it forecast, MiB.
        memory_before_mb: Resident memory before it began (the case's volumes included), MiB.
        stages_memory_mb: The largest resident memory in each stage that the method announces (`forecast` for one that
            announces none), and in `evaluate`, MiB.
        warnings: What the method warns of.
        details: Further facts that the method states.
        fingerprint: Of everything that the result depends on.
        keep_volumes: Whether volumes were written.
    """

    case: str
    method: str
    kind: str
    observe: int
    predicted: tuple[str, ...] = ()
    rows: tuple[MetricRow, ...] = ()
    error: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float = 0.0
    memory_before_mb: float = 0.0
    stages_memory_mb: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    keep_volumes: bool = False


def result_folder(out: Path, case: str, observe: int, method: str) -> Path:
    """Where the result of a case, k and method lies: `out/cases/<case>/<k>/<method>`."""
    return out / "cases" / folder_name(case) / str(observe) / folder_name(method)


def folder_name(name: str) -> str:
    """A name as a folder on any system.

    >>> folder_name("patient 1: left/upper")
    'patient-1-left-upper'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "case"


def fingerprint(case: Case, observe: int, method: Method, plan: Plan) -> str:
    """A hash of everything that a result depends on."""
    parts = [rtmotion.__version__, PROTOCOL_VERSION, case.name, case.fingerprint, observe, plan.device, plan.seed]
    parts += [plan.threads, None if plan.metrics is None else sorted(plan.metrics)]
    card = [method.name, method.kind, method.target, sorted(map(str, method.options.items())), _weights_hash(method)]
    return hashlib.sha256(json.dumps([parts, card]).encode()).hexdigest()[:16]


def _weights_hash(method: Method) -> str | None:
    """A hash of the method's weights, so that results of other weights are redone; None where there are none."""
    if method.weights is None:
        return None
    if method.weights.startswith("$"):
        path = Path(os.environ.get(method.weights[1:], ""))
    else:
        found = find_spec(method.target.partition(".")[0])
        path = Path(found.origin or "").parent / method.weights if found else Path(method.weights)
    if not path.is_file():
        return None
    state = path.stat()
    return _file_hash(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)
def _file_hash(path: Path, size: int, changed: int) -> str:
    """Read again only when size or time of change are others."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def stored_result(case: Case, observe: int, method: Method, plan: Plan) -> Result | None:
    """The result that is on disk and still holds; None where it has to be made: missing, outdated or failed."""
    path = result_folder(plan.out, case.name, observe, method.name) / RESULT_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        schema = found.pop("schema")
        rows = tuple(MetricRow(**row) for row in found.pop("rows"))
        sequences: dict[str, Any] = {name: tuple(found.pop(name)) for name in ("predicted", "warnings")}
        result = Result(rows=rows, **sequences, **found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    current = schema == RESULT_SCHEMA and result.fingerprint == fingerprint(case, observe, method, plan)
    return result if current and result.error is None and result.keep_volumes >= plan.keep_volumes else None


def store_result(result: Result, folder: Path) -> None:
    """Writes a result: beside, then renamed, so that it is whole or not there."""
    write_json({"schema": RESULT_SCHEMA, **asdict(result)}, folder / RESULT_FILE)


def write_json(content: dict[str, Any], path: Path) -> None:
    """Writes JSON beside `path` and renames it; what JSON does not know becomes text, what is not finite null."""
    known = json.loads(json.dumps(content, default=str), parse_constant=lambda _: None)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(known, indent=1, allow_nan=False), encoding="utf-8")
    beside.replace(path)


def run_case(case: Case, plan: Plan) -> Iterator[Result]:
    """Runs every k and method on a case, yields each result when it is on disk; skips what is there already."""
    sequence: PhaseSequence | None = None
    load_error: str | None = None
    known: dict[str, TruePhase] = {}
    with limited_threads(plan.threads), remembered_registrations():
        for observe in plan.observe:
            for method in plan.methods:
                result = stored_result(case, observe, method, plan)
                if result is None:
                    if sequence is None and load_error is None:
                        try:
                            sequence = case.load()
                        except Exception as error:
                            load_error = f"cannot load the case: {describe(error)}"
                    result = _run_method(case, observe, method, plan, sequence, load_error, known)
                    store_result(result, result_folder(plan.out, case.name, observe, method.name))
                yield result


def _run_method(
    case: Case,
    observe: int,
    method: Method,
    plan: Plan,
    sequence: PhaseSequence | None,
    load_error: str | None,
    known: dict[str, TruePhase],
) -> Result:
    identity: dict[str, Any] = {
        "case": case.name,
        "method": method.name,
        "kind": method.kind,
        "observe": observe,
        "fingerprint": fingerprint(case, observe, method, plan),
        "keep_volumes": plan.keep_volumes,
    }
    if sequence is None:
        return Result(**identity, error=load_error)
    memory, scoring = PeakMemory(), PeakMemory()
    start = time.perf_counter()
    try:
        observed, truth = sequence.observe(observe)
        with memory:
            # only a bound is handed the answer
            knowledge = {"truth": truth} if method.kind == "bound" else {}
            forecaster = method.create(
                **knowledge,
                device=plan.device,
                seed=plan.seed,
                progress=partial(_announce, memory),
            )
            forecast = forecaster.forecast(observed, truth.phases)
        forecast_end = time.perf_counter()
        with scoring:
            known |= {label: true_phase(truth, label) for label in truth.labels if label not in known}
            rows = evaluate(forecast, truth, observed, metrics=plan.metrics, true_phases=known)
        # a method that found its registrations made by another still owes their time
        own = sum(forecast.seconds.values()) or forecast_end - start
        seconds = {"forecast": own, "evaluate": time.perf_counter() - forecast_end}
        if plan.save_forecast is not None:
            folder = result_folder(plan.out, case.name, observe, method.name)
            folder.mkdir(parents=True, exist_ok=True)
            plan.save_forecast(folder, forecast, observed, truth, rows, keep_volumes=plan.keep_volumes)
    except Exception as error:
        return Result(**identity, error=describe(error), seconds={"forecast": time.perf_counter() - start})
    return Result(
        **identity,
        predicted=truth.labels,
        rows=tuple(rows),
        seconds=seconds,
        stages={**(forecast.seconds or {"forecast": own}), "evaluate": seconds["evaluate"]},
        peak_memory_mb=memory.peak_mb,
        memory_before_mb=memory.before_mb,
        stages_memory_mb={**(memory.stages_mb or {"forecast": memory.peak_mb}), "evaluate": scoring.peak_mb},
        warnings=forecast.warnings,
        details=dict(forecast.details),
    )


def _announce(memory: PeakMemory, stage: str, done: int, total: int) -> None:
    """What a forecaster calls with its progress."""
    memory.enter(STAGES.get(stage, stage))


def describe(error: BaseException) -> str:
    """One line on what went wrong: the message of an expected error, kind, message and place of any other."""
    first = (str(error).splitlines() or [""])[0]
    if isinstance(error, RtmotionError):
        return first
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {first}{place}"
