"""First sights: captions of single frames, from which a model that starts from nothing learns to see.

A released Qwen3-VL can already name what is in a picture; the tiny model built from random weights can't. Before the
teacher's episodes it reads captions of frames, marked and plain, in the teacher's own words. Released weights skip
this stage.
"""

from collections.abc import Iterator

import numpy as np

from configs import Config
from env.chat import ChatFormat
from env.task import Task
from env.transcript import Rewards, Trajectory, Transcript, Turn, TurnRecord
from synth.teacher import question_of, who_is_where
from synth.world import CELLS, World, make_world
from tools.frame import Frame
from tools.video import open_image, open_video

FRAMES_PER_TASK = 1
"""Plain frames captioned for each task, besides its marked one."""


def captions(tasks: list[Task], chat: ChatFormat, config: Config) -> Iterator[Trajectory]:
    """One caption trajectory a task: its marked frame and some plain ones, each with what is seen in it."""
    episode = config.episode
    for task in tasks:
        rng = np.random.default_rng([config.seed, *task.id.encode()])
        seed, question = question_of(task)
        world = make_world(seed, config.world)
        budget = episode.tool_max_pixels if rng.random() < 0.8 else episode.prompt_max_pixels
        mark = task.visual_prompts[0]
        frames = [open_image(mark.image, mark.time_s, budget, episode.pixel_multiple)]
        times = np.sort(rng.uniform(0, world.duration_s, FRAMES_PER_TASK))
        frames += open_video(task.video).frames_at(times.tolist(), budget, episode.pixel_multiple)
        thought = f"<think>The mark is on {who_is_where(world, question.target, mark.time_s)}.</think>"
        text = f"{thought}<answer>{'. '.join(_caption(world, frame.time_s) for frame in frames)}</answer>"
        yield _trajectory(task, chat, frames, text)


def _caption(world: World, t: float) -> str:
    """Every instance in sight, in reading order of their places."""
    seen = [who_is_where(world, i, t) for i in range(len(world.instances))]
    return ", ".join(
        sorted((words for words in seen if words != "gone"), key=lambda words: CELLS.index(words.split()[1]))
    )


def _trajectory(task: Task, chat: ChatFormat, frames: list[Frame], text: str) -> Trajectory:
    content: list[str | Frame] = []
    for frame in frames:
        content += [f"{frame.time_s:.1f} s ", frame]
    transcript = Transcript()
    transcript.append_prompt(chat.prompt("Say what you see.", tuple(content)))
    ids = chat.encode(text)
    transcript.append_turn(Turn(ids, (0.0,) * len(ids), text, "stop"))
    return Trajectory(
        task_id=f"{task.id}-caption",
        transcript=transcript,
        rewards=Rewards(1.0, 1.0, 1.0, 1.0),
        answer=None,
        stop="answer",
        calls=(),
        prompt_frames=tuple(frame.ref for frame in frames),
        turns=(TurnRecord(text, ""),),
        seconds=0.0,
        dimension="caption",
    )
