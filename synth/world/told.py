"""Questions that tell when to look: they name the stretch of the video, or are about the marked frame alone."""

from collections.abc import Iterator, Sequence

import numpy as np

from synth.world.question import WorldQuestion
from synth.world.world import EVENT_S, SLOT_S, World

EVENT_OF = {
    "direction": "dart",
    "feature": "flash",
    "forward": "flash",
    "reverse": "flash",
    "sequence": "double",
    "counting": "blink",
}
"""The event that a kind asks about."""


def answer(world: World, question: WorldQuestion, target: int) -> str | None:
    """The right answer about an instance, or None where the question makes no sense."""
    instance = world.instances[target]
    if question.kind == "attribute":
        return instance.colour if instance.repaint is None else None
    assert question.window is not None
    slot = question.window[0] // SLOT_S
    if question.kind == "spatial":
        return _spatial(world, question, target, slot)
    event = instance.events[slot]
    if event is None or event.kind != EVENT_OF[question.kind]:
        return None
    return event.value[0]


def _spatial(world: World, question: WorldQuestion, target: int, slot: int) -> str | None:
    here, there = world.instances[target].homes[slot], world.instances[question.other or 0].homes[slot]
    named = world.instances[question.other or 0]
    if here is None or there is None or target == question.other or named.repaint is not None:
        return None
    if question.axis == "column":
        delta, words = here % 3 - there % 3, ("left", "right")
    else:
        delta, words = here // 3 - there // 3, ("above", "below")
    return None if delta == 0 else words[int(delta > 0)]


def evidence(world: World, question: WorldQuestion) -> tuple[tuple[float, float], ...]:
    """The stretch that must be seen for the answer, seconds; none for what the marked frame shows."""
    if question.window is None:
        return ()
    event = world.instances[question.target].events[question.window[0] // SLOT_S]
    if event is None or question.kind == "spatial":
        return ((float(question.window[0]), float(question.window[1])),)
    return (event.span,)


def candidates(
    world: World, kind: str, coarse_times: Sequence[float], fps: int, rng: np.random.Generator
) -> Iterator[WorldQuestion]:
    """Questions of a kind about every instance and stretch that it can be asked about."""
    if kind != "attribute":
        yield from _windowed(world, kind, coarse_times, fps, rng)
        return
    target = int(rng.integers(len(world.instances)))  # one a video: of the others there are never that many
    if (time := mark_time(world, target, fps, rng)) is not None:
        yield WorldQuestion("attribute", target, time, None)


def _windowed(
    world: World, kind: str, coarse_times: Sequence[float], fps: int, rng: np.random.Generator
) -> Iterator[WorldQuestion]:
    for slot in range(world.slots):
        window = (slot * SLOT_S, slot * SLOT_S + EVENT_S)
        if any(window[0] <= time <= window[1] for time in coarse_times):
            continue
        for target in range(len(world.instances)):
            if kind == "spatial":
                yield from _spatial_questions(world, target, window, fps, rng)
                continue
            event = world.instances[target].events[slot]
            if event is None or event.kind != EVENT_OF[kind]:
                continue
            own = world.instances[target].own_colour(window[0])
            time = mark_time(world, target, fps, rng, _mark_stretch(kind, window, event.offset_s), own)
            if time is not None:
                yield WorldQuestion(kind, target, time, window)


def _mark_stretch(kind: str, window: tuple[int, int], offset_s: float) -> tuple[float, float] | None:
    """Where the mark of a question about its own moment must lie: just before or just after the event."""
    if kind == "forward":
        return window[0], window[0] + offset_s
    if kind == "reverse":
        return window[0] + offset_s + 1.0, window[0] + 3.0
    return None


def _spatial_questions(
    world: World, target: int, window: tuple[int, int], fps: int, rng: np.random.Generator
) -> Iterator[WorldQuestion]:
    slot = window[0] // SLOT_S
    events = [instance.events[slot] for instance in world.instances]
    calm = [i for i, event in enumerate(events) if event is None or event.kind == "blink"]
    own = world.instances[target].own_colour(window[0])
    if target not in calm or (time := mark_time(world, target, fps, rng, colour=own)) is None:
        return
    for other in (i for i in calm if i != target):
        for axis in ("column", "row"):
            question = WorldQuestion("spatial", target, time, window, other, axis)
            if answer(world, question, target) is not None:
                yield question


def mark_time(
    world: World,
    target: int,
    fps: int,
    rng: np.random.Generator,
    stretch: tuple[float, float] | None = None,
    colour: str | None = None,
) -> float | None:
    """A frame time at which the target rests in its own colour, or in `colour` if it is repainted some time, and
    nothing passes before it; within a stretch, seconds, if one is given. None if there is no such frame."""
    instance = world.instances[target]
    low, high = stretch or (0.0, world.duration_s)
    for frame in rng.permutation(np.arange(np.ceil(low * fps), np.ceil(high * fps))).tolist():
        t = frame / fps
        own = instance.own_colour(t)
        if (
            t % SLOT_S < EVENT_S
            and instance.homes[int(t // SLOT_S)] is not None
            and colour in (None, own)
            and not _mid_event(world, target, t)
            and world.colour(target, t) == own
            and not _is_covered(world, target, t)
        ):
            return float(t)
    return None


def _is_covered(world: World, target: int, t: float) -> bool:
    """Whether one that leaves or comes back may hide a part of an instance."""
    here, radius = np.array(world.position(target, t)), world.instances[target].radius
    return any(
        world.colour(other, t) is not None
        and np.abs(here - world.position(other, t)).max() < radius + world.instances[other].radius
        for other in range(world.count)
        if other != target
    )


def _mid_event(world: World, target: int, t: float) -> bool:
    event = world.instances[target].events[int(t // SLOT_S)]
    return event is not None and event.span[0] <= t < event.span[1] + (0.5 if event.kind == "blink" else 0.0)
