"""The procedural world: several look-alike instances whose every position, colour and event is known.

Time is cut into slots of four seconds, of which a video in which anything leaves has an even number where it can. In a
slot an instance rests (with a slight sway) in one cell of a 3x3 grid, or is out of sight; at its end it glides to its
next cell. In the first three seconds it may live through one event: it flashes a colour, two colours in turn, darts
aside and back, or blinks. Several instances live through events of one kind at once, so a question about one of them
can't be answered from another.

What lasts leaves a trace in any frame: an instance may leave once and come back some slots later, by either side, at
which it stays for a moment, or change its colour for good, on the spot, each in a slot in which it does nothing else.
Events leave no trace, so that a trace tells when to look for one.

Invariant: all answers are read from a world, never from pixels.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

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
