"""The procedural world: several look-alike instances whose every position, colour and event is known.

Time is cut into slots of four seconds. In a slot an instance rests (with a slight sway) in one cell of a 3x3 grid, or
is out of sight; in the last second it glides to its next cell. In the first three seconds it may live through one
event: it flashes a colour, two colours in turn, darts aside and back, or blinks. Several instances live through
events of one kind at once, so a question about one of them can't be answered from another.

Invariant: a world is a pure function of (seed, `WorldConfig`); all answers are read from it, never from pixels.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from configs.world import WorldConfig

SLOT_S = 4
"""Seconds of a slot."""
EVENT_S = 3
"""Events happen in the first seconds of a slot."""
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (225, 45, 40),
    "green": (40, 190, 60),
    "blue": (50, 90, 235),
    "yellow": (245, 220, 40),
    "purple": (165, 60, 205),
    "white": (250, 250, 250),
}
SHAPES = ("circle", "square", "triangle", "diamond")
CELLS = ("northwest", "north", "northeast", "west", "center", "east", "southwest", "south", "southeast")
"""Names of the 3x3 cells, row by row; one word each, for a place of two words is much slower to learn."""
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}

EventKind = Literal["flash", "double", "dart", "blink"]


@dataclass(frozen=True)
class Event:
    """What happens to one instance in the first three seconds of a slot."""

    kind: EventKind
    slot: int
    value: tuple[str, ...]
    """Colours of a flash or double; the direction of a dart; the number of blinks."""
    offset_s: float
    """Start, seconds after the slot's."""

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
    """Cell index of each slot; None while it is out of sight."""
    sway: tuple[float, float, float]
    """Amplitude (share of the frame), frequency (Hz) and phase of its rest."""
    events: tuple[Event | None, ...]
    """One entry a slot."""


