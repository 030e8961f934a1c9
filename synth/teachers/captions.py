"""Captions of frames, from which a model that starts from nothing learns to see.

A released Qwen3-VL can already name what is in a picture; the tiny model built from random weights can't. Before the
teacher's episodes it reads captions of single frames, marked or plain, in the teacher's own words: one frame at a time
is learned several times faster than two. Beside them it looks up what it has seen where and when, and follows single
instances through strips of frames, each with its time: many readings for the price of one prompt. Released weights need
no captions.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from configs import Config
from configs.episode import EpisodeConfig
from env.chat import ChatFormat
from env.task import Task
from env.trajectory import Trajectory
from synth.motion.cut_outs import FilmParts
from synth.motion.stills import Still
from synth.teachers.films import Film, Followed, film_of
from synth.teachers.footage import is_footage
from synth.teachers.lesson import lesson
from synth.teachers.lookups import lookup, lookup_in_words, seen_at
from synth.teachers.readings import marked, marked_at, spoken, trace_of
from synth.teachers.scene import Scene
from synth.teachers.stills import StillScene, parts_beside, write_still
from synth.teachers.turns import SEE
from synth.world.tasks import coarse_times, crop_times
from synth.world.world import CELLS
from tools.decoding.frame import Frame
from tools.decoding.video import open_image, open_video
from tools.following.target import ROUGH

MARKS = 4
"""Frames for each task that are marked only to be captioned, each with a mark of its own."""
ROUGH_SHARE = 0.6
"""Share of those marks that only point at their target."""
PLAIN = 0.5
"""Plain frames captioned for each task."""
COARSE = 0.25
"""Share of the captions whose frame is as small as those of the first look."""
FIRST_LOOK = 0.4
"""Share of the strips and lookups whose frames are those of the first look; the others are closer looks."""
FOLLOWED = 4
"""Most instances that are followed through a strip, one after the other."""
STRIPS = 1
"""Strips for each task, and lookups in frames."""
STILLS = 8
"""Pictures put together anew that are captioned for each task of footage, in place of other marked frames."""
WORDS = 6
"""Lookups in words for each task."""


def captions(task: Task, chat: ChatFormat, config: Config, marks: Path) -> Iterator[Trajectory]:
    """Captions of a task: of its marked frame and of others, for some tasks of a plain frame, lookups and strips.

    Args:
        marks: folder for the other marked frames.
    """
    episode = chat.bounded(config.episode)
    rng = np.random.default_rng([config.seed, *task.id.encode()])
    film = film_of(task, config)
    parts = parts_beside(task) if is_footage(task) else ()
    say = marked_at if is_footage(task) else marked
    for index, time, image in [
        (film.target, film.mark_time_s, task.visual_prompts[0].image),
        *(_marks(task, film, marks, config, rng) if not parts else ()),
    ]:
        frame = open_image(image, time, _budget(episode, rng), episode.pixel_multiple, episode.min_pixels or 0)
        yield _caption(task, chat, frame, say(film.scene, index, time), film.scene)
    if rng.random() < PLAIN:
        time = float(rng.uniform(0, film.duration_s))
        frame = _frames(task, [time], _budget(episode, rng), chat, config)[0]
        yield _caption(task, chat, frame, "There is no mark.", film.scene)
    # A camera's frames are at any time, the procedural world's at its own.
    asked = {"per_s": 10} if is_footage(task) else {"darts": True}
    for _ in range(WORDS):
        yield lookup_in_words(task, chat, film.colours, film.duration_s, rng, **asked)
    for _ in range(STRIPS):
        frames, _ = _look(task, chat, config, film, rng)
        yield lookup(task, chat, film.scene, frames, rng)
        yield _strip(task, chat, config, film, rng)
    if parts:
        yield from _of_stills(task, chat, config, film, parts, marks, rng)


def _of_stills(
    task: Task,
    chat: ChatFormat,
    config: Config,
    film: Film,
    parts: Sequence[FilmParts],
    folder: Path,
    rng: np.random.Generator,
) -> Iterator[Trajectory]:
    """Captions of pictures that were put together anew, most of them marked, and a lookup and a strip of some."""
    folder.mkdir(parents=True, exist_ok=True)
    episode = chat.bounded(config.episode)

    def picture(number: str, budget: int, t: float, kinds: Sequence[str]) -> tuple[Frame, Still, int | None]:
        image = folder / f"{task.id}-still-{number}.png"
        made, on = write_still(parts, image, (budget, episode.pixel_multiple), kinds, rng)
        return open_image(str(image), t, budget, episode.pixel_multiple, episode.min_pixels or 0), made, on

    for number in range(STILLS):
        t = round(float(rng.uniform(0, film.duration_s)), 1)
        kinds = () if rng.random() < PLAIN / STILLS else _mark_kinds(config, rng)
        frame, made, on = picture(str(number), _budget(episode, rng), t, kinds)
        scene = StillScene([made], [t])
        thought = "There is no mark." if on is None else marked_at(scene, scene.of_colour(made.things[on].colour), t)
        yield _caption(task, chat, frame, thought, scene)
    times, budget = _look_times(film.duration_s, config, bool(rng.random() < FIRST_LOOK), rng)
    shown = [picture(f"look-{i}", budget, t, ()) for i, t in enumerate(times)]
    frames, scene = [frame for frame, _, _ in shown], StillScene([made for _, made, _ in shown], times)
    yield lookup(task, chat, scene, frames, rng)
    followed = rng.permutation(scene.count)[:FOLLOWED].tolist()
    read = [(scene.name(index), trace_of(scene, index, scene.name(index), times)) for index in followed]
    yield _followed(task, chat, frames, read)


def _marks(
    task: Task, film: Film, folder: Path, config: Config, rng: np.random.Generator
) -> Iterator[tuple[int, float, str]]:
    """Some thing, when it is marked, and the file of the marked frame, at most `MARKS` times."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(MARKS):
        image = folder / f"{task.id}-{number}.png"
        marking = film.mark(image, _mark_kinds(config, rng), rng)
        if marking is not None:
            yield *marking, str(image)


