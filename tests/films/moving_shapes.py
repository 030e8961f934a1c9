"""Films of coloured shapes that move before a fixed camera, and what is true of them.

What is said of a film is worked out from the paths of its shapes alone, never from its pixels.
"""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from tests.films import movies

SIZE = (256, 192)
FPS = 8
PALETTE = {
    "red": (215, 35, 35),
    "green": (40, 165, 60),
    "blue": (35, 75, 215),
    "yellow": (238, 215, 40),
    "purple": (130, 40, 175),
    "white": (240, 240, 240),
}
FORMS = ("disc", "square", "triangle")
CORNERS = {"square": (4, 0.125), "triangle": (3, 0.25)}
"""Corners of a form, and by how many turns it leans."""


@dataclass(frozen=True)
class Shape:
    colour: str
    form: str
    radius: float
    knots: tuple[tuple[float, float, float], ...]
    """(seconds, x, y) of its middle; straight and even in between, away before the first and after the last."""
    striped: bool = False

    def centre(self, t: float) -> np.ndarray | None:
        times, xs, ys = zip(*self.knots, strict=True)
        if not times[0] <= t <= times[-1]:
            return None
        return np.array([np.interp(t, times, xs), np.interp(t, times, ys)])

    def mask(self, t: float, size: tuple[int, int] = SIZE) -> np.ndarray:
        """[H, W] bool, whatever hides it left out of account."""
        mask = np.zeros(size[::-1], np.uint8)
        if (centre := self.centre(t)) is not None:
            if self.form == "disc":
                turns = np.linspace(0, 2 * np.pi, 40)
            else:
                corners, lean = CORNERS[self.form]
                turns = (np.arange(corners) / corners + lean) * 2 * np.pi
            points = centre + self.radius * np.stack([np.cos(turns), np.sin(turns)], -1)
            cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 1, shift=4)
        return mask > 0

    def in_sight(self, t: float, size: tuple[int, int] = SIZE) -> bool:
        return bool(self.mask(t, size).any())


@dataclass(frozen=True)
class Film:
    shapes: tuple[Shape, ...]
    """Later ones hide earlier ones."""
    duration_s: float
    seed: int = 0
    pan_px_s: float = 0.0
    """How fast the camera turns, pixels a second."""
    shake_px: float = 0.0
    calm: bool = False
    """Whether the ground is dim and even, or as bright and rough as gravel."""

    @property
    def times(self) -> np.ndarray:
        return np.arange(round(self.duration_s * FPS)) / FPS

    def seen(self, i: int, t: float) -> np.ndarray:
        """[H, W] bool: what can be seen of a shape."""
        mask = self.shapes[i].mask(t)
        for other in self.shapes[i + 1 :]:
            mask &= ~other.mask(t)
        return mask

    def write(self, path: Path) -> str:
        rng = np.random.default_rng(self.seed)
        ground = _ground(rng, self.duration_s * abs(self.pan_px_s), self.calm)
        pictures = []
        for t in self.times:
            left = round(abs(self.pan_px_s) * t + 10 + self.shake_px * np.sin(7.0 * t))
            picture = ground[10 : 10 + SIZE[1], left : left + SIZE[0]].astype(np.float32)
            for shape in self.shapes:
                mask = shape.mask(t)
                picture[mask] = PALETTE[shape.colour]
                if shape.striped and mask.any():
                    centre = shape.centre(t)
                    assert centre is not None
                    rows = np.arange(SIZE[1])[:, None] - centre[1]
                    picture[mask & (rows // 4 % 2 == 0)] *= 0.8
            picture *= 1.0 + 0.12 * np.sin(2 * np.pi * t / self.duration_s + self.seed)
            picture += rng.normal(0, 4.0, picture.shape)
            pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
        return movies.write_pictures(path, pictures, rate=FPS)


def random_film(seed: int, radius_px: tuple[float, float] = (10.0, 18.0), calm: bool = False) -> Film:
    """Two to four shapes that cross, enter, leave, stop and turn back, often two of one colour."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 5))
    colours = rng.permutation(list(PALETTE))[:count].tolist()
    if rng.random() < 0.3:
        colours[-1] = colours[0]
    shapes = []
    for colour in colours:
        radius = float(rng.uniform(*radius_px))
        start_s = float(rng.uniform(0.0, 5.0))
        speed = float(rng.uniform(30, 70))
        points = _path(rng, str(rng.choice(["across", "down", "back", "zigzag", "corner", "stays"])), radius)
        knots, t = [(start_s, *points[0])], start_s
        for before, after in pairwise(points):
            far = float(np.hypot(after[0] - before[0], after[1] - before[1]))
            t += far / speed if far else float(rng.uniform(1.0, 3.0))
            knots.append((t, *after))
        striped = bool(rng.random() < 0.3)
        shapes.append(Shape(colour, str(rng.choice(FORMS)), radius, tuple(knots), striped))
    return Film(tuple(shapes), 13.0, seed, calm=calm)


def _path(rng: np.random.Generator, kind: str, radius: float) -> list[tuple[float, float]]:
    width, height = SIZE
    off = radius + 4
    x, y = float(rng.uniform(30, width - 30)), float(rng.uniform(25, height - 25))
    match kind:
        case "across":
            points = [
                (-off, y),
                (x, y),
                (x, y),
                (width + off, float(np.clip(y + rng.uniform(-30, 30), 25, height - 25))),
            ]
        case "down":
            points = [(x, -off), (x, height + off)]
        case "back":
            far = float(rng.uniform(0.6, 0.85)) * width
            points = [(-off, y), (far, y), (far, y), (-off, y)]
        case "zigzag":
            points = [(-off, y), *((width * a, y) for a in (0.75, 0.25, 0.75)[: int(rng.integers(1, 4))])]
            points.append((points[-1][0], height + off))
        case "corner":
            points = [(-off, y), (x, y), (x, -off)]
        case _:
            points = [(x, y), (x, y), (width + off, y)]
    if rng.random() < 0.5:
        points = [(width - a, b) for a, b in points]
    if rng.random() < 0.5:
        points = [(a, height - b) for a, b in points]
    return points


def _ground(rng: np.random.Generator, extra: float, calm: bool) -> np.ndarray:
    """A textured ground of dull colours, wider than the picture by `extra` and some."""
    width, height = SIZE[0] + int(extra) + 40, SIZE[1] + 20
    patch, levels, tint, grain = (48, (55, 90), 8, 5) if calm else (24, (70, 150), 14, 22)
    coarse = rng.uniform(*levels, (height // patch + 2, width // patch + 2, 1)) + rng.uniform(-tint, tint, 3)
    fine = rng.uniform(-grain, grain, (height // 3 + 2, width // 3 + 2, 1)) * np.ones(3)
    layers = [
        cv2.resize(layer.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC) for layer in (coarse, fine)
    ]
    return np.clip(layers[0] + layers[1], 0, 255)


def owner_of(film: Film, times: np.ndarray, boxes: np.ndarray) -> int | None:
    """The one shape that boxes, [T, 4], are on all the while; None if there is no such."""
    fitting = []
    for i in range(len(film.shapes)):
        hits = 0
        for t, (x, y, w, h) in zip(times, boxes, strict=True):
            mask = film.shapes[i].mask(t)
            inside = mask[max(0, round(y)) : round(y + h), max(0, round(x)) : round(x + w)].sum()
            hits += bool(mask.any() and inside >= 0.6 * mask.sum())
        if hits >= 0.95 * len(times):
            fitting.append(i)
    return fitting[0] if len(fitting) == 1 else None
