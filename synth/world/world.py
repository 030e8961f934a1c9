"""The procedural world: several look-alike instances whose every position, colour and event is known.

Time is cut into slots of four seconds, of which a video in which anything leaves has an even number where it can. In a
slot an instance rests (with a slight sway) in one cell of a 3x3 grid, or is out of sight; at its end it glides to its
next cell. In the first three seconds it may live through one event: it flashes a colour, two colours in turn, darts
aside and back, or blinks. Several instances live through events of one kind at once, so a question about one of them
can't be answered from another.

What lasts leaves a trace in any frame: an instance may leave once and come back some slots later, by either side, at
which it stays for a moment, or change its colour for good, on the spot, each in a slot in which it does nothing else.
Events leave no trace, so that a trace tells when to look for one.

Invariants: a world is a pure function of (seed, `WorldConfig`); all answers are read from it, never from pixels. At no
time do two instances have one colour of their own, and no colour of theirs is flashed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from configs.world import WorldConfig

Place = tuple[float, float]
"""A centre, as shares of the frame."""
SLOT_S = 4
"""Seconds of a slot."""
EVENT_S = 3
"""Events happen in the first seconds of a slot."""
GLIDE_S = 0.5
"""How long a glide from one place to the next takes, seconds: so short that few frames show it."""
STAY_S = 1.25
"""How long one that has come back stays at the side by which it came, seconds: one who looks once a second sees it."""
ENTERED_S = GLIDE_S + STAY_S
"""After how much of coming back it glides home, seconds."""
_WAITING: dict[str, float] = {"left": -0.17, "right": 1.17}
"""Just out of sight: where across one waits that is away, by the side."""
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
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 45, 40),
    "green": (40, 190, 60),
    "blue": (50, 90, 235),
    "yellow": (245, 220, 40),
    "purple": (165, 60, 205),
    "white": (250, 250, 250),
    "orange": (250, 135, 20),
    "cyan": (45, 215, 225),
    "pink": (250, 150, 190),
    "black": (8, 8, 8),
}
SHAPES = ("circle", "square", "triangle", "diamond")
CELLS = ("northwest", "north", "northeast", "west", "center", "east", "southwest", "south", "southeast")
"""Names of the 3x3 cells, row by row; one word each, for a place of two words is much slower to learn."""
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}

EventKind = Literal["flash", "double", "dart", "blink"]
Side = Literal["left", "right"]


@dataclass(frozen=True)
class Event:
    """What happens to one instance in the first three seconds of a slot."""

    kind: EventKind
    slot: int
    value: tuple[str, ...]
    """Colours of a flash or double; the direction of a dart; the number of blinks."""
    offset_s: float
    """Start, seconds after the slot's."""

    @property
    def span(self) -> tuple[float, float]:
        """From when to when it can be seen, seconds."""
        start = self.slot * SLOT_S + self.offset_s
        lasts = {"flash": 1.0, "double": 2.0, "dart": 1.5}
        return start, start + (lasts[self.kind] if self.kind in lasts else int(self.value[0]) - 0.5)

    def phase(self, t: float) -> float | None:
        """Seconds since the event's start, or None outside the event's slot."""
        since = t - self.slot * SLOT_S - self.offset_s
        return since if 0.0 <= since < EVENT_S else None


@dataclass(frozen=True)
class Instance:
    """One thing in the video."""

    colour: str
    shape: str
    radius: float
    """Half its extent, as a share of the frame."""
    striped: bool
    homes: tuple[int | None, ...]
    """Cell index of each slot; None in those of its absence, in the first of which it leaves and in the last of which
    it comes back."""
    absence: tuple[float, float] | None
    """When it begins to glide out of the frame, and when to glide back, seconds; None if it never leaves."""
    exits: tuple[Side, Side]
    """By which side it leaves, and by which it comes back."""
    entry: int | None
    """Cell at that side in which it stays for a moment when it has come back."""
    sway: tuple[float, float, float]
    """Amplitude (share of the frame), frequency (Hz) and phase of its rest."""
    events: tuple[Event | None, ...]
    """One entry a slot."""
    repaint: tuple[float, str] | None = None
    """When it takes another colour for good, seconds, and which."""

    @property
    def colours(self) -> tuple[str, ...]:
        """The colours that it has some time, but for events."""
        return (self.colour, self.repaint[1]) if self.repaint else (self.colour,)

    def own_colour(self, t: float) -> str:
        """Its colour at a time, but for events."""
        return self.repaint[1] if self.repaint and t >= self.repaint[0] else self.colour


