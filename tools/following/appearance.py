"""What a target looks like, and how much each place of a frame looks like it. No learned weights.

Two cues that fail in different ways: colours that are the target's rather than its surroundings', and the picture
itself as a template. A place's likeness is their mean, 0 to 1; both are 1 for the target in its own frame.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import correlate1d

from tools.marks.canvas import Box

BINS = 16
"""Bins of a colour channel."""
SURROUNDINGS = 1.7
"""Side of the surroundings that a place is compared with, as a share of the target's."""
SCALES = (1.0, 0.87, 1.15)
"""Sizes tried, as shares of the last one; the first wins a tie."""
FLAT = 2.0
"""A template of which every channel varies less than this has no picture to be compared; only its colour counts."""
MIN_SIDE = 6
"""Smallest side of a target, pixels; less is noise."""


@dataclass(frozen=True)
class Found:
    """The place of a frame that is most like the target."""

    box: Box
    likeness: float


class Appearance:
    """Learned from one frame, [H, W, 3] uint8 RGB, in which the target's box and mask ([H, W] bool) are known."""

    def __init__(self, frame: np.ndarray, box: Box, mask: np.ndarray) -> None:
        around = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        target, others = _histogram(frame[mask]), _histogram(frame[~around])
        self._posterior = (target / (target + others + 1e-6)).astype(np.float32)
        x, y, w, h = _whole(box, frame.shape)
        self._template = np.ascontiguousarray(frame[y : y + h, x : x + w])
        self._flat = float(self._template.std(axis=(0, 1)).max()) < FLAT
        contrast = _contrast(self.likely(frame), w, h)[y + h // 2, x + w // 2]
        self._contrast = max(0.2, float(contrast))

    def likely(self, frame: np.ndarray) -> np.ndarray:
        """[H, W] float32: how sure each pixel's colour is the target's."""
        bins = frame >> 4
        return self._posterior[bins[..., 0], bins[..., 1], bins[..., 2]]

    def best(self, frame: np.ndarray, size: tuple[float, float], near: Box | None = None, reach: float = 0.0) -> Found:
        """The best place in the frame.

        Args:
            size: width and height that the target had last, pixels.
            near: where it is expected; None for anywhere. Farther places count for less, down to nothing at `reach`.
            reach: pixels between middles.
        """
        left, top = 0, 0
        if near is not None:
            left, top, frame = _window(frame, near, reach + SURROUNDINGS * max(size))
            near = near[0] - left, near[1] - top, near[2], near[3]
        likely = self.likely(frame)
        found = Found((0.0, 0.0, *size), -1.0)
        for scale in SCALES:
            w = max(1, min(max(MIN_SIDE, round(size[0] * scale)), frame.shape[1] - 2))
            h = max(1, min(max(MIN_SIDE, round(size[1] * scale)), frame.shape[0] - 2))
            likeness = self._likeness(frame, likely, w, h)
            if near is not None:
                likeness = likeness * _nearness(likeness.shape, w, h, near, reach)
            y, x = np.unravel_index(int(np.argmax(likeness)), likeness.shape)
            if likeness[y, x] > found.likeness + 0.02:
                found = Found((float(left + x), float(top + y), float(w), float(h)), float(likeness[y, x]))
        return found

    def _likeness(self, frame: np.ndarray, likely: np.ndarray, w: int, h: int) -> np.ndarray:
        """[H - h + 1, W - w + 1], by the upper left corner."""
        rows, columns = frame.shape[0] - h + 1, frame.shape[1] - w + 1
        contrast = _contrast(likely, w, h)[h // 2 : h // 2 + rows, w // 2 : w // 2 + columns]
        coloured = np.clip(contrast / self._contrast, 0.0, 1.0)
        if self._flat:
            return coloured
        template = cv2.resize(self._template, (w, h), interpolation=cv2.INTER_AREA)
        return 0.5 * np.clip(cv2.matchTemplate(frame, template, cv2.TM_CCOEFF_NORMED), 0.0, 1.0) + 0.5 * coloured


def _histogram(pixels: np.ndarray) -> np.ndarray:
    """[BINS, BINS, BINS] smoothed share of each colour."""
    counts, _ = np.histogramdd(pixels.reshape(-1, 3), bins=(BINS,) * 3, range=[(0, 256)] * 3)
    for axis in range(3):
        counts = correlate1d(counts, (0.25, 0.5, 0.25), axis, mode="constant")
    return counts / max(1.0, counts.sum())


def _contrast(likely: np.ndarray, w: int, h: int) -> np.ndarray:
    """[H, W]: mean likeliness of the box around each pixel less that of a ring around the box."""
    wide, high = round(w * SURROUNDINGS) | 1, round(h * SURROUNDINGS) | 1
    border = cv2.BORDER_REPLICATE
    inner = cv2.boxFilter(likely, -1, (w, h), borderType=border)
    outer = cv2.boxFilter(likely, -1, (wide, high), borderType=border)
    share = w * h / (wide * high)
    return inner - (outer - share * inner) / (1 - share)


def _window(frame: np.ndarray, near: Box, margin: float) -> tuple[int, int, np.ndarray]:
    """Left, top and pixels of the part of the frame around a box."""
    left, top = max(0, int(near[0] - margin)), max(0, int(near[1] - margin))
    right, bottom = int(near[0] + near[2] + margin) + 1, int(near[1] + near[3] + margin) + 1
    return left, top, np.ascontiguousarray(frame[top:bottom, left:right])


def _nearness(shape: tuple[int, ...], w: int, h: int, near: Box, reach: float) -> np.ndarray:
    rows = np.arange(shape[0])[:, None] + h / 2 - near[1] - near[3] / 2
    columns = np.arange(shape[1])[None] + w / 2 - near[0] - near[2] / 2
    distance = np.hypot(rows, columns) / max(1.0, reach)
    return np.clip(1.0 - 0.3 * distance**2, 0.0, 1.0) * (distance <= 1.0)


def _whole(box: Box, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The box in whole pixels inside the frame, at least `MIN_SIDE` each way where the frame has room."""
    w = min(max(MIN_SIDE, round(box[2])), shape[1])
    h = min(max(MIN_SIDE, round(box[3])), shape[0])
    x = min(max(0, round(box[0] + box[2] / 2 - w / 2)), shape[1] - w)
    y = min(max(0, round(box[1] + box[3] / 2 - h / 2)), shape[0] - h)
    return x, y, w, h
