"""What the scripted teacher says of the frames that it sees, and what follows from that, in words.

A reading is the time of a frame, the target's colour and its place, always in this order: two that are known, and one
that is looked up. One that is gone is looked for once more, by the place where it was. A conclusion takes up a word of
the readings and what followed it there, which is what a small student learns soonest.

Invariant: the words are a function of the world's truth and of the frames' times.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from synth.teachers.lookups import EMPTY, GONE, seen_at
from synth.teachers.places import aside, line
from synth.teachers.scene import Scene
from synth.world.question import WorldQuestion
from synth.world.questions import answer, events_of
from synth.world.seeking import Change, change_gap, change_of, trace, whose_trace
from synth.world.world import CELLS, SLOT_S, Event, World

CHANGED: dict[Change, str] = {"leave": "leaves", "return": "back", "repaint": "turns"}
"""How a thought names a change that the first look shows."""
CONCLUSIONS = {
    "flash": "It is flash {}.",
    "double": "It is first {}, then {}.",
    "blink": "It is empty {} times.",
    "spatial": "{} {} against {}, so {}.",
    "when": "It is {}.",
    "return_side": "It is from {}.",
}
"""How a thought sums up what its readings show: of an event by its kind, else by the question's."""


@dataclass(frozen=True)
class Reading:
    """What is said of one frame."""

    seen: str
    """Its time and what is seen in it."""
    follows: str = ""
    """What that means after the readings before."""

    def __str__(self) -> str:
        return self.seen + self.follows


def spoken(readings: Sequence[Reading]) -> str:
    """Readings as a sentence without its full stop."""
    return ", ".join(map(str, readings))


def who_is_where(scene: Scene, index: int, t: float) -> str:
    """What is seen of an instance, by its colour: `red north`; `gone` if it can't be seen."""
    colour, cell = scene.colour(index, t), scene.cell(index, t)
    return f"{colour} {cell}" if colour and cell else GONE


def marked(scene: Scene, index: int, t: float) -> str:
    """Where the mark is that a thing has at a time, in words."""
    return f"The mark is on {who_is_where(scene, index, t)}."


def marked_at(scene: Scene, index: int, t: float) -> str:
    """The same, the place first: what is there is then looked up, where a colour said first takes the mark, the thing
    and its colour at once."""
    colour, cell = scene.colour(index, t), scene.cell(index, t)
    return f"The mark is at {cell}, on {colour}." if colour and cell else f"The mark is on {GONE}."


def first_look(world: World, question: WorldQuestion, times: Sequence[float]) -> list[Reading]:
    """Whether what tells when to look is there, in the frames of the first look: `12.0 red north`, `20.0 red gone`; and
    at which of them it has changed as the question says: `20.0 red gone leaves`."""
    who, colour = whose_trace(world, question)
    seen = trace(world, who, colour, times)
    read = trace_of(world, who, colour, times)
    return [read[0], *(replace(read[i], follows=_turn(question, *seen[i - 1 : i + 1])) for i in range(1, len(read)))]


def _turn(question: WorldQuestion, before: bool, now: bool) -> str:
    """What it is to the question that a trace was there in a frame, and in the next one."""
    if before == now:
        return ""
    if question.kind in ("meanwhile", "around"):
        return " leaves" if before else " back"
    change = change_of(question)
    fits = change == "repaint" or before == (change == "leave")
    return f" {CHANGED[change]}" if fits else ""


def trace_of(scene: Scene, index: int, colour: str, times: Sequence[float]) -> list[Reading]:
    """Where an instance is seen in a colour, at each time, if it is."""
    return [_reading(scene, index, colour, t) for t in times]


def _reading(scene: Scene, index: int, colour: str, t: float) -> Reading:
    there = scene.cell(index, t) if scene.colour(index, t) == colour else None
    return Reading(f"{t:.1f} {colour} {there or GONE}")


def inferred(world: World, question: WorldQuestion, times: Sequence[float]) -> str:
    """Between which frames of the first look that changed, in words."""
    seen = trace(world, *whose_trace(world, question), times)

    def between(first: int, last: int) -> str:
        return f"{times[first]:.1f} to {times[last + 1]:.1f}"

    if question.kind in ("meanwhile", "around"):
        left, back = change_gap(seen, "leave"), change_gap(seen, "return")
        if question.kind == "meanwhile":
            return f"Away {between(left, back)}."
        return f"Leaves {between(left, left)}, back {between(back, back)}."
    change = change_of(question)
    gap = change_gap(seen, change)
    return f"{CHANGED[change].title()} {between(gap, gap)}."


