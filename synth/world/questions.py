"""Questions about a world, with answers that are provably right.

Some tell when to look (`synth/world/told.py`). The others name what happens before or after it instead, and when that
was has to be inferred from the traces in the first look (`synth/world/seeking.py`).

Invariant: `answer` is the only place that decides what is right, and it reads the world alone. What a question asks for
can be seen in none of the first look's frames, unless it is about the marked frame.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from configs.world import SEEKING_KINDS
from synth.world import seeking, told
from synth.world.question import WorldQuestion
from synth.world.world import SLOT_S, Event, World


def answer(world: World, question: WorldQuestion, target: int | None = None) -> str | None:
    """The right answer, or None where the question makes no sense.

    Args:
        target: ask about this instance instead of the question's own.
    """
    of_kind = seeking.answer if question.seeks else told.answer
    return of_kind(world, question, question.target if target is None else target)


def evidence(world: World, question: WorldQuestion) -> tuple[tuple[float, float], ...]:
    """The stretches, seconds, that must be seen for the answer; none for what the marked frame shows."""
    of_kind = seeking.evidence if question.seeks else told.evidence
    return of_kind(world, question)


def events_of(world: World, question: WorldQuestion) -> list[Event]:
    """The events that a question is about, in the order of its answer."""
    if question.seeks:
        return seeking.events_of(world, question, question.target)
    event = world.instances[question.target].events[question.window[0] // SLOT_S] if question.window else None
    return [event] if event else []


def candidates(
    world: World, kind: str, coarse_times: Sequence[float], fps: int, rng: np.random.Generator
) -> Iterator[WorldQuestion]:
    """Questions of a kind, in random order, whose answer changes with the target for some other instance.

    Args:
        coarse_times: of the first look's frames, seconds.
    """
    of_kind = seeking.candidates if kind in SEEKING_KINDS else told.candidates
    found = list(of_kind(world, kind, coarse_times, fps, rng))
    for index in rng.permutation(len(found)):
        question = found[index]
        right = answer(world, question)
        others = {answer(world, question, i) for i in range(len(world.instances)) if i != question.target}
        if right is not None and others - {right, None}:
            yield question