@dataclass(frozen=True)
class World:
    """All that is true of one video."""

    seed: int
    duration_s: float
    instances: tuple[Instance, ...]
    background: tuple[float, float, float]
    """Hue shift, drift (shares of the frame a second) and grain of the moving background."""

    @property
    def count(self) -> int:
        """Instances."""
        return len(self.instances)

    @property
    def slots(self) -> int:
        """Whole slots of the video."""
        return int(self.duration_s // SLOT_S)

    def colour(self, index: int, t: float) -> str | None:
        """Colour of an instance at a time; None while it can't be seen."""
        instance = self.instances[index]
        slot, event = self._slot(instance, t)
        if instance.homes[slot] is None and self.cell(index, t) is None:
            return None
        own = instance.own_colour(t)
        if event is None or (since := event.phase(t)) is None:
            return own
        if event.kind in ("flash", "double") and since < len(event.value):
            return event.value[int(since)]
        if event.kind == "blink" and since < int(event.value[0]) and since % 1.0 < 0.5:
            return None
        return own

    def is_known(self, index: int, colour: str, t: float) -> bool:
        """Whether an instance is in sight and, but for events, in a colour."""
        return self.cell(index, t) is not None and self.instances[index].own_colour(t) == colour

    def position(self, index: int, t: float) -> tuple[float, float]:
        """Centre of an instance at a time, as shares of the frame; outside [0, 1] while it is away."""
        instance = self.instances[index]
        slot, event = self._slot(instance, t)
        x, y = _between(*self._glide(instance, slot, t))
        if event and event.kind == "dart" and (since := event.phase(t)) is not None and since < 1.5:
            reach = _smooth(min(since, 1.5 - since) / 0.25)
            dx, dy = DIRECTIONS[event.value[0]]
            x, y = x + reach * dx / 3, y + reach * dy / 3
        amplitude, frequency, phase = instance.sway
        angle = 2 * np.pi * frequency * t + phase
        return float(x + amplitude * np.cos(angle)), float(y + amplitude * np.sin(angle))

    def _glide(self, instance: Instance, slot: int, t: float) -> tuple[Place, Place, float]:
        """From where to where it glides, and what share of the way it has gone; from 0 on, where it rests."""
        homes = instance.homes
        following = homes[min(slot + 1, len(homes) - 1)]
        if instance.absence is None or (homes[slot] is not None and following is not None):
            here = _centre(homes[slot])
            return here, _centre(following), 1 - ((slot + 1) * SLOT_S - t) / GLIDE_S
        leaves_s, comes_s = instance.absence
        out, back = (_WAITING[side] for side in instance.exits)
        last, entry = _centre(homes[int(leaves_s // SLOT_S) - 1]), _centre(instance.entry)
        if t < leaves_s + GLIDE_S:
            return last, (out, last[1]), (t - leaves_s) / GLIDE_S
        if t < comes_s + ENTERED_S:
            return (back, entry[1]), entry, (t - comes_s) / GLIDE_S
        return entry, _centre(homes[int(comes_s // SLOT_S) + 1]), (t - comes_s - ENTERED_S) / GLIDE_S

    def cell(self, index: int, t: float) -> str | None:
        """Name of the cell an instance is in, seen or not; None while all of it is out of the frame."""
        x, y = self.position(index, t)
        radius = self.instances[index].radius
        if not (-radius < x < 1 + radius and -radius < y < 1 + radius):
            return None
        column, row = (min(max(int(3 * place), 0), 2) for place in (x, y))
        return CELLS[row * 3 + column]

    def _slot(self, instance: Instance, t: float) -> tuple[int, Event | None]:
        slot = min(int(max(t, 0.0) // SLOT_S), len(instance.homes) - 1)
        return slot, instance.events[slot]


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


def make_world(seed: int, config: WorldConfig) -> World:
    """The world of a seed."""
    return _cached(seed, config.min_duration_s, config.max_duration_s, config.min_instances, config.max_instances)


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


def _centre(home: int | None) -> Place:
    assert home is not None
    return (home % 3 + 0.5) / 3, (home // 3 + 0.5) / 3


def _between(start: Place, end: Place, share: float) -> Place:
    """Where one is that has glided a share of the way."""
    gone = _smooth(share)
    return start[0] + gone * (end[0] - start[0]), start[1] + gone * (end[1] - start[1])


def _smooth(share: float) -> float:
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)
