"""Questions about a world, with answers that are provably right.

Invariant: `answer` is the only place that decides what is right, and it reads the world alone. A question that needs
a closer look asks about a stretch in which none of the first look's frames lies, so nobody can answer it from those.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np

from storage.files import JsonObject
from synth.world.world import COLOURS, DIRECTIONS, EVENT_S, SLOT_S, World

DIMENSIONS = {
    "attribute": "OA",
    "direction": "OD",
    "feature": "FM",
    "forward": "FT",
    "reverse": "RT",
    "sequence": "AS",
    "spatial": "SR",
    "counting": "GC",
}
"""V2P-Bench dimension of each question kind."""
EVENT_OF = {
    "direction": "dart",
    "feature": "flash",
    "forward": "flash",
    "reverse": "flash",
    "sequence": "double",
    "counting": "blink",
}
"""The event that a kind asks about."""
TEXTS = {
    "attribute": "What colour is {target}?",
    "direction": "Which way does {target} dart between {start} s and {end} s?",
    "feature": "Between {start} s and {end} s, which colour does {target} flash?",
    "forward": "Which colour does {target} flash between the marked moment and {end} s?",
    "reverse": "Which colour did {target} flash between {start} s and the marked moment?",
    "sequence": "From {start} s to {end} s, {target} flashes two colours. Which one comes first?",
    "spatial": "Is {target} {choice} the {other} one between {start} s and {end} s?",
    "counting": "How often does {target} vanish between {start} s and {end} s?",
}
TARGETS = {
    "rectangle": "the target in the box",
    "mask_contour": "the outlined target",
    "ellipse": "the circled target",
    "triangle": "the target in the triangle",
    "scribble": "the target under the scribble",
    "point": "the target with the dot",
    "arrow": "the target at the arrow",
    "set_of_mark": "target number 1",
}
"""How a question names its target, by kind of visual prompt. It never tells what the target is."""


@dataclass(frozen=True)
class WorldQuestion:
    """One question before its frame is drawn."""

    kind: str
    target: int
    """Index of the instance."""
    mark_time_s: float
    """Time of the marked frame."""
    window: tuple[int, int] | None
    """Stretch that holds the evidence, seconds; None if the marked frame is enough."""
    other: int | None = None
    """The second instance of a spatial question."""
    axis: str | None = None
    """`column` or `row` of a spatial question."""

    @classmethod
    def of(cls, facts: JsonObject) -> "WorldQuestion":
        """The question that is among the facts of a record or task."""
        asked = {field.name: facts[field.name] for field in fields(cls) if field.name in facts}
        return cls(**{**asked, "window": facts["window"] and tuple(facts["window"])})

    def text(self, world: World, prompt_kind: str) -> str:
        """The question in words, its target named by the mark."""
        return self.named(world, TARGETS[prompt_kind])

    def named(self, world: World, target: str) -> str:
        """The question in words, with a name of one's own for the target."""
        start, end = self.window or (0, 0)
        return TEXTS[self.kind].format(
            target=target,
            start=start,
            end=end,
            choice="left or right of" if self.axis == "column" else "above or below",
            other=world.instances[self.other].colour if self.other is not None else "",
        )


def vocabulary(question: WorldQuestion) -> tuple[str, ...]:
    """The closed vocabulary of a question's answers."""
    if question.kind == "direction":
        return tuple(DIRECTIONS)
    if question.kind == "counting":
        return ("1", "2", "3")
    if question.kind == "spatial":
        return ("left", "right") if question.axis == "column" else ("above", "below")
    return tuple(COLOURS)


def answer(world: World, question: WorldQuestion, target: int | None = None) -> str | None:
    """The right answer, or None where the question makes no sense.

    Args:
        target: ask about this instance instead of the question's own.
    """
    target = question.target if target is None else target
    instance = world.instances[target]
    if question.kind == "attribute":
        return instance.colour
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
    if here is None or there is None or target == question.other:
        return None
    if question.axis == "column":
        delta, words = here % 3 - there % 3, ("left", "right")
    else:
        delta, words = here // 3 - there // 3, ("above", "below")
    return None if delta == 0 else words[int(delta > 0)]


def candidates(
    world: World, kind: str, coarse_times: Sequence[float], fps: int, rng: np.random.Generator
) -> Iterator[WorldQuestion]:
    """Questions of a kind, in random order, whose answer changes with the target for some other instance."""
    found: list[WorldQuestion] = []
    if kind != "attribute":
        found += _windowed(world, kind, coarse_times, fps, rng)
    else:  # one a video: of the others there are never that many
        target = int(rng.integers(len(world.instances)))
        if (time := _mark_time(world, target, None, fps, rng)) is not None:
            found.append(WorldQuestion("attribute", target, time, None))
    for index in rng.permutation(len(found)):
        question = found[index]
        right = answer(world, question)
        others = {answer(world, question, i) for i in range(len(world.instances)) if i != question.target}
        if right is not None and others - {right, None}:
            yield question


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
            time = _mark_time(world, target, _mark_stretch(kind, window, event.offset_s), fps, rng)
            if time is not None:
                yield WorldQuestion(kind, target, time, window)


def _mark_stretch(kind: str, window: tuple[int, int], offset_s: float) -> tuple[float, float] | None:
    """Where the mark of a question about its own moment must lie: just before or just after the event."""
    if kind == "forward":
        return window[0], window[0] + offset_s
    if kind == "reverse":
        return window[0] + max(2.0, offset_s + 1.0), window[0] + 3.0
    return None


def _spatial_questions(
    world: World, target: int, window: tuple[int, int], fps: int, rng: np.random.Generator
) -> Iterator[WorldQuestion]:
    slot = window[0] // SLOT_S
    events = [instance.events[slot] for instance in world.instances]
    calm = [i for i, event in enumerate(events) if event is None or event.kind == "blink"]
    if target not in calm or (time := _mark_time(world, target, None, fps, rng)) is None:
        return
    for other in (i for i in calm if i != target):
        for axis in ("column", "row"):
            question = WorldQuestion("spatial", target, time, window, other, axis)
            if answer(world, question) is not None:
                yield question


def _mark_time(
    world: World, target: int, stretch: tuple[float, float] | None, fps: int, rng: np.random.Generator
) -> float | None:
    """A frame time at which the target rests in sight in its own colour; within a stretch if one is given."""
    instance = world.instances[target]
    low, high = stretch or (0.0, world.duration_s)
    times = [
        t
        for t in (i / fps for i in range(int(np.ceil(low * fps)), int(np.ceil(high * fps))))
        if t % SLOT_S < EVENT_S
        and not _mid_event(world, target, t)
        and world.colour(target, t) == instance.colour
        and world.cell(target, t) is not None
    ]
    return float(rng.choice(times)) if times else None


def _mid_event(world: World, target: int, t: float) -> bool:
    event = world.instances[target].events[int(t // SLOT_S)]
    if event is None or (since := event.phase(t)) is None:
        return False
    return since < {"flash": 1.0, "double": 2.0, "dart": 1.5, "blink": 3.0}[event.kind]
