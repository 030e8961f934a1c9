"""Names of colours that nobody disputes.

Invariant: a pixel between two names has none, so a thing gets a colour's name only where most of it is plainly that.
"""

import cv2
import numpy as np

HUES = {
    "red": (-6, 4),
    "orange": (9, 16),
    "yellow": (23, 32),
    "green": (43, 80),
    "blue": (102, 124),
    "purple": (132, 150),
    "pink": (157, 167),
}
"""Hues of each name, OpenCV's half degrees, both ends included; what lies between two names has none."""
COLOURS = (*HUES, "white", "grey", "black")
"""Every name there is."""
NAMED_SHARE = 0.65
"""Least share of a thing's pixels that gives it a name."""
SECOND_SHARE = 0.12
"""Most that any other name may have of a thing that has one."""
VIVID, BRIGHT, ORANGE_BRIGHT = 100, 80, 200
"""Least saturation and value of a hue, 0 to 255; a darker orange is some brown."""
PALE, WHITE, BLACK = 38, 205, 45
"""Most saturation of white and grey, least value of white, most value of black, 0 to 255."""
GREY = (80, 170)
"""Values of grey, 0 to 255."""


def count_colours(pixels: np.ndarray) -> np.ndarray:
    """[len(COLOURS) + 1] int64: how many of the pixels, [N, 3] uint8 RGB, have each name; the last, none."""
    hue, saturation, value = cv2.cvtColor(pixels[None], cv2.COLOR_RGB2HSV)[0].astype(int).T
    found = np.full(len(pixels), len(COLOURS))
    for i, (low, high) in enumerate(HUES.values()):
        vivid = (saturation >= VIVID) & (value >= (ORANGE_BRIGHT if i == 1 else BRIGHT))
        found[vivid & ((hue - low) % 180 <= high - low)] = i
    pale = saturation <= PALE
    found[pale & (value >= WHITE)] = COLOURS.index("white")
    found[pale & (value >= GREY[0]) & (value <= GREY[1])] = COLOURS.index("grey")
    found[value <= BLACK] = COLOURS.index("black")
    return np.bincount(found, minlength=len(COLOURS) + 1)


def name_colour(counts: np.ndarray) -> tuple[str, float]:
    """What a thing's colour is called, of which `count_colours` counted the pixels, and the share of them that have it,
    0 to 1. The name is one of `COLOURS`; empty where it has several colours, or one between two names."""
    total, named = int(counts.sum()), counts[:-1]
    if total == 0:
        return "", 0.0
    second, first = np.argsort(named, kind="stable")[-2:]
    share = float(named[first] / total)
    if share < NAMED_SHARE or named[second] > SECOND_SHARE * total:
        return "", share
    return COLOURS[first], share
