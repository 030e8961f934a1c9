"""Looks at pictures that were put together from the parts of one's own films, as a scene that lessons are made of."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from env.task import Task
from storage.files import whole_file
from synth.motion.cut_outs import FilmParts
from synth.motion.stills import Still, still
from synth.teachers.scene import UNNAMED, cell_at
from tools.decoding.image import fit
from tools.marks.drawing import draw

PARTS = "mixed/parts"
"""Beside the folder of a run's marked frames."""
MOST_FILMS = 64
"""Most films whose parts are in memory."""


class StillScene:
    """What is in the pictures of one look, each at its time: things are told apart by their colours alone."""

    def __init__(self, pictures: Sequence[Still], times: Sequence[float]) -> None:
        self._times = np.array(times)
        self._seen = [{thing.colour or UNNAMED: cell_at(*thing.middle) for thing in one.things} for one in pictures]
        self._colours = sorted({colour for seen in self._seen for colour in seen})

    @property
    def count(self) -> int:
        """See `Scene`."""
        return len(self._colours)

    def name(self, index: int) -> str:
        """The colour of a thing."""
        return self._colours[index]

    def of_colour(self, colour: str) -> int:
        """The thing that has it."""
        return self._colours.index(colour or UNNAMED)

    def colour(self, index: int, t: float) -> str | None:
        """See `Scene`."""
        return None if self.cell(index, t) is None else self._colours[index]

    def cell(self, index: int, t: float) -> str | None:
        """See `Scene`."""
        return self._seen[int(np.abs(self._times - t).argmin())].get(self._colours[index])


def parts_beside(task: Task) -> tuple[FilmParts, ...]:
    """The parts of the films that a task's run has taken apart; none where it has not."""
    return _parts(Path(task.visual_prompts[0].image).parent.parent / PARTS)


@lru_cache(maxsize=1)
def _parts(folder: Path) -> tuple[FilmParts, ...]:
    films = [FilmParts.load(path) for path in sorted(folder.glob("*.npz"))[:MOST_FILMS]]
    return tuple(films) if any(film.things for film in films) else ()


def write_still(
    films: Sequence[FilmParts], image: Path, budget: tuple[int, int], kinds: Sequence[str], rng: np.random.Generator
) -> tuple[Still, int | None]:
    """Write a picture as large as a frame of a budget, most pixels and multiple of the sides.

    Args:
        kinds: of marks, of which one thing gets one; empty leaves all without.

    Returns:
        The picture, and which of its things is marked, if one is.
    """
    made, marked = still(films, rng), None
    pixels = made.pixels
    if kinds and made.things:
        marked = int(rng.integers(len(made.things)))
        mask = made.things[marked].mask
        pixels, _ = draw(pixels, str(rng.choice(kinds)), mask=mask, seed=int(rng.integers(2**31)))
    size = fit(pixels.shape[1], pixels.shape[0], *budget, 0)
    with whole_file(image) as partial:
        Image.fromarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)).save(partial, "PNG")
    return made, marked
