"""How a world comes about: from a seed, who is in it, when each leaves, comes back or changes colour, and what happens.

Invariants: a world is a pure function of (seed, `WorldConfig`). At no time do two instances have one colour of their
own, and no colour of theirs is flashed.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from configs.world import WorldConfig
from synth.world.world import (
    COLOURS,
    DIRECTIONS,
    ENTERED_S,
    EVENT_S,
    GLIDE_S,
    SHAPES,
    SLOT_S,
    Event,
    EventKind,
    Instance,
    Side,
    World,
)

FEWEST_SLOTS = 7
"""Slots of the shortest video in which anything leaves or changes its colour for good."""
REPAINTED = 0.9
"""Chance that one of the half of the instances which may be repainted is; the others leave and come back."""
OFFSETS_S: dict[str, tuple[float, float]] = {
    "flash": (0.6, 1.9),
    "double": (0.6, 1.0),
    "dart": (0.6, 1.4),
    "blink": (0.55, 0.75),
}
"""Earliest and latest start of an event, seconds into its slot: so late that one who looks once a second sees the
instance at rest before, and so early that the event is over when it glides on."""


def make_world(seed: int, config: WorldConfig) -> World:
    """The world of a seed."""
    return _cached(seed, config.min_duration_s, config.max_duration_s, config.min_instances, config.max_instances)


@lru_cache(maxsize=64)
def _cached(seed: int, min_s: float, max_s: float, fewest: int, most: int) -> World:
    rng = np.random.default_rng([seed, 7])
    lengths = range(int(min_s // SLOT_S), int(max_s // SLOT_S) + 1)
    slots = int(rng.choice([slots for slots in lengths if slots >= FEWEST_SLOTS and slots % 2 == 0] or lengths))
    count = int(rng.integers(fewest, most + 1))
    palette = [str(colour) for colour in rng.permutation(list(COLOURS))]
    colours, spare = palette[:count], palette[count:]
    repaints = _repaints(rng, count, slots, spare)
    absences = _absences(rng, slots, repaints)
    homes, entries = _homes(rng, slots, repaints, absences)
    shapes = rng.choice(SHAPES, count).tolist()
    flashed = [colour for colour in spare if all(repaint is None or repaint[1] != colour for repaint in repaints)]
    events = _events(rng, homes, entries, flashed, repaints)
    instances = tuple(
        Instance(
            colour=colours[i],
            shape=shapes[i],
            radius=float(rng.uniform(0.10, 0.13)),
            striped=bool(rng.random() < 0.3),
            homes=tuple(homes[i]),
            absence=absences[i],
            exits=(_side(rng), "left" if (entries[i] or 0) % 3 == 0 else "right"),
            entry=entries[i],
            sway=(float(rng.uniform(0.0, 0.02)), float(rng.uniform(0.1, 0.4)), float(rng.uniform(0, 2 * np.pi))),
            events=tuple(events[i]),
            repaint=repaints[i],
        )
        for i in range(count)
    )
    background = (float(rng.random()), float(rng.uniform(0.01, 0.05)), float(rng.uniform(0.3, 1.0)))
    return World(seed, float(slots * SLOT_S), instances, background)


def _side(rng: np.random.Generator) -> Side:
    return "left" if rng.random() < 0.5 else "right"


def _repaints(rng: np.random.Generator, count: int, slots: int, spare: list[str]) -> list[tuple[float, str] | None]:
    """Whether, when and how each instance changes its colour for good; never to a colour that another one has."""
    repaints: list[tuple[float, str] | None] = [None] * count
    if slots >= FEWEST_SLOTS:
        for i, colour in zip(rng.permutation(count)[: count // 2].tolist(), spare, strict=False):
            if rng.random() < REPAINTED:
                repaints[i] = float(SLOT_S * rng.integers(2, slots - 1) + rng.uniform(0, SLOT_S)), colour
    return repaints


def _absences(
    rng: np.random.Generator, slots: int, repaints: Sequence[tuple[float, str] | None]
) -> list[tuple[float, float] | None]:
    """When each instance leaves and comes back, two or three slots long; none of one that is repainted."""
    absences: list[tuple[float, float] | None] = []
    for repaint in repaints:
        if repaint is not None or slots < FEWEST_SLOTS:
            absences.append(None)
            continue
        first = int(rng.integers(2, slots - 4))
        last = first + int(rng.integers(1, 3))
        leaves, comes = rng.uniform(0, EVENT_S), rng.uniform(0, SLOT_S - ENTERED_S - GLIDE_S)
        absences.append((float(SLOT_S * first + leaves), float(SLOT_S * last + comes)))
    return absences


def _homes(
    rng: np.random.Generator,
    slots: int,
    repaints: Sequence[tuple[float, str] | None],
    absences: Sequence[tuple[float, float] | None],
) -> tuple[list[list[int | None]], list[int | None]]:
    """Cells of each instance by slot, no two in one cell, and in which each enters that comes back. One whose colour
    changes stays where it was, and the cells of one that leaves or comes back in a slot are free of others in it."""
    homes: list[list[int | None]] = [[] for _ in repaints]
    entries: list[int | None] = [None] * len(homes)
    # From the slot in which it leaves to the one in which it comes back, which is the range's stop.
    away = [range(*(int(moment // SLOT_S) for moment in absence)) if absence else range(0) for absence in absences]
    painted = [int(repaint[0] // SLOT_S) if repaint else None for repaint in repaints]
    coming: dict[int, int] = {}
    for slot in range(slots):
        kept: dict[int, int | None] = {}
        for i, gone in enumerate(away):
            if slot == painted[i] or (gone and slot == gone.start):
                kept[i] = homes[i][-1]
            elif gone and slot == gone.stop + 1:
                kept[i] = coming[i]
        free = [cell for cell in rng.permutation(9).tolist() if cell not in kept.values()]
        back = [i for i, gone in enumerate(away) if gone and slot == gone.stop]
        for i in back:
            entries[i] = next(cell for cell in free if cell % 3 != 1)
            free.remove(entries[i])
        for i in back:
            # Any cell, its entry too: where it is afterwards does not tell by which side it came.
            coming[i] = int(rng.choice([entries[i], *free]))
            free = [cell for cell in free if cell != coming[i]]
        for i, gone in enumerate(away):
            if gone and gone.start <= slot <= gone.stop:
                homes[i].append(None)
            else:
                homes[i].append(kept[i] if i in kept else free.pop())
    return homes, entries


def _events(
    rng: np.random.Generator,
    homes: list[list[int | None]],
    entries: list[int | None],
    colours: list[str],
    repaints: Sequence[tuple[float, str] | None],
) -> list[list[Event | None]]:
    """Each slot has one kind of event; most of the instances in sight live through it, each in its own way: they flash
    different colours, as far as there are so many in `colours`."""
    count, slots = len(homes), len(homes[0])
    events: list[list[Event | None]] = [[None] * slots for _ in range(count)]
    for slot, kind in enumerate(_kinds(rng, homes)):
        if kind is None:
            continue
        taken = {of_one[slot] for of_one in homes}
        for of_one, entry in zip(homes, entries, strict=True):
            if of_one[slot] is None and of_one[slot + 1] is not None:
                taken |= {entry, of_one[slot + 1]}
        flashed = rng.permutation(colours).tolist()
        for i in range(count):
            home, repaint = homes[i][slot], repaints[i]
            if home is None or rng.random() < 0.2 or (repaint and int(repaint[0] // SLOT_S) == slot):
                continue
            value = _event_value(rng, kind, home, taken, flashed[i:] + flashed[:i])
            if value is not None:
                events[i][slot] = Event(kind, slot, value, float(rng.uniform(*OFFSETS_S[kind])))
    return events


def _kinds(rng: np.random.Generator, homes: list[list[int | None]]) -> list[EventKind | None]:
    """The kind of event of each slot, in decks of all four, so that none comes much more often; now and then none.
    Often what one does after it is back is of the kind that it did before it left."""
    kinds: list[EventKind | None] = []
    deck: list[EventKind] = []
    for _ in homes[0]:
        if not deck:
            deck = ["flash", "double", "dart", "blink"]
            rng.shuffle(deck)
        kinds.append(None if rng.random() < 0.15 else deck.pop())
    for of_one in homes:
        if None in of_one and rng.random() < 0.7:
            first = of_one.index(None)
            back = first + of_one[first:].count(None)
            kinds[back] = kinds[first - 1]
    return kinds


def _event_value(
    rng: np.random.Generator, kind: EventKind, home: int, taken: set[int | None], colours: list[str]
) -> tuple[str, ...] | None:
    if kind in ("flash", "double"):
        return tuple(colours[: 1 if kind == "flash" else 2])
    if kind == "blink":
        return (str(int(rng.integers(1, 4))),)
    row, column = divmod(home, 3)
    free = [
        name
        for name, (dx, dy) in DIRECTIONS.items()
        if 0 <= row + dy < 3 and 0 <= column + dx < 3 and (row + dy) * 3 + column + dx not in taken
    ]
    if not free:
        return None
    direction = str(rng.choice(free))
    dx, dy = DIRECTIONS[direction]
    taken.add((row + dy) * 3 + column + dx)
    return (direction,)
