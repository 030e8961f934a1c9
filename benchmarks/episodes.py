"""Trajectories shaped like the demo's episodes: random tokens around frames of one long film.

Invariant: the frames of two steps never meet, and all of them lie in the memory that the processes of a node share: in
training, too, the env runners have decoded what the ranks need.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs import Config
from env.chat import ChatFormat
from env.trajectory import Rewards, Trajectory
from env.transcript import Transcript, Turn
from tests.films import movies
from tools.decoding.frame import Content, Frame
from tools.decoding.video import Video, open_video

FPS = 8
TASK_S = 20
"""Seconds of the film that are one task's video."""
CROP_S = 3.0
CALLS = (0, 1, 1, 2)
"""Tool calls of an episode, drawn from these."""
CALL_TOKENS, ANSWER_TOKENS = (30, 70), (15, 50)
"""Least and most tokens of a turn."""
PLAIN_IDS = (16, 256)
"""From and to: ids that every byte-level vocabulary has, none of them special."""
QUESTION = " ".join(f"word{i}" for i in range(12))
"""Stands for a question; its words are tokens of several bytes."""


@dataclass(frozen=True)
class Step:
    """What one GRPO step eats."""

    trajectories: list[Trajectory]
    """Groups next to each other."""
    advantages: list[float]

    @property
    def tokens(self) -> int:
        """All tokens, sampled or not: each goes through the model."""
        return sum(len(trajectory.transcript.ids) for trajectory in self.trajectories)


def film(path: Path, tasks: int) -> Video:
    """A video long enough for this many tasks."""
    return open_video(movies.write(path, range(tasks * TASK_S * FPS), size=(96, 96)))


def make_steps(
    chat: ChatFormat, video: Video, config: Config, steps: int, tasks: int, *, first_task: int = 0
) -> list[Step]:
    """Steps of `tasks` groups of `config.grpo.group_size` episodes, each task on its own stretch of the video."""
    rng = np.random.default_rng(first_task)
    made = []
    for step in range(steps):
        numbers = range(first_task + step * tasks, first_task + (step + 1) * tasks)
        group = config.grpo.group_size
        trajectories = [_episode(chat, video, config, number, rng) for number in numbers for _ in range(group)]
        made.append(Step(trajectories, rng.choice([-1.0, 1.0], len(trajectories)).tolist()))
    return made


def long_episode(chat: ChatFormat, video: Video, config: Config, tokens: int, sampled: float) -> Trajectory:
    """An episode of exactly `tokens` tokens: a prompt of frames, then one turn of this share of all tokens."""
    room = tokens - round(tokens * sampled)
    transcript = Transcript()
    frames = _clip(video, 0.0, video.duration_s, room, config.episode.tool_max_pixels, config)
    for count in range(len(frames), 0, -1):
        prompt = chat.prompt("look", _labelled(frames[:count]))
        if len(prompt.ids) <= room:
            transcript.append_prompt(prompt)
            break
    transcript.append_turn(_turn(tokens - len(transcript.ids), np.random.default_rng(0)))
    return _trajectory(f"{tokens} tokens", transcript)


def _episode(chat: ChatFormat, video: Video, config: Config, task: int, rng: np.random.Generator) -> Trajectory:
    episode, start, transcript = config.episode, float(task * TASK_S), Transcript()
    seen = _clip(video, start, start + TASK_S, episode.prompt_max_frames, episode.prompt_max_pixels, config)
    transcript.append_prompt(chat.prompt("Answer with the tools.", (*_labelled(seen), QUESTION)))
    for _ in range(rng.choice(CALLS)):
        transcript.append_turn(_turn(int(rng.integers(*CALL_TOKENS)), rng))
        crop = start + rng.integers(0, int(TASK_S - CROP_S))
        seen = _clip(video, crop, crop + CROP_S, episode.crop_max_frames, episode.tool_max_pixels, config)
        transcript.append_prompt(chat.observation(_labelled(seen), transcript.ids))
    transcript.append_turn(_turn(int(rng.integers(*ANSWER_TOKENS)), rng))
    return _trajectory(f"task-{task}", transcript)


def _clip(video: Video, start_s: float, end_s: float, count: int, max_pixels: int, config: Config) -> list[Frame]:
    return video.clip(start_s, end_s, FPS, count, max_pixels, config.episode.pixel_multiple)


def _labelled(frames: Sequence[Frame]) -> Content:
    return tuple(part for frame in frames for part in (f"{frame.time_s:.1f} s ", frame))


def _turn(tokens: int, rng: np.random.Generator) -> Turn:
    ids = tuple(map(int, rng.integers(*PLAIN_IDS, tokens)))
    return Turn(ids, tuple(map(float, -rng.uniform(5, 7, tokens))), "", "stop")


def _trajectory(task_id: str, transcript: Transcript) -> Trajectory:
    return Trajectory(task_id, transcript, Rewards(1, 1, 1, 1), "x", "answer", (), (), (), 0.0)
