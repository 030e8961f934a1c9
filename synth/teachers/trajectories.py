"""The teacher plays the training tasks; its right episodes become what the student is first taught.

Invariant: a kept trajectory was played with the real environment and tools, and its answer is right by the judge.
"""

import asyncio
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict

import numpy as np

from actors.errors import sentence
from actors.rollout.loop import Policy, play
from configs import Config
from endpoint.endpoint import AnswerError, Endpoint
from env.chat import ChatFormat
from env.task import Task
from env.trajectory import Trajectory
from synth.errors import raise_first
from synth.teachers.captions import captions
from synth.teachers.chat import ChatTeacher
from synth.teachers.exercises import exercises
from synth.teachers.scripted import TeacherPolicy

logger = logging.getLogger(__name__)
BATCH = 16
"""Tasks that a worker plays at once."""


def teacher_trajectories(
    config: Config, tasks: list[Task], model_dir: str | Path, answers: str | Path
) -> list[Trajectory]:
    """Play the first `teacher.tasks` tasks on Ray Data actors; the episodes answered right, in the tasks' order.

    Args:
        answers: folder of the replies of `teacher.model`; what is in it is not paid again.

    Raises:
        SynthError: an episode could not be played.
    """
    played = _run(config, tasks[: config.teacher.tasks], model_dir, "episodes", str(answers))
    return [trajectory for trajectory in played if trajectory.rewards.accuracy == 1.0]


def caption_trajectories(config: Config, tasks: list[Task], model_dir: str | Path) -> list[Trajectory]:
    """Captions of frames, in the tasks' order.

    Raises:
        SynthError: a frame could not be read.
    """
    return _run(config, tasks, model_dir, "captions")


def _run(config: Config, tasks: list[Task], model_dir: str | Path, what: str, answers: str = "") -> list[Trajectory]:
    import ray
    import ray.data

    workers = max(1, int(ray.cluster_resources().get("CPU", 1)) // 2)
    items = [{"order": order, "task": task} for order, task in enumerate(tasks)]
    dataset = ray.data.from_items(items, override_num_blocks=2 * workers).map_batches(
        _Worker,
        fn_constructor_args=(config, str(model_dir), what, answers),
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=min(workers, max(1, len(tasks) // BATCH))),
    )
    rows = sorted(dataset.take_all(), key=lambda row: row["order"])
    raise_first(row["error"] for row in rows)
    return [Trajectory.from_dict(json.loads(row["trajectory"])) for row in rows]


class PlayedBatch(TypedDict):
    """Columns of a batch of trajectories, as Ray Data carries them."""

    order: list[int]
    """Place of each one's task."""
    trajectory: list[str]
    """JSON."""
    error: list[str]
    """What kept the batch from being made; empty where nothing did."""


class _Worker:
    def __init__(self, config: Config, model_dir: str, what: str, answers: str) -> None:
        self._config = config
        self._what = what
        self._chat = ChatFormat.from_pretrained(model_dir)
        self._teacher: Policy = (
            ChatTeacher(self._chat, Endpoint(config.teacher.model, answers, "teacher.model"))
            if config.teacher.player == "model" and answers
            else TeacherPolicy(self._chat, config.teacher, config.world, config.seed)
        )

    def __call__(self, batch: dict[str, np.ndarray]) -> PlayedBatch:
        order = list(batch["order"])
        try:
            made = asyncio.run(self._all(batch["task"]))
        except Exception as error:  # noqa: BLE001 - Ray Data passes on no error's class: the driver raises it
            return {"order": order[:1], "trajectory": [""], "error": [sentence(error)]}
        places = [place for place, of_task in zip(order, made, strict=True) for _ in of_task]
        rows = [json.dumps(trajectory.to_dict()) for of_task in made for trajectory in of_task]
        return {"order": places, "trajectory": rows, "error": [""] * len(rows)}

    async def _all(self, tasks: Iterable[Task]) -> list[list[Trajectory]]:
        """The trajectories of each task."""
        return await asyncio.gather(*map(self._made, tasks))

    async def _made(self, task: Task) -> list[Trajectory]:
        if self._what == "captions":
            return [*captions(task, self._chat, self._config), *exercises(task, self._chat, self._config)]
        try:
            return [await play(task, self._teacher, self._chat, self._config.episode)]
        except AnswerError as error:
            logger.warning("task %s: the teacher gave no turn (%s)", task.id, error)
            return []
