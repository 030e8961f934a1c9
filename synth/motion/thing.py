"""A track under way: what is known of a thing that moves, and how well a blob of the next look fits it.

Invariant: what is expected of a thing comes from its own looks only, and a part of it that the border cuts off says
nothing about how it moves.
"""

from dataclasses import dataclass, field

import numpy as np

from synth.motion.blobs import SIDES, Blob, likeness
from synth.motion.track import End, Start

REACH = 1.2
"""How far a thing may be from where it is expected, in sizes of its own."""
RATIO = 0.4
"""Least ratio of the areas of one thing in two looks, if the border does not cut it."""
ALIKE = 0.55
"""Least likeness of one thing in two looks."""
GROWTH, GROWTH_AT_BORDER = 1.3, 1.15
"""Most that a thing may have grown against its latest looks, the second where it has just come to touch the border;
more is another thing that has come to it."""
LOOKS_BACK = 8
"""Looks that its growth is measured against."""
MEMORY = 0.15
"""Weight of the newest look in how a thing is known to look."""


@dataclass(eq=False)
class Thing:
    """Times in seconds, places in pixels of the frames looked at."""

    starts: Start
    blobs: list[tuple[float, Blob]]
    """Its looks; at least one."""
    look: tuple[np.ndarray, np.ndarray]
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    ends: End = "film"
    alike: list[float] = field(default_factory=list)
    """How alike it was to itself, look by look."""

    @property
    def last_s(self) -> float:
        """Time of its latest look."""
        return self.blobs[-1][0]

    @property
    def last(self) -> Blob:
        """Its latest look."""
        return self.blobs[-1][1]

    def expected(self, time_s: float) -> np.ndarray:
        """[4]: its box, should it go on as it did."""
        box = np.array(self.last.box, float)
        box[:2] += self.velocity * (time_s - self.last_s)
        return box

    def add(self, time_s: float, blob: Blob) -> None:
        """It is this blob now."""
        velocity = moved(self.last, blob) / (time_s - self.last_s)
        self.velocity = velocity if len(self.blobs) == 1 else 0.5 * (self.velocity + velocity)
        self.alike.append(likeness(self.look, blob.look))
        chroma, light = ((1 - MEMORY) * a + MEMORY * b for a, b in zip(self.look, blob.look, strict=True))
        self.look = chroma, light
        self.blobs.append((time_s, blob))

    def fits(self, blob: Blob, time_s: float) -> float | None:
        """How well a blob fits, 0 to 1; None if it can't be this thing."""
        cut = bool(blob.touches or self.last.touches)
        # What comes in is at first a sliver of what it is.
        size = max(*blob.box[2:], *self.last.box[2:]) if cut else float(np.sqrt(self.last.box[2] * self.last.box[3]))
        ahead = self.velocity * (time_s - self.last_s)
        reach = REACH * size + 0.5 * float(np.hypot(*ahead))
        off = float(np.hypot(*(moved(self.last, blob) - ahead)))
        ratio = min(blob.area, self.last.area) / max(blob.area, self.last.area)
        alike = likeness(self.look, blob.look)
        if off > reach or alike < ALIKE or ratio < (0.02 if cut else RATIO):
            return None
        return 0.5 * (1 - off / reach) + 0.3 * alike + 0.2 * (1.0 if cut else ratio)

    def outgrown(self, blob: Blob) -> bool:
        """Whether the blob is so much larger than its latest whole looks that something else must have come to it."""
        areas = [known.area for _, known in self.blobs[-LOOKS_BACK:] if not known.touches]
        if len(areas) < LOOKS_BACK // 2:
            return False
        arrives = bool(blob.touches) and not self.last.touches
        return blob.area > (GROWTH_AT_BORDER if arrives else GROWTH) * float(np.median(areas))


def moved(before: Blob, after: Blob) -> np.ndarray:
    """[2]: how far a thing moved between two looks, by the edges that the border cuts in neither."""
    cut = before.touches | after.touches
    shifts = []
    for axis in range(2):
        edges = [
            after.box[axis] - before.box[axis],
            after.box[axis] + after.box[axis + 2] - before.box[axis] - before.box[axis + 2],
        ]
        free = [edge for edge, side in zip(edges, SIDES[2 * axis : 2 * axis + 2], strict=True) if side not in cut]
        shifts.append(float(np.mean(free or edges)))
    return np.array(shifts)
