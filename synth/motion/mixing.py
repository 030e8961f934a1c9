"""New films from the parts of others: what moved in some, before the still background of another.

Where only a few films are to be had, a model that starts from nothing learns them by heart: the background and the time
tell it what is where. Of films that are put together anew no two are alike, and nothing but what is seen tells.

Invariant: a film is a function of the parts and the random numbers alone; what is asked about it is measured in it
like in any other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from synth.motion.cut_outs import CutOut, FilmParts
from synth.video_file import write_frames

THINGS = (2, 4)
"""Fewest and most things of a film."""
TWINS = 0.3
"""Share of the films in which two things may have one colour."""
TRIES = 32
"""Things that are tried before a film goes without one."""
LONGEST_S = 60.0
"""Longest film, seconds."""
GOP_S = 1.0
"""Seconds from one keyframe to the next."""


@dataclass(frozen=True, eq=False)
class _Placed:
    """A thing in a new film."""

    thing: CutOut
    step_s: float
    start_s: float
    mirrored: bool
    backwards: bool

    def at(self, time_s: float, width: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Its box, [4], and its picture, [height, width, 4], at a time; None while it is not there."""
        look = round((time_s - self.start_s) / self.step_s)
        if not 0 <= look < len(self.thing.pictures):
            return None
        look = len(self.thing.pictures) - 1 - look if self.backwards else look
        box, picture = self.thing.boxes[look], self.thing.pictures[look]
        if self.mirrored:
            return np.array([width - box[0] - box[2], *box[1:]]), picture[:, ::-1]
        return box, picture


def write_mixed(films: Sequence[FilmParts], rng: np.random.Generator, path: Path) -> None:
    """Put a film together from the parts of others of one size, of which at least one has a thing: the background and
    the light are the first one's."""
    stage = films[0]
    looks = min(len(stage.light), round(LONGEST_S / stage.step_s))
    placed = list(_placed(films, looks * stage.step_s, rng))
    rate = Fraction(1 / stage.step_s).limit_denominator(1000)
    write_frames(path, _frames(stage, placed, looks, rng), rate, max(1, round(GOP_S / stage.step_s)))


def _placed(films: Sequence[FilmParts], duration_s: float, rng: np.random.Generator) -> Iterator[_Placed]:
    there = [(film, thing) for film in films for thing in film.things]
    count, twins, colours = int(rng.integers(THINGS[0], THINGS[1] + 1)), rng.random() < TWINS, set[str]()
    for _ in range(TRIES):
        film, thing = there[int(rng.integers(len(there)))]
        if count == 0 or (thing.colour in colours and not twins):
            continue
        mirrored, backwards = (bool(rng.random() < 0.5) for _ in range(2))
        yield _Placed(thing, film.step_s, _start(thing, backwards, film.step_s, duration_s, rng), mirrored, backwards)
        colours.add(thing.colour)
        count -= 1


def _start(thing: CutOut, backwards: bool, step_s: float, duration_s: float, rng: np.random.Generator) -> float:
    """When it starts, seconds. What was there when its film began, or ended, is so again, as far as that can be: nobody
    saw it come, or go."""
    lasts_s = step_s * len(thing.pictures)
    begins, stays = (thing.to_end, thing.from_start) if backwards else (thing.from_start, thing.to_end)
    if begins:
        low, high = -lasts_s / 2, 0.0
    elif stays:
        low, high = duration_s - lasts_s, duration_s - lasts_s / 2
    else:
        low, high = 0.0, duration_s - lasts_s / 2
    return float(rng.uniform(low, max(low, high)))


def _frames(stage: FilmParts, placed: Sequence[_Placed], looks: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    mirrored = rng.random() < 0.5
    still = (stage.background[:, ::-1] if mirrored else stage.background).astype(np.float32)
    height, width = (side // 2 * 2 for side in still.shape[:2])
    for look in range(looks):
        frame = still * np.float32(stage.light[look])
        for one in placed:
            if (seen := one.at(look * stage.step_s, still.shape[1])) is not None:
                lay(frame, *seen)
        frame += stage.noise * rng.standard_normal(still.shape, np.float32)
        yield frame.round().clip(0, 255).astype(np.uint8)[:height, :width]


def lay(frame: np.ndarray, box: np.ndarray, picture: np.ndarray) -> None:
    """Lay a thing's picture, [height, width, 4] uint8, on a frame, float32, where its box is, with soft edges."""
    x, y, width, height = box.tolist()
    part = frame[y : y + height, x : x + width]
    alpha = cv2.GaussianBlur(np.pad(picture[..., 3], 1), (3, 3), 0)[1:-1, 1:-1, None].astype(np.float32) / 255
    part += alpha * (picture[..., :3] - part)