def closer_look(world: World, question: WorldQuestion, times: Sequence[float]) -> list[Reading]:
    """What is seen of the target in the frames of a closer look."""
    if not times:
        return []
    if question.other is not None and not question.seeks:
        return _against(world, question, times[0])
    index, colour = question.target, question.colour(world)
    about_places = question.kind == "direction" or question.asks == "dart"
    by_colour = about_places or question.kind in ("when", "return_side")
    found: list[Reading] = []
    last: str | None = None
    blinks = 0
    for i, time in enumerate(times):
        known, seen, cell = world.is_known(index, colour, time), world.colour(index, time), world.cell(index, time)
        reading, event = _reading(world, index, colour, time), _event_at(world, index, time)
        follows = _change(world, question, times, i)
        if known and seen == colour:
            last = cell
            if about_places:
                follows = _beside_home(world, index, times, i)
        elif last is not None and not by_colour:
            # What is gone may be there in another colour: a look at where it was tells.
            last = cell if known and cell else last
            there = seen if known else next((c for c, place in seen_at(world, time) if place == last), None)
            reading = replace(reading, seen=f"{reading.seen} {last} {there or EMPTY}")
            if known and seen is None:
                blinks += world.colour(index, times[i - 1]) is not None
                follows = f" {blinks}"
            elif known and seen:
                follows = _shown(event, seen)
        found.append(replace(reading, follows=follows))
    return found


def conclusion(world: World, question: WorldQuestion, times: Sequence[float] = (), part: int = 0) -> str:
    """What follows from the readings of a closer look at some times.

    Args:
        part: of a question about several events, which one was seen last.
    """
    right = answer(world, question)
    if question.kind == "return_side":
        return CONCLUSIONS["return_side"].format(right)
    if question.kind == "when":
        return CONCLUSIONS["when"].format(said_moment(world, question, times))
    if question.kind == "spatial" and question.other is not None:
        start_s = float((question.window or (0, 0))[0])
        lines = [line(world.cell(i, start_s), question.axis) for i in (question.target, question.other)]
        return CONCLUSIONS["spatial"].format(str(question.axis).title(), *lines, right)
    event = events_of(world, question)[part]
    if event.kind == "dart":
        start_s = event.span[0]
        home, place = (str(world.cell(question.target, start_s + since)) for since in (0.0, 0.75))
        return aside(home, place, event.value[0])
    return CONCLUSIONS[event.kind].format(*event.value)


def said_moment(world: World, question: WorldQuestion, times: Sequence[float]) -> str:
    """The time of the first reading after a change: the answer of one who looked at some times to when it was. Where
    the change was before or after all of them, that of the nearest."""
    seen = [world.is_known(question.target, question.colour(world), t) for t in times]
    after = next((t for t, (before, now) in zip(times[1:], pairwise(seen), strict=True) if before != now), None)
    if after is None and times:
        after = times[0] if seen[0] == (question.asks == "return") else times[-1]
    return "" if after is None else f"{after:.1f}"


def _event_at(world: World, index: int, time: float) -> Event | None:
    event = world.instances[index].events[min(int(time // SLOT_S), world.slots - 1)]
    return event if event and event.span[0] <= time < event.span[1] else None


def _beside_home(world: World, index: int, times: Sequence[float], i: int) -> str:
    """Whether a reading is the first of where it rests in a slot, or one of it aside from there, as it is in a dart: a
    change from slot to slot is none."""
    slot, cell = int(times[i] // SLOT_S), world.cell(index, times[i])
    home = world.instances[index].homes[slot]
    if home is None:
        return ""
    if cell != CELLS[home]:
        return f" aside {cell}" if _event_at(world, index, times[i]) is not None else ""
    return " home" if i == 0 or int(times[i - 1] // SLOT_S) != slot else ""


def _shown(event: Event | None, colour: str) -> str:
    """What a colour means that is not the instance's own."""
    if event is None or colour not in event.value:
        return ""
    word = "flash" if event.kind == "flash" else ("first", "then")[event.value.index(colour)]
    return f" {word} {colour}"


def _change(world: World, question: WorldQuestion, times: Sequence[float], i: int) -> str:
    """What the first reading after a change says of it, where it may be what the question asks for."""
    if i == 0 or question.kind not in ("when", "return_side"):
        return ""
    before, now = (world.is_known(question.target, question.colour(world), t) for t in times[i - 1 : i + 1])
    if question.kind == "when":
        return "" if before == now else f" at {times[i]:.1f}"
    instance = world.instances[question.target]
    return f" from {instance.exits[1]}" if instance.absence and now and not before else ""


def _against(world: World, question: WorldQuestion, time: float) -> list[Reading]:
    """Where the two instances of a spatial question are."""
    pair = (question.target, question.other or 0)
    lines = [f" {question.axis} {line(world.cell(i, time), question.axis)}" for i in pair]
    return [Reading(f"{time:.1f} {who_is_where(world, i, time)}", words) for i, words in zip(pair, lines, strict=True)]
