"""All phases of a sequence registered to one of them."""

from collections.abc import Callable

import torch

from rtmotion.errors import PhaseError
from rtmotion.field import DisplacementField, VelocityField
from rtmotion.registration.engine import Registration, RegistrationEngine
from rtmotion.registration.memory import recall
from rtmotion.registration.svf import SvfRegistration
from rtmotion.sequence import PhaseSequence, Volume, cyclic_distance


def register_sequence(
    engine: RegistrationEngine,
    sequence: PhaseSequence,
    reference: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Registration, ...]:
    """Registers the reference phase to every phase of a sequence.

    The fixed volume is each phase j in turn and the moving one the reference, so that the field of j maps points of
    phase j to points of the reference and `warp(reference volume)` gives the anatomy of phase j. The native engine
    starts each phase from the velocity of the nearest phase in the cycle that is already registered.

    Args:
        engine: Any registration engine.
        sequence: At least one phase.
        reference: Index of the reference phase.
        progress: Called with (phases done, phases) after each phase.

    Returns:
        One registration a phase, in the order of the sequence; the reference has the zero field.
    """
    count = len(sequence)
    if not 0 <= reference < count:
        raise PhaseError(f"the reference is the index of a phase, 0 to {count - 1}, got {reference}")
    grid, moving = sequence.grid, sequence.volumes[reference]
    zero = torch.zeros(3, *grid.shape, device=moving.data.device)
    results: dict[int, Registration] = {reference: Registration(DisplacementField(zero, grid))}
    if isinstance(engine, SvfRegistration):
        control = engine.control_grid(grid)
        velocity = VelocityField(torch.zeros(3, *control.shape, device=zero.device), control)
        results = {reference: Registration(DisplacementField(zero, grid), velocity)}
    for done, (phase, neighbour) in enumerate(_outwards(sequence.fractions.tolist(), reference), start=1):
        results[phase] = _register_pair(engine, sequence.volumes[phase], moving, results[neighbour].velocity)
        if progress is not None:
            progress(done + 1, count)
    return tuple(results[i] for i in range(count))


def _register_pair(
    engine: RegistrationEngine, fixed: Volume, moving: Volume, start: VelocityField | None
) -> Registration:
    if isinstance(engine, SvfRegistration):
        svf, velocity = engine, start
        data = None if velocity is None else velocity.data
        return recall(svf, fixed, moving, data, lambda: svf.register(fixed, moving, initial=velocity))
    return recall(engine, fixed, moving, None, lambda: engine.register(fixed, moving))


def _outwards(fractions: list[float], reference: int) -> list[tuple[int, int]]:
    """The other phases from the reference outwards along the cycle, each with its nearest phase that comes before."""
    order = sorted(
        range(len(fractions)), key=lambda i: (round(cyclic_distance(fractions[i], fractions[reference]), 6), i)
    )
    return [
        (phase, min(order[:place], key=lambda i: (round(cyclic_distance(fractions[i], fractions[phase]), 6), i)))
        for place, phase in enumerate(order)
        if place > 0
    ]
