"""What a fixed camera sees when nothing moves: a still picture, its noise, and what stands out from it.

Invariants: a picture that moves as a whole is refused, so whatever stands out from a background has moved by itself;
a thing that stands out is never taken into the background, however long it stands still.
"""

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from tools.decoding.frame import VideoError

LEAST_CHANGE = 13.0
"""Least difference of a pixel that can stand out, levels of 255."""
NOISES = 4.0
"""The same, in standard deviations of the pixel's noise."""
STRONG = 1.8
"""A thing must hold pixels that differ by this many times what is needed."""
EDGE = 0.4
"""A thing ends where the difference falls to this share of its mean."""
ADAPT_S = 8.0
"""Time in which the background follows a change of light by two thirds, seconds."""
DARK = 8.0
"""Levels below which a change of light is not taken to scale a channel."""
TILES = 3
"""Rows and columns of tiles that are asked, each by itself, how far the picture has shifted."""
SHIFT_PX = 1.0
"""Shift of a tile that counts, pixels of the frames looked at."""
SURE_SHIFT = 0.25
"""Least response of the phase correlation that makes a shift believable, 0 to 1."""
AGREE = 0.6
"""Share of the believable tiles that must have shifted together."""
SHIFTED_FRAMES = 0.12
"""Largest share of shifted frames of a fixed camera."""
CHANGED_PICTURE = 0.4
"""Largest share of a fixed camera's picture that moves, in the frame in the middle of the ranking."""
RESTLESS = 4.5
"""Largest spread over time of the pixel in the middle of the ranking, levels of 255."""


class MovingCameraError(VideoError):
    """The camera moves, so nothing can be told from what changes."""


class Background:
    """Learned from frames spread over the whole video, [frames, height, width, 3] uint8 RGB."""

    def __init__(self, frames: Sequence[np.ndarray]) -> None:
        rough = np.median(np.stack(frames), axis=0).astype(np.float32)
        even = np.stack([_even(frame, rough) for frame in frames])
        self.picture = np.median(even, axis=0).astype(np.float32)
        """[height, width, 3] float32."""
        spread = 1.4826 * np.median([self._difference(frame) for frame in even], axis=0)
        self._needed = np.maximum(LEAST_CHANGE, NOISES * cv2.blur(spread.astype(np.float32), (5, 5)))
        self.moves = ""
        """How the picture moves as a whole over the frames; empty for a fixed camera."""
        changed = float(np.median([(self._difference(frame) > LEAST_CHANGE).mean() for frame in even]))
        shifted = [_shift(_grey(frame), _grey(self.picture)) for frame in even]
        far = [shift for shift in shifted if shift > SHIFT_PX]
        if np.median(spread) > RESTLESS or changed > CHANGED_PICTURE:
            self.moves = f"usually {100 * changed:.0f} % of the picture differs from what is there at other times"
        elif len(far) > SHIFTED_FRAMES * len(shifted):
            self.moves = f"{len(far)} of {len(shifted)} frames are shifted by {np.median(far):.1f} pixels or so"

    def stands_out(self, frame: np.ndarray, since_s: float) -> tuple[np.ndarray, np.ndarray]:
        """What is in a frame, [height, width, 3] uint8, that is not the background; light that changes is followed.

        Args:
            since_s: seconds since the last frame.

        Returns:
            [height, width] bool, and the frame in the background's light, [height, width, 3] uint8.
        """
        even = _even(frame, self.picture)
        difference = self._difference(even)
        weak = cv2.morphologyEx((difference > self._needed).astype(np.uint8), cv2.MORPH_OPEN, _disc(3))
        weak = _filled(cv2.morphologyEx(weak, cv2.MORPH_CLOSE, _disc(5)))
        count, labels = cv2.connectedComponents(weak)
        strong = np.bincount(labels[difference > STRONG * self._needed], minlength=count) > 0
        strong[0] = False
        sizes = np.bincount(labels.ravel(), minlength=count)
        level = EDGE * np.bincount(labels.ravel(), difference.ravel(), minlength=count) / np.maximum(1, sizes)
        found = strong[labels]
        found = _filled((found & (difference > level[labels])).astype(np.uint8)) > 0
        around = cv2.dilate(found.astype(np.uint8), _disc(9)) > 0
        rate = np.float32(1.0 - np.exp(-max(0.0, since_s) / ADAPT_S))
        self.picture += np.where(around[..., None], np.float32(0), rate) * (even - self.picture)
        return found, even

    def _difference(self, frame: np.ndarray) -> np.ndarray:
        return _most(np.abs(cv2.GaussianBlur(frame - self.picture, (3, 3), 0)))


def _most(channels: np.ndarray) -> np.ndarray:
    """The largest of the three channels."""
    return np.maximum(np.maximum(channels[..., 0], channels[..., 1]), channels[..., 2])


def _filled(mask: np.ndarray) -> np.ndarray:
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(mask), outlines, -1, 1, cv2.FILLED)


def _even(frame: np.ndarray, picture: np.ndarray) -> np.ndarray:
    """The frame, uint8, in the light of the picture: a camera's exposure or the sun scales each channel."""
    part, still = frame[::4, ::4].reshape(-1, 3), picture[::4, ::4].reshape(-1, 3)
    gain = np.median((part + DARK) / (still + DARK), axis=0)
    levels = np.clip((np.arange(256)[:, None] + DARK) / gain - DARK + 0.5, 0, 255)
    return cv2.LUT(frame, levels.astype(np.uint8)[None])


def _shift(frame: np.ndarray, still: np.ndarray) -> float:
    """Pixels by which most of the picture has shifted; 0 where its parts do not agree, or can't be told."""
    shifts = []
    rows, columns = (np.linspace(0, side, TILES + 1).astype(int) for side in frame.shape)
    for top, bottom in pairwise(rows.tolist()):
        for left, right in pairwise(columns.tolist()):
            here, there = frame[top:bottom, left:right], still[top:bottom, left:right]
            if min(here.shape) < 8:
                continue
            window = cv2.createHanningWindow(here.shape[::-1], cv2.CV_32F)
            shift, response = cv2.phaseCorrelate(there - there.mean(), here - here.mean(), window)
            if response > SURE_SHIFT:
                shifts.append(shift)
    if len(shifts) < TILES:
        return 0.0
    middle = np.median(shifts, axis=0)
    agreed = np.hypot(*(np.array(shifts) - middle).T) < SHIFT_PX
    return float(np.hypot(*middle)) if agreed.mean() >= AGREE else 0.0


def _grey(picture: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _disc(size: int) -> np.ndarray:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
