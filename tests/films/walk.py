"""A film of a thing that walks through, leaves and comes back, beside another that stays: all of it known."""

from pathlib import Path

import numpy as np

from tests.films import movies

RATE = 8
SIDE = 30
WIDTH, HEIGHT = 320, 200
SECONDS = 12.0
AWAY = (5.0, 7.0)
"""While it is out of the picture, seconds."""


def place(t: float) -> tuple[float, float] | None:
    """Upper left corner of the walker; None while it is away."""
    if AWAY[0] <= t < AWAY[1]:
        return None
    if t < AWAY[0]:
        return 30 + 40 * t, 60 + 20 * np.sin(t)
    return 260 - 45 * (t - AWAY[1]), 120 - 10 * (t - AWAY[1])


def picture(t: float) -> np.ndarray:
    """[HEIGHT, WIDTH, 3]."""
    image = np.random.default_rng(0).integers(70, 130, (HEIGHT // 4, WIDTH // 4, 1)).repeat(4, 0).repeat(4, 1)
    image = np.repeat(image, 3, 2).astype(np.uint8)
    image[150:185, 140:175] = (40, 90, 230)
    if (corner := place(t)) is not None:
        x, y = round(corner[0]), round(corner[1])
        image[y : y + SIDE, x : x + SIDE] = (220, 60, 40)
        image[y + 10 : y + 20, x : x + SIDE] = (240, 220, 60)
    return image


def write(path: Path) -> str:
    return movies.write_pictures(path, [picture(i / RATE) for i in range(round(SECONDS * RATE))], RATE)


def overlap(box: tuple[float, ...], t: float) -> float:
    """Intersection over union of a box (x, y, w, h) with the walker's at a time."""
    corner = place(t)
    assert corner is not None
    x, y, w, h = box
    left, top = max(x, corner[0]), max(y, corner[1])
    right, bottom = min(x + w, corner[0] + SIDE), min(y + h, corner[1] + SIDE)
    both = max(0.0, right - left) * max(0.0, bottom - top)
    return both / (w * h + SIDE**2 - both)
