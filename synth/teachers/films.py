"""What lessons are made of: a task's film with all that is known of it.

The procedural world's films are known by their truth, footage by the tracks that were measured in it.
"""

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from configs import Config
from env.task import Task
from storage.files import whole_file
from synth.motion.colour_names import COLOURS as NAMED_COLOURS
from synth.motion.kept_tracks import tracks_beside, tracks_of
from synth.motion.questions import SOURCE as FOOTAGE
from synth.teachers.readings import Reading, closer_look, trace_of
from synth.teachers.scene import UNNAMED, Scene, TrackScene
from synth.world.question import WorldQuestion
from synth.world.sampling import make_world
from synth.world.tasks import mark_frame, question_of
from synth.world.told import mark_time
from synth.world.world import COLOURS
from tools.decoding.frame import Stamp
from tools.decoding.video import open_video
from tools.marks.drawing import draw

KEPT_FILMS = 8
"""Films whose tracks are kept: the tasks of one come one after the other."""
MARK_TRIES = 8
"""Moments that are tried for a mark."""


class Film(Protocol):
    """A task's film."""

    @property
    def scene(self) -> Scene:
        """Who is where in it, when."""

    colours: tuple[str, ...]
    """Names that its things may have."""
    duration_s: float
    target: int
    """The task's marked thing."""
    mark_time_s: float
    """When it is marked."""

    def follow(self, index: int, times: Sequence[float], first_look: bool, rng: np.random.Generator) -> "Followed":
        """What is said of a thing that is followed through the frames of a look."""

    def mark(self, image: Path, kinds: Sequence[str], rng: np.random.Generator) -> "Marking | None":
        """Write a frame in which some thing has a mark of one of the kinds; None where that did not come out."""


Followed = tuple[str, list[Reading]]
"""The colour by which a thing is followed, and what is read."""
Marking = tuple[int, float]
"""A marked thing, and when it is marked, seconds."""


class WorldFilm:
    """Of the procedural world."""

    def __init__(self, task: Task, config: Config) -> None:
        seed, self._question = question_of(task)
        self._config = config
        self.scene = make_world(seed, config.world)
        self.colours = tuple(COLOURS)
        self.duration_s = self.scene.duration_s
        self.target, self.mark_time_s = self._question.target, self._question.mark_time_s

    def follow(self, index: int, times: Sequence[float], first_look: bool, rng: np.random.Generator) -> Followed:
        """See `Film`."""
        at = mark_time(self.scene, index, self._config.world.fps, rng)
        asked = dataclasses.replace(_about(self._question), target=index, mark_time_s=at or 0.0)
        colour = asked.colour(self.scene)
        if first_look:
            return colour, trace_of(self.scene, index, colour, times)
        return colour, closer_look(self.scene, asked, times)

    def mark(self, image: Path, kinds: Sequence[str], rng: np.random.Generator) -> Marking | None:
        """See `Film`."""
        index = int(rng.integers(self.scene.count))
        time = mark_time(self.scene, index, self._config.world.fps, rng)
        if time is None:
            return None
        mark_frame(self.scene, index, time, image, str(rng.choice(kinds)), self._config, rng)
        return index, time


def _about(question: WorldQuestion) -> WorldQuestion:
    """The question, or one that is read as it is, about one instance."""
    if question.kind in ("attribute", "spatial"):
        return dataclasses.replace(question, kind="feature", other=None, axis=None)
    return question


class TrackFilm:
    """Footage of a fixed camera."""

    def __init__(self, task: Task) -> None:
        self._video = open_video(task.video)
        self.scene = measured(task.video, self._video.stamp, tracks_beside(task.visual_prompts[0].image))
        self.colours = (*NAMED_COLOURS, UNNAMED)
        self.duration_s = float(self._video.times[-1])
        self.target, self.mark_time_s = int(task.facts["track"]), float(task.facts["mark_time_s"])

    def follow(self, index: int, times: Sequence[float], first_look: bool, rng: np.random.Generator) -> Followed:
        """See `Film`."""
        colour = self.scene.name(index)
        return colour, trace_of(self.scene, index, colour, times)

    def mark(self, image: Path, kinds: Sequence[str], rng: np.random.Generator) -> Marking | None:
        """See `Film`."""
        for _ in range(MARK_TRIES):
            index = int(rng.integers(self.scene.count))
            track = self.scene.tracks[index]
            look = int(rng.integers(len(track.times)))
            mask = track.mask_at(float(track.times[look]))
            if mask is None or not mask.any() or not track.whole[look]:
                continue
            [frame] = self._video.frames_at([float(track.times[look])], self._video.width * self._video.height, 1)
            pixels, _ = draw(frame.pixels, str(rng.choice(kinds)), mask=mask, seed=int(rng.integers(2**31)))
            with whole_file(image) as partial:
                Image.fromarray(pixels).save(partial, "PNG")
            return index, frame.time_s
        return None


@lru_cache(maxsize=KEPT_FILMS)
def measured(video: str, stamp: Stamp, kept: Path | None) -> TrackScene:
    """What moves in a video; `stamp` is its file's, so that one that was changed is measured anew; `kept`
    is the folder of tracks that are known.

    Raises:
        VideoError: it cannot be read, or its camera moves.
    """
    return TrackScene(tracks_of(video, kept))


def film_of(task: Task, config: Config) -> Film:
    """The film of a task, of which at least one thing is known. Raises ValueError: a task of which nothing is known."""
    if task.source == FOOTAGE and "track" in task.facts:
        return TrackFilm(task)
    return WorldFilm(task, config)
