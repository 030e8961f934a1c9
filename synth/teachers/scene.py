"""What a teacher knows of a film: who is where in it, when, and in which colour.

The procedural world is a scene by its truth; footage is one by what was measured in it.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from synth.motion.track import Track
from synth.world.world import CELLS

UNNAMED = "thing"
"""Stands for the colour of what has no one colour."""
NEAR_STEPS = 0.75
"""A thing is where it was seen at most so many looks before or after."""


class Scene(Protocol):
    """Several things, numbered from 0, in a picture of 3x3 cells."""

    @property
    def count(self) -> int:
        """How many things there are, in sight some time."""

    def colour(self, index: int, t: float) -> str | None:
        """Colour of a thing at a time, seconds; None while it can't be seen."""

    def cell(self, index: int, t: float) -> str | None:
        """Name of the cell that a thing is in, of `CELLS`; None while it is out of the picture."""


class TrackScene:
    """What the tracks of a film say."""

    def __init__(self, tracks: Sequence[Track]) -> None:
        self.tracks = tracks

    @property
    def count(self) -> int:
        """Tracks."""
        return len(self.tracks)

    def name(self, index: int) -> str:
        """The colour by which a thing is spoken of."""
        return self.tracks[index].colour or UNNAMED

    def colour(self, index: int, t: float) -> str | None:
        """See `Scene`."""
        return None if self.cell(index, t) is None else self.name(index)

    def cell(self, index: int, t: float) -> str | None:
        """See `Scene`."""
        track = self.tracks[index]
        if np.abs(track.times - t).min() > NEAR_STEPS * track.step_s:
            return None
        shares = [np.interp(t, track.times, track.centres[:, axis]) / track.size[axis] for axis in (0, 1)]
        return cell_at(*shares)


def cell_at(x: float, y: float) -> str:
    """The name of the cell at a place of the picture, each 0 to 1; a place outside is in the cell next to it."""
    column, row = (min(max(int(3 * share), 0), 2) for share in (x, y))
    return CELLS[row * 3 + column]
