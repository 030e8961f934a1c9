"""Single pictures from the parts of films: some things, each at a place of its own, before the background of one.

No two are alike, and nothing but what is seen in one tells what is where: what a model that starts from nothing needs
most when it learns to see, for the frames of a few films it learns by heart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from synth.motion.cut_outs import CutOut, FilmParts
from synth.motion.mixing import THINGS, lay

TRIES = 12
"""Things, and places for them, that are tried before a picture goes without one."""
APART_PX = 3
"""Least distance from a thing's box to what is seen of others, pixels, where it hides none of them."""
HIDING = 0.3
"""Share of the things that may hide a part of another."""
SEEN = 0.6
"""Least share, of what the border leaves of a thing, that others leave in sight."""
BORDER = 0.25
"""Share of the things that the border may cut, their box by half at the most in each direction."""
LEFT = 0.25
"""Least share of a thing that the border leaves."""
WHOLE = 0.6
"""Least area of a cut-out's picture, as a share of its usual one: smaller ones are what a border left of it."""
SCALES = 0.8, 1.25
"""Least and most that a thing is made smaller or larger."""
ALPHA = 127
"""What is more than this is of the thing."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A thing in a picture; no other has its colour."""

    colour: str
    """Its track's; empty where it has no one name."""
    mask: np.ndarray
    """[height, width] bool: what is seen of it."""
    area: int
    """Pixels of it inside the picture, what others hide included."""

    @property
    def middle(self) -> tuple[float, float]:
        """x and y of the middle of what is seen of it, 0 to 1."""
        x, y, width, height = cv2.boundingRect(self.mask.astype(np.uint8))
        return (x + width / 2) / self.mask.shape[1], (y + height / 2) / self.mask.shape[0]


@dataclass(frozen=True, eq=False)
class Still:
    """A picture, and what is in it."""

    pixels: np.ndarray
    """[height, width, 3] uint8 RGB."""
    things: tuple[Placed, ...]


def still(films: Sequence[FilmParts], rng: np.random.Generator) -> Still:
    """A picture from the parts of some films, of which at least one has a thing."""
    sizes = {film.background.shape for film in films if film.things}
    films = [film for film in films if film.background.shape in sizes]
    stage = films[int(rng.integers(len(films)))]
    picture = (stage.background[:, ::-1] if rng.random() < 0.5 else stage.background).astype(np.float32)
    picture *= np.float32(rng.choice(stage.light))
    things = [thing for film in films if film.background.shape == stage.background.shape for thing in film.things]
    placed: list[Placed] = []
    count = int(rng.integers(THINGS[0] - 1, THINGS[1] + 1))
    for _ in range(TRIES * count):
        if len(placed) == count:
            break
        thing = things[int(rng.integers(len(things)))]
        if any(thing.colour == other.colour for other in placed):
            continue
        cut = _picture(thing, rng)
        mask = _place(picture, cut, placed, rng)
        if mask is not None:
            placed = [replace(other, mask=other.mask & ~mask) for other in placed]
            placed.append(Placed(thing.colour, mask, int(mask.sum())))
    picture += stage.noise * rng.standard_normal(picture.shape, np.float32)
    return Still(picture.round().clip(0, 255).astype(np.uint8), tuple(placed))


def _picture(thing: CutOut, rng: np.random.Generator) -> np.ndarray:
    """[height, width, 4] uint8: one of a thing's pictures, of some size, mirrored or not."""
    areas = np.prod(thing.boxes[:, 2:], axis=1)
    whole = np.flatnonzero(areas >= WHOLE * np.median(areas))
    cut = thing.pictures[int(rng.choice(whole))]
    cut = cut[:, ::-1] if rng.random() < 0.5 else cut
    size = np.maximum(1, (np.array(cut.shape[1::-1]) * rng.uniform(*SCALES)).round().astype(int))
    return cv2.resize(np.ascontiguousarray(cut), size.tolist(), interpolation=cv2.INTER_LINEAR)


def _place(
    picture: np.ndarray, cut: np.ndarray, placed: Sequence[Placed], rng: np.random.Generator
) -> np.ndarray | None:
    """Lay a thing somewhere; returns what it covers, [height, width] bool, None where it would not fit."""
    tall, wide = picture.shape[:2]
    height, width = cut.shape[:2]
    beyond = (height // 2, width // 2) if rng.random() < BORDER else (0, 0)
    if height >= tall or width >= wide:
        return None
    y = int(rng.integers(-beyond[0], tall - height + beyond[0]))
    x = int(rng.integers(-beyond[1], wide - width + beyond[1]))
    whole = np.count_nonzero(cut[..., 3] > ALPHA)
    cut = cut[max(0, -y) : tall - y, max(0, -x) : wide - x]
    x, y, (height, width) = max(0, x), max(0, y), cut.shape[:2]
    mask = np.zeros((tall, wide), bool)
    mask[y : y + height, x : x + width] = cut[..., 3] > ALPHA
    if mask.sum() < max(1, LEFT * whole):
        return None
    around = np.zeros_like(mask)
    around[max(0, y - APART_PX) : y + height + APART_PX, max(0, x - APART_PX) : x + width + APART_PX] = True
    if rng.random() >= HIDING and any((around & other.mask).any() for other in placed):
        return None
    if any((other.mask & ~mask).sum() < SEEN * other.area for other in placed):
        return None
    lay(picture, np.array([x, y, width, height]), cut)
    return mask
