"""Questions that name what happens instead of when, so that one has to find out when.

What lasts leaves a trace in the first look: that the target is there or away, that another one is, that the target has
the colour in which it was marked. Between the two frames where the trace changes lies the *change*; what is asked for
lies in the same gap of the first look as the change, or in the next one on the side that the question names.

Invariants:
- Whoever knows the traces in the first look's frames knows in which gap a change was, by `change_gap`.
- Everything that a question asks for lies in one of the gaps that `searches` gives for it.
- No frame of the first look shows any of it.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal, cast, get_args

import numpy as np

from synth.world.question import ASKED, WorldQuestion
from synth.world.told import mark_time
from synth.world.world import ENTERED_S, GLIDE_S, Event, Instance, World

Change = Literal["leave", "return", "repaint"]
Gap = tuple[float, float]
"""Times of two frames of the first look that follow each other, seconds."""
BEFORE: dict[str, Change] = {"before_leaving": "leave", "before_repaint": "repaint"}
AFTER: dict[str, Change] = {"after_return": "return", "after_repaint": "repaint"}
"""The change that a question about something before or after it names."""
MARGIN_S = 0.2
"""How far what is asked for stays away from every frame of the first look, seconds."""


def answer(world: World, question: WorldQuestion, target: int) -> str | None:
    """The right answer about an instance, or None where the question makes no sense."""
    instance = world.instances[target]
    if question.kind == "return_side":
        return instance.exits[1] if instance.absence else None
    if question.kind == "when":
        moment = _moment(world, target, question.asks)
        return None if moment is None else f"{moment:.1f}"
    events = events_of(world, question, target)
    if not events:
        return None
    return ", ".join(event.value[0] for event in events)


def change_of(question: WorldQuestion) -> Change:
    """The change that a question about one names."""
    if question.kind == "when":
        return cast(Change, question.asks)
    return "return" if question.kind == "return_side" else (BEFORE | AFTER)[question.kind]


def evidence(world: World, question: WorldQuestion) -> tuple[tuple[float, float], ...]:
    """The stretches that must be seen for the answer, seconds."""
    if question.kind in ("return_side", "when"):
        change = change_of(question)
        at = _begins(world.instances[question.target], change)
        assert at is not None
        lasts = ENTERED_S if question.kind == "return_side" else GLIDE_S
        return ((at - 0.5, at + 0.5) if change == "repaint" else (at, at + lasts),)
    return tuple(event.span for event in events_of(world, question, question.target))


def _begins(instance: Instance, change: str | None) -> float | None:
    """When a change begins, seconds; None if there is none."""
    if change == "repaint":
        return instance.repaint[0] if instance.repaint else None
    return None if instance.absence is None else instance.absence[change == "return"]


def _moment(world: World, target: int, change: str | None) -> float | None:
    """When a change is seen: the first moment at which it can be seen, or no more, or its colour turns."""
    begins = _begins(world.instances[target], change)
    if begins is None or change == "repaint":
        return begins
    times = begins + np.linspace(0.0, GLIDE_S, 51)
    inside = [world.cell(target, t) is not None for t in times.tolist()]
    return float(times[inside.index(not inside[0])])


def events_of(world: World, question: WorldQuestion, target: int) -> list[Event]:
    """The events that a question is about; none where it makes no sense."""
    instance = world.instances[target]
    if question.kind == "around":
        parts = [_nearest(instance, "leave", question.asks, -1), _nearest(instance, "return", question.asks, 1)]
        return [event for event in parts if event is not None] if None not in parts else []
    if question.kind == "meanwhile":
        absence = world.instances[question.other or 0].absence
        if absence is None or target == question.other:
            return []
        start, end = absence[0] + GLIDE_S, absence[1]
        of_kind = [event for event in instance.events if event and event.kind == question.asks]
        during = [event for event in of_kind if start <= event.span[0] and event.span[1] <= end]
        return during if len(during) == 1 else []
    step = -1 if question.kind in BEFORE else 1
    found = _nearest(instance, change_of(question), question.asks, step)
    return [found] if found else []


def _nearest(instance: Instance, change: Change, kind: str | None, step: int) -> Event | None:
    """The event of a kind that is nearest to a change, before it (`step` -1) or after it (1)."""
    at = _begins(instance, change)
    if at is None:
        return None
    of_kind = [event for event in instance.events[::step] if event and event.kind == kind]
    return next((event for event in of_kind if (event.span[0] >= at) == (step > 0)), None)


def whose_trace(world: World, question: WorldQuestion) -> tuple[int, str]:
    """Whose trace in the first look tells when to look, and by what colour it is known."""
    if question.kind == "meanwhile":
        assert question.other is not None
        return question.other, world.instances[question.other].colour
    return question.target, question.colour(world)


def trace(world: World, index: int, colour: str, times: Sequence[float]) -> list[bool]:
    """Whether an instance is seen in a colour, at each time."""
    return [world.colour(index, t) == colour for t in times]


def change_gap(seen: Sequence[bool], change: Change) -> int:
    """The gap of the first look in which a change was: the number of the frame before it.

    Raises:
        ValueError: the traces do not tell.
    """
    turns = [i for i, (before, after) in enumerate(pairwise(seen)) if before != after]
    if change != "repaint":
        turns = [i for i in turns if seen[i] == (change == "leave")]
    if len(turns) != 1:
        raise ValueError(f"{len(turns)} gaps could be that of the change")
    return turns[0]


def searches(world: World, question: WorldQuestion, coarse_times: Sequence[float]) -> list[list[Gap]]:
    """Where to look, by the traces alone: for each thing that is asked for the gaps, the likeliest first.

    Raises:
        ValueError: the traces do not tell.
    """
    gaps = list(pairwise(coarse_times))
    seen = trace(world, *whose_trace(world, question), coarse_times)

    def around(change: Change, step: int) -> list[Gap]:
        first = change_gap(seen, change)
        return [gaps[i] for i in (first, first + step) if 0 <= i < len(gaps)]

    if question.kind == "meanwhile":
        return [gaps[change_gap(seen, "leave") : change_gap(seen, "return") + 1]]
    if question.kind == "around":
        return [around("leave", -1), around("return", 1)]
    if question.kind in ("return_side", "when"):
        return [[gaps[change_gap(seen, change_of(question))]]]
    return [around(change_of(question), -1 if question.kind in BEFORE else 1)]


def candidates(
    world: World, kind: str, coarse_times: Sequence[float], fps: int, rng: np.random.Generator
) -> Iterator[WorldQuestion]:
    """Questions of a kind about every instance that it can be asked about, each of which the first look tells where to
    look for, and not more."""
    for target, instance in enumerate(world.instances):
        for other, asks in _forms(world, kind, target):
            unmarked = WorldQuestion(kind, target, 0.0, other=other, asks=asks)
            if answer(world, unmarked, target) is None:
                continue
            colour = None
            if kind in ("before_repaint", "after_repaint") and instance.repaint:
                colour = instance.colour if kind == "before_repaint" else instance.repaint[1]
            time = mark_time(world, target, fps, rng, colour=colour)
            if time is None:
                continue
            question = replace(unmarked, mark_time_s=time)
            if _can_be_found(world, question, coarse_times):
                yield question


def _forms(world: World, kind: str, target: int) -> Iterator[tuple[int | None, str | None]]:
    """The other instance, and what is asked, of every question of a kind about an instance."""
    if kind == "return_side":
        yield None, None
    elif kind == "around":
        yield from ((None, asks) for asks in ("flash", "dart"))
    elif kind == "when":
        yield from ((None, change) for change in get_args(Change))
    elif kind == "meanwhile":
        others = (i for i, other in enumerate(world.instances) if i != target and other.absence)
        yield from ((other, asks) for other in others for asks in ASKED if asks != "blink")
    else:
        yield from ((None, asks) for asks in ASKED)


def _can_be_found(world: World, question: WorldQuestion, times: Sequence[float]) -> bool:
    """Whether the first look tells where to look, and shows nothing of what is asked for."""
    who, colour = whose_trace(world, question)
    if trace(world, who, colour, times) != [world.is_known(who, colour, t) for t in times]:
        return False
    try:
        places = searches(world, question, times)
    except ValueError:
        return False
    if question.kind == "meanwhile" and _in_stretch(world, question, places[0]) != 1:
        return False  # another event of the kind, before the other one left or after it came back
    for (start, end), gaps in zip(evidence(world, question), places, strict=True):
        gap = bisect_right(times, start) - 1
        if not 0 <= gap < len(times) - 1 or (times[gap], times[gap + 1]) not in gaps:
            return False
        if start < times[gap] + MARGIN_S or end > times[gap + 1] - MARGIN_S:
            return False
        if question.asks == "blink" and (times[gap], times[gap + 1]) != gaps[0]:
            return False  # too short for a coarse look; the gap of the change is looked at twice, no other one
    return True


def _in_stretch(world: World, question: WorldQuestion, gaps: Sequence[Gap]) -> int:
    """How many events of the asked kind the target has in the stretch that some gaps make."""
    spans = [event.span for event in world.instances[question.target].events if event and event.kind == question.asks]
    return sum(end > gaps[0][0] and start < gaps[-1][1] for start, end in spans)