@dataclass(frozen=True)
class World:
    """All that is true of one video."""

    seed: int
    duration_s: float
    instances: tuple[Instance, ...]
    background: tuple[float, float, float]
    """Hue shift, drift (shares of the frame a second) and grain of the moving background."""

    @property
    def slots(self) -> int:
        """Whole slots of the video."""
        return int(self.duration_s // SLOT_S)

    def colour(self, index: int, t: float) -> str | None:
        """Colour of an instance at a time; None while it can't be seen."""
        instance = self.instances[index]
        slot, event = self._slot(instance, t)
        if instance.homes[slot] is None:
            return None
        if event is None or (since := event.phase(t)) is None:
            return instance.colour
        if event.kind in ("flash", "double") and since < len(event.value):
            return event.value[int(since)]
        if event.kind == "blink" and since < int(event.value[0]) and since % 1.0 < 0.5:
            return None
        return instance.colour

    def position(self, index: int, t: float) -> tuple[float, float]:
        """Centre of an instance at a time, as shares of the frame; outside [0, 1] while it is away."""
        instance = self.instances[index]
        slot, event = self._slot(instance, t)
        x, y = _centre(instance.homes[slot], slot)
        into = t - slot * SLOT_S
        if into > EVENT_S and slot + 1 < len(instance.homes):
            glide = _smooth((into - EVENT_S) / (SLOT_S - EVENT_S))
            next_x, next_y = _centre(instance.homes[slot + 1], slot)
            x, y = x + glide * (next_x - x), y + glide * (next_y - y)
        if event and event.kind == "dart" and (since := event.phase(t)) is not None and since < 1.5:
            reach = _smooth(min(since, 1.5 - since) / 0.25)
            dx, dy = DIRECTIONS[event.value[0]]
            x, y = x + reach * dx / 3, y + reach * dy / 3
        amplitude, frequency, phase = instance.sway
        angle = 2 * np.pi * frequency * t + phase
        return float(x + amplitude * np.cos(angle)), float(y + amplitude * np.sin(angle))

    def cell(self, index: int, t: float) -> str | None:
        """Name of the cell an instance is in, seen or not; None while it is out of the frame."""
        x, y = self.position(index, t)
        if not (0 <= x < 1 and 0 <= y < 1):
            return None
        return CELLS[int(y * 3) * 3 + int(x * 3)]

    def _slot(self, instance: Instance, t: float) -> tuple[int, Event | None]:
        slot = min(int(max(t, 0.0) // SLOT_S), len(instance.homes) - 1)
        return slot, instance.events[slot]


@lru_cache(maxsize=64)
def _cached(seed: int, min_s: float, max_s: float, fewest: int, most: int) -> World:
    rng = np.random.default_rng([seed, 7])
    slots = int(rng.integers(int(min_s // SLOT_S), int(max_s // SLOT_S) + 1))
    count = int(rng.integers(fewest, most + 1))
    homes = _homes(rng, count, slots)
    colours = rng.permutation(list(COLOURS))[:count].tolist()
    shapes = rng.choice(SHAPES, count).tolist()
    events = _events(rng, homes, colours)
    instances = tuple(
        Instance(
            colour=colours[i],
            shape=shapes[i],
            radius=float(rng.uniform(0.08, 0.11)),
            striped=bool(rng.random() < 0.3),
            homes=tuple(homes[i]),
            sway=(float(rng.uniform(0.0, 0.02)), float(rng.uniform(0.1, 0.4)), float(rng.uniform(0, 2 * np.pi))),
            events=tuple(events[i]),
        )
        for i in range(count)
    )
    background = (float(rng.random()), float(rng.uniform(0.01, 0.05)), float(rng.uniform(0.3, 1.0)))
    return World(seed, float(slots * SLOT_S), instances, background)


def make_world(seed: int, config: WorldConfig) -> World:
    """The world of a seed."""
    return _cached(seed, config.min_duration_s, config.max_duration_s, config.min_instances, config.max_instances)


def _homes(rng: np.random.Generator, count: int, slots: int) -> list[list[int | None]]:
    """Cells of each instance by slot, no two in one cell; now and then one is away for a slot."""
    homes: list[list[int | None]] = [[] for _ in range(count)]
    for _ in range(slots):
        cells = rng.permutation(9)[:count]
        for i in range(count):
            away = i > 0 and len(homes[i]) > 0 and homes[i][-1] is not None and rng.random() < 0.1
            homes[i].append(None if away else int(cells[i]))
    return homes


def _events(rng: np.random.Generator, homes: list[list[int | None]], colours: list[str]) -> list[list[Event | None]]:
    """Each slot has one kind of event; most of the instances in sight live through it, each in its own way."""
    count, slots = len(homes), len(homes[0])
    events: list[list[Event | None]] = [[None] * slots for _ in range(count)]
    deck: list[EventKind] = []
    for slot in range(slots):
        if not deck:
            shuffled: list[EventKind] = ["flash", "double", "dart", "blink"]
            rng.shuffle(shuffled)
            deck += shuffled
        if rng.random() < 0.1:
            continue
        kind = deck.pop()
        taken = {homes[i][slot] for i in range(count)}
        for i in range(count):
            home = homes[i][slot]
            if home is None or rng.random() < 0.15:
                continue
            value = _event_value(rng, kind, home, taken, colours[i])
            if value is not None:
                offset = 0.5 if kind in ("double", "blink") else float(rng.choice([0.5, 1.0]))
                events[i][slot] = Event(kind, slot, value, offset)
    return events


def _event_value(
    rng: np.random.Generator, kind: EventKind, home: int, taken: set[int | None], colour: str
) -> tuple[str, ...] | None:
    if kind in ("flash", "double"):
        others = [name for name in COLOURS if name != colour]
        return tuple(rng.permutation(others)[: 1 if kind == "flash" else 2].tolist())
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


def _centre(home: int | None, slot: int) -> tuple[float, float]:
    if home is None:
        return (-0.3, 0.5) if slot % 2 else (1.3, 0.5)
    return (home % 3 + 0.5) / 3, (home // 3 + 0.5) / 3


def _smooth(share: float) -> float:
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)
