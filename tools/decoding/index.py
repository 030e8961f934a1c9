"""What a pass over a video's packets tells of it.

Invariant: an index and the file are enough to find any frame, set upright as players show it, without another pass.
"""

from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np


class Orientation(NamedTuple):
    """What sets a stored picture upright: the sides swapped, then the columns reversed, then the rows."""

    swap: bool = False
    reverse_x: bool = False
    reverse_y: bool = False

    @staticmethod
    def of(matrix: tuple[int, ...]) -> "Orientation":
        """That of a display matrix of nine numbers, row by row (ISO 14496-12, 8.5.2.3), to the nearest quarter turn."""
        a, b, _, c, d, *_ = matrix
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return Orientation(False, a < 0, d < 0)
        return Orientation(True, c < 0, b < 0)

    @property
    def mirrored(self) -> bool:
        """Whether left and right change places beside the rotation."""
        return sum(self) % 2 == 1

    @property
    def rotation(self) -> int:
        """Degrees, clockwise, of the rotation, after left and right have changed places if they do."""
        if self.swap:
            return 90 if self.reverse_x else 270
        return 180 if self.reverse_y else 0

    def upright(self, pixels: np.ndarray) -> np.ndarray:
        """The picture, [H, W, 3], set upright; a view."""
        pixels = pixels.swapaxes(0, 1) if self.swap else pixels
        return pixels[:: -1 if self.reverse_y else 1, :: -1 if self.reverse_x else 1]


@dataclass(frozen=True)
class Index:
    """What a pass over a file's packets tells; enough to find any frame without another pass."""

    pts: np.ndarray
    """[frames] int64, sorted: presentation timestamps in ticks of `time_base`."""
    keys: np.ndarray
    """[keyframes] int64, sorted: timestamps of the keyframes."""
    end: int
    """When the last frame stops being shown, ticks."""
    time_base: Fraction
    """Seconds of a tick."""
    width: int
    height: int
    """Pixels as players show the first frame: upright, of square pixels."""
    orientation: Orientation
    """What sets the stored picture upright."""
    timed_packets: bool
    """Whether the packets' timestamps are those of the frames."""
    estimated: bool = False
    """Whether the file has no true presentation times, so that frames have those of their order."""
    key_dts: np.ndarray = field(default_factory=lambda: np.array([], np.int64))
    """[keyframes] int64: decoding timestamps of the keyframes where `pts` are estimated; else empty."""

    @property
    def times(self) -> np.ndarray:
        """[frames] float64, seconds: presentation times as the container states them, sorted."""
        return np.array([float(pts * self.time_base) for pts in self.pts.tolist()], dtype=np.float64)

    @property
    def end_s(self) -> float:
        """When the last frame stops being shown, seconds on the same clock."""
        return float(self.end * self.time_base)

    def keyframe(self, index: int) -> int:
        """Index of the last keyframe at or before frame `index`; of the frame itself where there is none."""
        before = self.keys[: int(np.searchsorted(self.keys, self.pts[index], side="right"))]
        if not len(before):
            return index
        found = int(np.searchsorted(self.pts, before[-1]))
        return found if self.pts[found] == before[-1] else index

    @property
    def keyframe_s(self) -> float:
        """Seconds from one keyframe to the next, on average."""
        return (self.end_s - float(self.pts[0] * self.time_base)) / max(1, len(self.keys))

    @property
    def rate(self) -> Fraction | None:
        """Frames a second; None where it varies, by more than the tick that a container may round to."""
        frames = len(self.pts)
        if frames < 2:
            return None
        span = int(self.pts[-1] - self.pts[0])
        even = self.pts[0] + np.arange(frames) * (span / (frames - 1))
        if np.abs(self.pts - even).max() > 1.0:
            return None
        exact = Fraction(frames - 1, 1) / (span * self.time_base)
        steps = set(np.diff(self.pts).tolist())
        return exact if len(steps) == 1 else exact.limit_denominator(1001)
