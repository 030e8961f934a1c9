"""The teacher plays the training tasks; its right episodes become what the student is first taught.

Invariants: a kept trajectory was played with the real environment and tools, and its answer is right by the judge. What
was played is kept as it comes, `BATCH` tasks at a time, so that a run which is started again does what is left, and
the lessons are those of a run that was never stopped.
"""

import asyncio
import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Generator, Iterable, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal, TypedDict

from actors.errors import EpisodeError, sentence
from actors.rollout.chat_policy import ChatPolicy
from actors.rollout.loop import Policy, play
from configs import Config
from endpoint.endpoint import BudgetError, Endpoint, EndpointError, deciding
from env.chat import ChatFormat
from env.judging.judge import Judge, JudgeError
from env.judging.of_config import judge_of
from env.lessons import Lessons, complete, is_complete, is_shard, write_shard
from env.reward import judged
from env.task import Task
from env.trajectory import Trajectory
from storage.files import write_text
from synth.errors import SynthError, raise_first
from synth.teachers.captions import captions
from synth.teachers.exercises import exercises
from synth.teachers.scripted import TeacherPolicy
from tools.decoding.frame import DeadlineError, DecoderError

_log = logging.getLogger(__name__)
What = Literal["episodes", "captions"]
BATCH = 16
"""Tasks that a worker plays at once, and whose lessons are a shard."""
TRIES = 3
"""Times that a task is played which missed a deadline."""


def teach(
    config: Config, tasks: Sequence[Task], model_dir: str | Path, folder: Path, answers: Path | None = None
) -> Generator[int, None, None]:
    """Make the lessons of `folder`: the first `teacher.tasks` tasks, played on Ray Data actors, as far as the answer is
    right. A task that cannot be played is set aside with its reason.

    Args:
        answers: folder of the replies of `teacher.model`; what is in it is not paid again.

    Yields:
        How many of the tasks are done, whenever it grows.

    Raises:
        SynthError: no task could be played, none was answered right, or the teacher's model cannot be asked.
    """
    return _make(config, tasks, min(len(tasks), config.teacher.tasks), model_dir, folder, "episodes", answers)


def caption(config: Config, tasks: Sequence[Task], model_dir: str | Path, folder: Path) -> Generator[int, None, None]:
    """Make the lessons of `folder`: captions of the tasks' frames, and exercises. Yields and raises as `teach` does."""
    return _make(config, tasks, len(tasks), model_dir, folder, "captions", None)


def _make(
    config: Config,
    tasks: Sequence[Task],
    count: int,
    model_dir: str | Path,
    folder: Path,
    what: What,
    answers: Path | None,
) -> Generator[int, None, None]:
    import ray.data

    from actors.ray_start import cores

    folder = folder.absolute()
    _keep_identity(folder, _identity(config, islice(tasks, count), model_dir, what))
    if is_complete(folder):
        return
    shards = -(-count // BATCH)
    left = [index for index in range(shards) if not is_shard(folder, index)]
    if left:
        todo = [ShardRow(shard=i, start=i * BATCH, stop=min(count, (i + 1) * BATCH), error="") for i in left]
        worked = ray.data.from_items(todo, override_num_blocks=len(todo)).map(
            _Worker,
            fn_constructor_args=(config, tasks, str(model_dir), what, folder, answers),
            compute=ray.data.ActorPoolStrategy(size=min(cores(), len(todo))),
        )
        for done, row in enumerate(worked.iter_rows(), shards - len(left) + 1):
            raise_first([row["error"]])
            yield min(count, done * BATCH)
    complete(folder, shards)
    lessons = Lessons(folder)
    aside, first = lessons.set_aside, ": ".join(lessons.set_aside[0]) if lessons.set_aside else ""
    if not lessons:
        shutil.rmtree(folder)
        if count and len(aside) == count:
            raise SynthError(f"no task could be played; the first, {first}")
        raise SynthError(f"none of {count} tasks was answered right, so there is nothing to learn from")
    if aside:
        again = f"remove {folder} to have them tried again"
        _log.warning("%d of %d tasks were set aside (%s); the first, %s", len(aside), count, again, first)


def _identity(config: Config, tasks: Iterable[Task], model_dir: str | Path, what: What) -> str:
    """What the lessons are a function of, as hexadecimal digits."""
    teacher = dataclasses.asdict(config.teacher) | {"model": deciding(config.teacher.model)}
    parts = [dataclasses.asdict(config.world), dataclasses.asdict(config.episode)]
    settings = [what, str(model_dir), config.seed, teacher, *parts]
    if config.judge.by == "model":
        settings.append(deciding(config.judge.model))
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for task in tasks:
        digest.update(repr(task).encode())
    return digest.hexdigest()


def _keep_identity(folder: Path, identity: str) -> None:
    """Drop the lessons of a folder that was begun with other settings or tasks."""
    kept = folder / "identity"
    if folder.exists() and (not kept.exists() or kept.read_bytes() != identity.encode()):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(kept, identity)


class ShardRow(TypedDict):
    """What travels through Ray Data: a shard's number and tasks, and the error that ended its work, empty if none."""

    shard: int
    start: int
    stop: int
    error: str


class _Worker:
    def __init__(
        self,
        config: Config,
        tasks: Sequence[Task],
        model_dir: str,
        what: What,
        folder: Path,
        answers: Path | None,
    ) -> None:
        self._config, self._tasks, self._model_dir = config, tasks, model_dir
        self._what, self._folder, self._answers = what, folder, answers

    @cached_property
    def _chat(self) -> ChatFormat:
        return ChatFormat.from_pretrained(self._model_dir)

    @cached_property
    def _judge(self) -> Judge | None:
        return judge_of(self._config)

    @cached_property
    def _teacher(self) -> Policy:
        teacher = self._config.teacher
        if teacher.player == "model" and self._answers:
            return ChatPolicy(self._chat, Endpoint(teacher.model, self._answers, "teacher.model"))
        return TeacherPolicy(self._chat, teacher, self._config.world, self._config.seed)

    def __call__(self, row: ShardRow) -> ShardRow:
        try:
            asyncio.run(self._shard(row["shard"], self._tasks[row["start"] : row["stop"]]))
        except Exception as error:  # noqa: BLE001 - Ray Data passes on no error's class: the driver raises it
            return {**row, "error": sentence(error)}
        return row

    async def _shard(self, index: int, tasks: Iterable[Task]) -> None:
        made = await asyncio.gather(*map(self._made, tasks))
        lessons = [lesson for _, of_task, _ in made for lesson in of_task]
        write_shard(self._folder, index, lessons, [(task, reason) for task, _, reason in made if reason])

    async def _made(self, task: Task) -> tuple[str, list[Trajectory], str]:
        """A task's id, its lessons, and why there are none, where it could not be played."""
        for tried in range(1, TRIES + 1):
            try:
                return task.id, await self._lessons(task), ""
            except (EndpointError, BudgetError, DecoderError, JudgeError):
                raise
            except (EpisodeError, DeadlineError) as error:
                if tried == TRIES:
                    return task.id, [], sentence(error)
            except Exception as error:  # noqa: BLE001 - a task that cannot be played never ends the run
                return task.id, [], sentence(error)
        raise AssertionError("the last try returns")

    async def _lessons(self, task: Task) -> list[Trajectory]:
        if self._what == "captions":
            seen = captions(task, self._chat, self._config, self._folder / "marks")
            return [*seen, *exercises(task, self._chat, self._config)]
        played = await play(task, self._teacher, self._chat, self._config.episode)
        played = await judged(played, task, self._config.episode, self._judge)
        return [played] if played.rewards.accuracy == 1.0 else []
