"""All phases of a sequence registered to one of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from rtmotion.errors import GeometryError, PhaseError
from rtmotion.field import DisplacementField, VelocityField
from rtmotion.registration.engine import GroupwiseEngine, Registration, RegistrationEngine
from rtmotion.registration.memory import recall
from rtmotion.registration.svf import SvfRegistration
from rtmotion.sequence import PhaseSequence, Volume, cyclic_distance
from rtmotion.types import MaskVolume


def register_sequence(
    engine: RegistrationEngine,
    sequence: PhaseSequence,
    reference: int = 0,
    progress: Callable[[int, int], None] | None = None,
    masks: Sequence[MaskVolume] | None = None,
) -> tuple[Registration, ...]:
    """Registers the reference phase to every phase of a sequence.

    The fixed volume is each phase j in turn and the moving one the reference, so that the field of j maps points of
    phase j to points of the reference and `warp(reference volume)` gives the anatomy of phase j. The native engine
    starts each phase from the velocity of the nearest phase in the cycle that is already registered; a groupwise
    engine takes all phases at once.

    Args:
        engine: Any registration engine.
        sequence: At least one phase.
        reference: Index of the reference phase.
        progress: Called with (phases done, phases) after each phase.
        masks: Where the similarity counts, one mask a phase on the sequence's grid; None leaves it to the engine.

    Returns:
        One registration a phase, in the order of the sequence, on the device of its volume; the reference has the
        zero field, and the zero velocity where all others have a velocity on one grid.

    Raises:
        PhaseError: If there is no phase of that index.
        GeometryError: If there is not one mask a phase.
    """
    count = len(sequence)
    if not 0 <= reference < count:
        raise PhaseError(f"the reference is the index of a phase, 0 to {count - 1}, got {reference}")
    if masks is not None and len(masks) != count:
        raise GeometryError(f"a registration takes one mask a phase: {len(masks)} masks for {count} phases")
    if isinstance(engine, GroupwiseEngine) and count > 1:
        group = engine
        found = recall(
            engine,
            sequence.volumes,
            [reference, *(masks or ())],
            lambda: group.register_group(sequence, reference, masks, progress),
        )
        return tuple(_on(r, v.data.device) for r, v in zip(found, sequence.volumes, strict=True))
    moving = sequence.volumes[reference]
    zero = torch.zeros(3, *sequence.grid.shape, device=moving.data.device)
    still = Registration(DisplacementField(zero, sequence.grid))
    if isinstance(engine, SvfRegistration):
        # from rest on its own grid: a neighbour of the reference needs no coarsest level
        control = engine.control_grid(sequence.grid)
        still = replace(still, velocity=VelocityField(torch.zeros(3, *control.shape, device=zero.device), control))
    results: dict[int, Registration] = {reference: still}
    for done, (phase, neighbour) in enumerate(_outwards(sequence.fractions.tolist(), reference), start=1):
        mask = None if masks is None else masks[phase].to(moving.data.device)
        start = results[neighbour].velocity
        results[phase] = _register_pair(engine, sequence.volumes[phase], moving, mask, start)
        if progress is not None:
            progress(done + 1, count)
    results[reference] = _at_rest(still, [r.velocity for i, r in results.items() if i != reference])
    return tuple(results[i] for i in range(count))


def _register_pair(
    engine: RegistrationEngine, fixed: Volume, moving: Volume, mask: MaskVolume | None, start: VelocityField | None
) -> Registration:
    if isinstance(engine, SvfRegistration):
        svf, velocity = engine, start
        others = [mask, None if velocity is None else velocity.data]
        found = recall(svf, (fixed, moving), others, lambda: (svf.register(fixed, moving, mask, velocity),))
    else:
        found = recall(engine, (fixed, moving), [mask], lambda: (engine.register(fixed, moving, mask),))
    return _on(found[0], fixed.data.device)


def _at_rest(still: Registration, others: Sequence[VelocityField | None]) -> Registration:
    """The registration of the reference to itself, with the zero velocity on the grid that all the others have."""
    if not others or others[0] is None:
        return still
    first = others[0]
    if any(v is None or not v.grid.is_close(first.grid) for v in others):
        return still
    return replace(still, velocity=VelocityField(torch.zeros_like(first.data), first.grid))


def _on(registration: Registration, device: torch.device) -> Registration:
    """The same registration on another device: most engines leave their fields on the CPU."""
    displacement, velocity = registration.displacement, registration.velocity
    if displacement.data.device == device and (velocity is None or velocity.data.device == device):
        return registration
    moved = None if velocity is None else VelocityField(velocity.data.to(device), velocity.grid)
    return replace(registration, displacement=displacement.to(device), velocity=moved)


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
