"""Captions of frames, from which a model that starts from nothing learns to see.

A released Qwen3-VL can already name what is in a picture; the tiny model built from random weights can't. Before the
teacher's episodes it reads captions of single frames, marked or plain, in the teacher's own words: one frame at a time
is learned several times faster than two. Beside them it looks up what it has seen where and when, and follows single
instances through strips of frames, each with its time: many readings for the price of one prompt. Released weights need
no captions.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from configs import Config
from env.chat import ChatFormat
from env.task import Task
from env.trajectory import Trajectory
from synth.teachers.lesson import lesson
from synth.teachers.lookups import GONE, lookup, lookup_in_words
from synth.teachers.readings import closer_look, spoken, trace_of, who_is_where
from synth.teachers.scripted import SEE, question_of, the_mark
from synth.world.question import WorldQuestion
from synth.world.tasks import coarse_times
from synth.world.told import mark_time
from synth.world.world import CELLS, World, make_world
from tools.decoding.frame import Frame
from tools.decoding.video import open_image, open_video

PLAIN = 0.5
"""Plain frames captioned for each marked one."""
COARSE = 0.25
"""Share of the captions whose frame is as small as those of the first look."""
FIRST_LOOK = 0.4
"""Share of the strips and lookups whose frames are those of the first look; the others are closer looks."""
FOLLOWED = 4
"""Most instances that are followed through a strip, one after the other."""
STRIPS = 2
"""Strips for each task, and lookups in frames."""
WORDS = 8
"""Lookups in words for each task."""


def captions(task: Task, chat: ChatFormat, config: Config) -> Iterator[Trajectory]:
    """Captions of a task: of its marked frame, for some tasks of a plain frame, lookups and strips."""
    episode = chat.bounded(config.episode)
    rng = np.random.default_rng([config.seed, *task.id.encode()])
    seed, question = question_of(task)
    world = make_world(seed, config.world)
    mark = task.visual_prompts[0]
    coarse, plain = rng.random(2) < COARSE, rng.random() < PLAIN
    budgets = [episode.prompt_max_pixels if small else episode.tool_max_pixels for small in coarse]
    marked = open_image(mark.image, mark.time_s, budgets[0], episode.pixel_multiple, episode.min_pixels or 0)
    yield _caption(task, chat, marked, the_mark(world, question), world)
    if plain:
        time = float(rng.uniform(0, world.duration_s))
        frame = _frames(task, [time], budgets[1], chat, config)[0]
        yield _caption(task, chat, frame, "There is no mark.", world)
    for _ in range(WORDS):
        yield lookup_in_words(task, chat, config.world.max_duration_s, rng)
    for _ in range(STRIPS):
        frames, _ = _look(task, chat, config, world, rng)
        yield lookup(task, chat, world, frames, rng)
        yield _strip(task, chat, config, world, question, rng)


def _caption(task: Task, chat: ChatFormat, frame: Frame, thought: str, world: World) -> Trajectory:
    """Every instance in sight, in reading order of their places."""
    seen = [who_is_where(world, i, frame.time_s) for i in range(len(world.instances))]
    in_sight = sorted((words for words in seen if words != GONE), key=lambda words: CELLS.index(words.split()[1]))
    text = f"<think>{thought}</think><answer> {', '.join(in_sight)}.</answer>"
    return lesson(task, "caption", chat, chat.prompt(SEE, (f"{frame.time_s:.1f} s ", frame)), [("", text)])


def _strip(
    task: Task, chat: ChatFormat, config: Config, world: World, question: WorldQuestion, rng: np.random.Generator
) -> Trajectory:
    """Some instances, followed through the frames of the first look or of a closer one, as the teacher reads them."""
    frames, first_look = _look(task, chat, config, world, rng)
    shown = [frame.time_s or 0.0 for frame in frames]
    pieces = []
    for index in rng.permutation(len(world.instances))[:FOLLOWED].tolist():
        at = mark_time(world, index, config.world.fps, rng)
        asked = dataclasses.replace(_about(question), target=index, mark_time_s=at or 0.0)
        colour = asked.colour(world)
        read = trace_of(world, index, colour, shown) if first_look else closer_look(world, asked, shown)
        pieces.append((f" Follow {colour}. ", f"{spoken(read)}."))
    prompt = chat.prompt(SEE, tuple(part for frame in frames for part in (f"{frame.time_s:.1f} s ", frame)))
    return lesson(task, "strip", chat, prompt, pieces)


def _look(
    task: Task, chat: ChatFormat, config: Config, world: World, rng: np.random.Generator
) -> tuple[list[Frame], bool]:
    """Frames of the first look or of a closer one, and whether it is the first."""
    first_look = bool(rng.random() < FIRST_LOOK)
    times, budget = coarse_times(world.duration_s, config), config.episode.prompt_max_pixels
    if not first_look:
        times, budget = _closer_times(world, config, rng), config.episode.tool_max_pixels
    return _frames(task, times, budget, chat, config), first_look


def _about(question: WorldQuestion) -> WorldQuestion:
    """The question, or one that is read as it is, about one instance."""
    if question.kind in ("attribute", "spatial"):
        return dataclasses.replace(question, kind="feature", other=None, axis=None)
    return question


def _closer_times(world: World, config: Config, rng: np.random.Generator) -> list[float]:
    """Times of the frames of a closer look at a stretch somewhere, as long as a question's or as a gap of the first
    look."""
    coarse = coarse_times(world.duration_s, config)
    gap = coarse[1] - coarse[0] if len(coarse) > 1 else world.duration_s
    length = gap if rng.random() < 0.7 else min(3.0, world.duration_s)
    start = float(rng.uniform(0.0, max(0.0, world.duration_s - length)) // 0.5 * 0.5)
    count = min(config.episode.crop_max_frames, max(1, round(length * config.episode.crop_fps)))
    return [start + (i + 0.5) * length / count for i in range(count)]


def _frames(task: Task, times: Sequence[float], budget: int, chat: ChatFormat, config: Config) -> list[Frame]:
    episode = chat.bounded(config.episode)
    video = open_video(task.video)
    return video.frames_at(list(times), budget, episode.pixel_multiple, min_pixels=episode.min_pixels or 0)
