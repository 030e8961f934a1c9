"""The connected parts of a picture that stand out from the background, and how alike two of them look.

Invariant: a blob's box is the tight box of its own pixels, in pixels of the frame that was looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from synth.motion.colour_names import count_colours

LEAST_SHARE = 0.0006
"""Share of the picture of the smallest blob that is not noise."""
LEAST_PX = 30
"""Its pixels at the least."""
TOUCH_PX = 2
"""A blob this near to the picture's border is cut by it, pixels."""
BINS = (24, 24, 16)
"""Bins of the two chroma channels and of the lightness in a blob's look."""

SIDES = ("left", "right", "top", "bottom")
"""The borders of the picture."""


@dataclass(frozen=True, eq=False)
class Blob:
    """One connected part."""

    box: tuple[int, int, int, int]
    """x, y, width, height."""
    mask: np.ndarray
    """[height, width] bool, of the box."""
    look: tuple[np.ndarray, np.ndarray]
    """Shares of chroma ([24, 24] float32) and of lightness ([16] float32)."""
    colours: np.ndarray
    """`synth.motion.colour_names.count_colours` of its pixels."""
    touches: frozenset[str]
    """The borders of the picture that cut it, of `SIDES`."""

    @property
    def area(self) -> int:
        """Pixels."""
        return int(self.mask.sum())

    def whole(self, height: int, width: int) -> np.ndarray:
        """[height, width] bool: the mask in the frame."""
        x, y, w, h = self.box
        return np.pad(self.mask, ((y, height - y - h), (x, width - x - w)))


def find_blobs(found: np.ndarray, frame: np.ndarray) -> list[Blob]:
    """The blobs of [H, W] bool in a frame, [H, W, 3] uint8 RGB, the upper left first."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8))
    least = max(LEAST_PX, LEAST_SHARE * found.size)
    return [cut_out(labels == i, frame) for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] >= least]


def cut_out(whole: np.ndarray, frame: np.ndarray) -> Blob:
    """The blob of a mask of the frame, [H, W] bool with at least one pixel."""
    x, y, w, h = cv2.boundingRect(whole.astype(np.uint8))
    mask = whole[y : y + h, x : x + w].copy()
    inside = cv2.erode(np.pad(mask, 1).astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0
    pixels = frame[y : y + h, x : x + w][inside if inside.any() else mask]
    height, width = whole.shape
    gaps = dict(zip(SIDES, (x, width - x - w, y, height - y - h), strict=True))
    return Blob(
        (x, y, w, h),
        mask,
        _look(pixels),
        count_colours(pixels),
        frozenset(side for side, gap in gaps.items() if gap <= TOUCH_PX),
    )


def united(blobs: Sequence[Blob], frame: np.ndarray) -> Blob:
    """The pieces as one blob."""
    return cut_out(np.any([blob.whole(*frame.shape[:2]) for blob in blobs], axis=0), frame)


def likeness(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    """How alike two looks are, 0 to 1 (Bhattacharyya coefficients of chroma and lightness)."""
    chroma, light = (float(np.sqrt(x * y).sum()) for x, y in zip(a, b, strict=True))
    return 0.7 * chroma + 0.3 * light


def overlap(a: Blob, b: Blob, grow: int = 0) -> int:
    """Pixels that two blobs share, the first one's mask grown by so many pixels."""
    (x, y, w, h), mask = a.box, a.mask
    if grow:
        mask = cv2.dilate(np.pad(mask, grow).astype(np.uint8), np.ones((2 * grow + 1,) * 2, np.uint8)) > 0
        x, y, w, h = x - grow, y - grow, w + 2 * grow, h + 2 * grow
    left, top = max(x, b.box[0]), max(y, b.box[1])
    right, bottom = min(x + w, b.box[0] + b.box[2]), min(y + h, b.box[1] + b.box[3])
    if right <= left or bottom <= top:
        return 0
    here = mask[top - y : bottom - y, left - x : right - x]
    there = b.mask[top - b.box[1] : bottom - b.box[1], left - b.box[0] : right - b.box[0]]
    return int((here & there).sum())


def covered(box: np.ndarray, blob: Blob) -> int:
    """Pixels of the blob that lie in a box, [4] x, y, width, height."""
    x, y = (max(0, round(float(box[i]) - blob.box[i])) for i in range(2))
    right, bottom = (max(0, round(float(box[i] + box[i + 2]) - blob.box[i])) for i in range(2))
    return int(blob.mask[y:bottom, x:right].sum())


def _look(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    lab = cv2.cvtColor(pixels[None], cv2.COLOR_RGB2LAB)
    chroma = cv2.calcHist([lab], [1, 2], None, list(BINS[:2]), [0, 256, 0, 256])
    light = cv2.calcHist([lab], [0], None, [BINS[2]], [0, 256])
    chroma, light = cv2.GaussianBlur(chroma, (3, 3), 0), cv2.GaussianBlur(light, (1, 5), 0)
    return chroma / chroma.sum(), light.ravel() / light.sum()
