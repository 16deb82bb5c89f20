"""The numbered patients that a network is trained on: made from seeds, ahead of time where that is slow."""

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rtmotion_data.phantom import PhantomConfig

Geometry = tuple[tuple[int, int, int], tuple[float, float, float]]
"""Size and spacing (mm) along x, y, z."""

AHEAD = 2
"""Patients that are made ahead of time for each worker."""


def starts_at_end_inhale(number: int) -> bool:
    """Whether a patient of this number starts at end-inhale, of a source with mixed starts: two of every four.

    >>> [starts_at_end_inhale(number) for number in range(4)]
    [False, False, True, True]
    """
    return number // 2 % 2 == 1


@dataclass(frozen=True)
class PatientSource:
    """Synthetic patients by number; every other one is sorted perfectly.

    Attributes:
        config: What is asked of all of them.
        seeds: Number 0 has this seed.
        geometries: Sizes and spacings that they take in turn; none takes those of `config`.
        mixed_starts: Whether half of them start at end-inhale, as clinical cycles do, and half anywhere.
        prepare: A module whose `prepare` makes of a patient what is kept of it, and whose `save_patient` and
            `load_patient` write and read that; None keeps the patient.
        folder: Where what was prepared is kept for the next time; None keeps nothing.
        device: Torch device that they are made on.
        workers: Processes that make them ahead of time; 0 makes them when they are asked for.
    """

    config: "PhantomConfig"
    seeds: int
    geometries: tuple[Geometry, ...] = ()
    mixed_starts: bool = False
    prepare: str | None = None
    folder: Path | None = None
    device: str = "cpu"
    workers: int = 0

    def __getitem__(self, number: int) -> Any:
        """The patient of a number, prepared: from the folder where it is there."""
        from rtmotion_data.phantom import make_tensors

        drawn = dataclasses.replace(self.config, sorting_artefacts=number % 2 == 0)
        if self.geometries:
            size, spacing = self.geometries[number % len(self.geometries)]
            drawn = dataclasses.replace(drawn, size=size, spacing=spacing)
        kind = ""
        if self.mixed_starts:
            at_end_inhale = starts_at_end_inhale(number)
            drawn = dataclasses.replace(drawn, random_start=not at_end_inhale)
            kind = "-end-inhale" if at_end_inhale else ""
        seed = self.seeds + number
        if self.prepare is None:
            return make_tensors(seed, drawn, self.device)
        module = import_module(self.prepare)
        path = None if self.folder is None else self.folder / f"{seed}{kind}.safetensors"
        if path is not None and path.is_file():
            return module.load_patient(path)
        prepared = module.prepare(make_tensors(seed, drawn, self.device))
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            module.save_patient(prepared, path)
        return prepared

    def stream(self, first: int, step: int = 1) -> Iterator[Any]:
        """The patients from a number on, every `step`-th, without end."""
        if not self.workers:
            for number in count(first, step):
                yield self[number]
        # threads of torch do not survive a fork
        with ProcessPoolExecutor(self.workers, mp_context=get_context("spawn")) as pool:
            coming: OrderedDict[int, Future[Any]] = OrderedDict()
            for number in count(first, step):
                for later in range(number, number + step * (1 + AHEAD * self.workers), step):
                    if later not in coming:
                        coming[later] = pool.submit(self.__getitem__, later)
                yield coming.pop(number).result()


@dataclass(frozen=True)
class CaseSource:
    """Real cases by number, again and again, for fine-tuning.

    Attributes:
        cases: What was prepared of them, see `rtmotion.video.prepared.prepare_case`.
    """

    cases: tuple[Any, ...]

    def stream(self, first: int, step: int = 1) -> Iterator[Any]:
        """The cases from a number on, every `step`-th, without end."""
        for number in count(first, step):
            yield self.cases[number % len(self.cases)]