def _mark_kinds(config: Config, rng: np.random.Generator) -> Sequence[str]:
    """Those that a mark is one of, more often such as only point."""
    known = config.synth.prompt_kinds if config.synth.source else config.world.prompt_kinds
    rough = sorted(set(ROUGH) & set(known))
    return rough if rough and rng.random() < ROUGH_SHARE else known


def _budget(episode: EpisodeConfig, rng: np.random.Generator) -> int:
    """Most pixels of a captioned frame."""
    return episode.prompt_max_pixels if rng.random() < COARSE else episode.tool_max_pixels


def _caption(task: Task, chat: ChatFormat, frame: Frame, thought: str, scene: Scene) -> Trajectory:
    """Everything in sight, in reading order of its places."""
    seen = sorted(seen_at(scene, frame.time_s), key=lambda sight: CELLS.index(sight[1]))
    text = f"<think>{thought}</think><answer> {', '.join(map(' '.join, seen))}.</answer>"
    return lesson(task, "caption", chat, chat.prompt(SEE, (f"{frame.time_s:.1f} s ", frame)), [("", text)])


def _strip(task: Task, chat: ChatFormat, config: Config, film: Film, rng: np.random.Generator) -> Trajectory:
    """Some things, followed through the frames of the first look or of a closer one, as the teacher reads them."""
    frames, first_look = _look(task, chat, config, film, rng)
    shown = [frame.time_s or 0.0 for frame in frames]
    followed = rng.permutation(film.scene.count)[:FOLLOWED].tolist()
    return _followed(task, chat, frames, [film.follow(index, shown, first_look, rng) for index in followed])


def _followed(task: Task, chat: ChatFormat, frames: Sequence[Frame], read: Sequence[Followed]) -> Trajectory:
    pieces = [(f" Follow {colour}. ", f"{spoken(readings)}.") for colour, readings in read]
    prompt = chat.prompt(SEE, tuple(part for frame in frames for part in (f"{frame.time_s:.1f} s ", frame)))
    return lesson(task, "strip", chat, prompt, pieces)


def _look(
    task: Task, chat: ChatFormat, config: Config, film: Film, rng: np.random.Generator
) -> tuple[list[Frame], bool]:
    """Frames of the first look or of a closer one, and whether it is the first."""
    first_look = bool(rng.random() < FIRST_LOOK)
    times, budget = _look_times(film.duration_s, config, first_look, rng)
    return _frames(task, times, budget, chat, config), first_look


def _look_times(
    duration_s: float, config: Config, first_look: bool, rng: np.random.Generator
) -> tuple[list[float], int]:
    """Times of a look's frames, and the most pixels of one."""
    if first_look:
        return coarse_times(duration_s, config), config.episode.prompt_max_pixels
    return _closer_times(duration_s, config, rng), config.episode.tool_max_pixels


def _closer_times(duration_s: float, config: Config, rng: np.random.Generator) -> list[float]:
    """Times of the frames of a closer look at a stretch somewhere, as long as a question's or as a gap of the first
    look."""
    coarse = coarse_times(duration_s, config)
    gap = coarse[1] - coarse[0] if len(coarse) > 1 else duration_s
    length = gap if rng.random() < 0.7 else min(3.0, duration_s)
    start = float(rng.uniform(0.0, max(0.0, duration_s - length)) // 0.5 * 0.5)
    return crop_times((start, start + length), config)


def _frames(task: Task, times: Sequence[float], budget: int, chat: ChatFormat, config: Config) -> list[Frame]:
    episode = chat.bounded(config.episode)
    video = open_video(task.video)
    return video.frames_at(list(times), budget, episode.pixel_multiple, min_pixels=episode.min_pixels or 0)
