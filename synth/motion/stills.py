"""Single pictures from the parts of films: some things, each at a place of its own, before the background of one.

No two are alike, and nothing but what is seen in one tells what is where: what a model that starts from nothing needs
most when it learns to see, for the frames of a few films it learns by heart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synth.motion.cut_outs import FilmParts
from synth.motion.mixing import THINGS, lay

TRIES = 12
"""Things, and places for them, that are tried before a picture goes without one."""
APART_PX = 3
"""Least distance between two things' boxes, pixels."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A thing in a picture; no other has its colour."""

    colour: str
    """Its track's; empty where it has no one name."""
    middle: tuple[float, float]
    """x and y of its box's middle, 0 to 1."""
    mask: np.ndarray
    """[height, width] bool."""


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
    tall, wide = picture.shape[:2]
    taken = np.zeros((tall, wide), bool)
    count = int(rng.integers(THINGS[0] - 1, THINGS[1] + 1))
    for _ in range(TRIES * count):
        if len(placed) == count:
            break
        thing = things[int(rng.integers(len(things)))]
        cut = thing.pictures[int(rng.integers(len(thing.pictures)))]
        cut = cut[:, ::-1] if rng.random() < 0.5 else cut
        height, width = cut.shape[:2]
        if height >= tall or width >= wide or any(thing.colour == other.colour for other in placed):
            continue
        y, x = int(rng.integers(tall - height)), int(rng.integers(wide - width))
        if taken[max(0, y - APART_PX) : y + height + APART_PX, max(0, x - APART_PX) : x + width + APART_PX].any():
            continue
        lay(picture, np.array([x, y, width, height]), cut)
        mask = np.zeros_like(taken)
        mask[y : y + height, x : x + width] = cut[..., 3] > 0
        taken |= mask
        middle = (x + width / 2) / wide, (y + height / 2) / tall
        placed.append(Placed(thing.colour, middle, mask))
    picture += stage.noise * rng.standard_normal(picture.shape, np.float32)
    return Still(picture.round().clip(0, 255).astype(np.uint8), tuple(placed))
