"""Captions of single frames, from which a model that starts from nothing learns to see.

A released Qwen3-VL can already name what is in a picture; the tiny model built from random weights can't. Before the
teacher's episodes it reads captions of single frames, marked or plain, in the teacher's own words: one frame at a time
is learned several times faster than two. Released weights need no captions.
"""

from collections.abc import Iterator

import numpy as np

from configs import Config
from env.chat import ChatFormat
from env.task import Task
from env.trajectory import Trajectory
from synth.teachers.lesson import lesson
from synth.teachers.scripted import SEE, question_of, who_is_where
from synth.world.world import CELLS, World, make_world
from tools.decoding.frame import Frame
from tools.decoding.video import open_image, open_video

PLAIN = 0.5
"""Plain frames captioned for each marked one."""
COARSE = 0.25
"""Share of the captions whose frame is as small as those of the first look."""


def captions(task: Task, chat: ChatFormat, config: Config) -> Iterator[Trajectory]:
    """Caption trajectories of a task: one of its marked frame, and for some tasks one of a plain frame."""
    episode = chat.bounded(config.episode)
    rng = np.random.default_rng([config.seed, *task.id.encode()])
    seed, question = question_of(task)
    world = make_world(seed, config.world)
    mark = task.visual_prompts[0]
    coarse, plain = rng.random(2) < COARSE, rng.random() < PLAIN
    budgets = [episode.prompt_max_pixels if small else episode.tool_max_pixels for small in coarse]
    marked = open_image(mark.image, mark.time_s, budgets[0], episode.pixel_multiple, episode.min_pixels or 0)
    yield _caption(task, chat, marked, f"The mark is on {who_is_where(world, question.target, mark.time_s)}.", world)
    if plain:
        time = float(rng.uniform(0, world.duration_s))
        frame = open_video(task.video).frames_at(
            [time], budgets[1], episode.pixel_multiple, min_pixels=episode.min_pixels or 0
        )[0]
        yield _caption(task, chat, frame, "There is no mark.", world)


def _caption(task: Task, chat: ChatFormat, frame: Frame, thought: str, world: World) -> Trajectory:
    """Every instance in sight, in reading order of their places."""
    seen = [who_is_where(world, i, frame.time_s) for i in range(len(world.instances))]
    in_sight = sorted((words for words in seen if words != "gone"), key=lambda words: CELLS.index(words.split()[1]))
    text = f"<think>{thought}</think><answer> {', '.join(in_sight)}.</answer>"
    return lesson(task, "caption", chat, chat.prompt(SEE, (f"{frame.time_s:.1f} s ", frame)), [("", text)])
