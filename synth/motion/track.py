"""One thing that moved through a fixed camera's picture: where it was, how it looked, how it came and went.

Invariants: a track is one thing only; where two things could not be told apart it has no look, or ends. What is said of
its coming and going is said only where it was seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from synth.motion.blobs import SIDES, Blob
from tools.marks.rle import Rle, decode

Start = Literal["film", "border", "inside", "split"]
"""How a track begins: it was there from the first look on, came in over the border, was suddenly there, or came out of
a blob of several things."""
End = Literal["film", "border", "inside", "merged"]
"""How it ends: it was there until the last look, went out over the border, was suddenly gone, or could not be told from
other things any more."""


INWARD = 0.3
"""How far a thing must come off the border that it comes in by, in widths or heights of its own."""


@dataclass(frozen=True, eq=False)
class Track:
    """One thing through the video. T looks."""

    id: int
    """Its place among the tracks of its video, by their first looks, from 0."""
    size: tuple[int, int]
    """Width and height of the video, pixels."""
    looked_at: tuple[int, int]
    """Width and height of the frames looked at, pixels."""
    step_s: float
    """Seconds between two looks."""
    times: np.ndarray
    """[T] float64: presentation times at which it was found by itself, rising. While it is hidden, or one blob with
    another thing, it has no look."""
    boxes: np.ndarray
    """[T, 4] float64: x, y, width, height in pixels of the video."""
    whole: np.ndarray
    """[T] bool: the picture's border does not cut it."""
    masks: tuple[Rle, ...]
    """[T] masks, of the frames looked at."""
    colour: str
    """One of `synth.motion.colour_names.COLOURS`; empty where it has no one name."""
    colour_share: float
    """Share of its pixels that have that name, 0 to 1."""
    look: tuple[np.ndarray, np.ndarray]
    """See `synth.motion.blobs.Blob.look`."""
    starts: Start
    ends: End
    enters: str
    """The side over which it comes in, of `synth.motion.blobs.SIDES`; empty where that was not plainly seen."""
    leaves: str
    """The side over which it goes out, likewise."""
    quality: float
    """0 to 1: the share of the looks in its time at which it was found, times how steadily it looked the same."""

    @property
    def start_s(self) -> float:
        """Seconds of its first look."""
        return float(self.times[0])

    @property
    def end_s(self) -> float:
        """Seconds of its last look."""
        return float(self.times[-1])

    @property
    def centres(self) -> np.ndarray:
        """[T, 2] float64: x, y of the middles of its boxes, pixels of the video."""
        return self.boxes[:, :2] + self.boxes[:, 2:] / 2

    def mask_at(self, time_s: float) -> np.ndarray | None:
        """[height, width] bool at the video's own size; None where it was not found.

        Between two looks it is the nearer one's mask, moved to where the thing is by then.
        """
        i = int(np.argmin(np.abs(self.times - time_s)))
        off_s = time_s - self.times[i]
        if abs(off_s) > 0.75 * self.step_s:
            return None
        width, height = self.size
        small = decode(self.masks[i])
        x, y = self._moved(i, off_s)
        sx, sy = width / self.looked_at[0], height / self.looked_at[1]
        place = np.array([[sx, 0, x + (sx - 1) / 2], [0, sy, y + (sy - 1) / 2]])
        return cv2.warpAffine(small.astype(np.float32), place, (width, height)) > 0.5

    def _moved(self, i: int, off_s: float) -> np.ndarray:
        """[2]: how far it moves from its i-th look in a fraction of a step, pixels of the video."""
        j = i + (1 if off_s > 0 else -1)
        if off_s == 0 or not 0 <= j < len(self.times) or abs(self.times[j] - self.times[i]) > 1.5 * self.step_s:
            return np.zeros(2)
        return (self.centres[j] - self.centres[i]) * (off_s / (self.times[j] - self.times[i]))


def entered(blobs: Sequence[Blob]) -> str:
    """The side over which a thing came in; empty unless one border alone cut it at first and it moved off that one. Of
    its looks in reverse, the side over which it went out."""
    if len(blobs[0].touches) != 1:
        return ""
    [side] = blobs[0].touches
    free = next((i for i, blob in enumerate(blobs) if side not in blob.touches), None)
    return "" if free is None or _inward(blobs[0], blobs[free], side) < INWARD else side


def _inward(cut: Blob, free: Blob, side: str) -> float:
    """How far the edge away from a border moved off it, in the thing's width or height."""
    axis = SIDES.index(side) // 2
    edges = [blob.box[axis] + (blob.box[axis + 2] if side in ("left", "top") else 0) for blob in (cut, free)]
    return (edges[1] - edges[0]) * (1 if side in ("left", "top") else -1) / free.box[axis + 2]
