"""Saved responses of any model as answers to a benchmark's questions: nothing is played.

Invariant: a file with a response to a question that the benchmark does not have, or with two to one, is no file of this
benchmark's responses; nothing of it is kept.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from configs import Config
from env.judging.judge import Judge
from env.judging.of_config import judge_of
from env.judging.replies import judge_reply, words_of
from env.reward import judged
from env.task import Task
from env.trajectory import Rewards, Trajectory, TurnRecord
from env.transcript import Transcript
from evals.answers import AnswerLog
from evals.responses import ResponseError, response_rows

AT_ONCE = 512
"""Answers that the judge is asked about at once."""


def keep_saved(
    config: Config,
    file: Path,
    tasks: Sequence[Task],
    chosen: Sequence[Task],
    log: AnswerLog,
    on: Callable[[int], None],
) -> None:
    """Keep the responses of a JSONL file of `id` and `response` as answers; a question without one counts as wrong.

    Args:
        tasks: all questions of the benchmark.
        chosen: those of them whose responses are kept, where they have none yet.

    Raises:
        ResponseError: a row cannot be used, is of no question, or comes twice.
        JudgeError: the judge of the config cannot be asked.
    """
    known, said = {task.id: task for task in tasks}, dict[str, str]()
    for where, row in response_rows(file):
        name = str(row["id"])
        if name not in known:
            raise ResponseError(f"{where}: its id '{name}' is of no question of the benchmark")
        if name in said:
            raise ResponseError(f"{where}: a second response to '{name}'")
        said[name] = row["response"]
    for task in log.unanswered(chosen):
        if task.id not in said:
            log.fail(task, f"{file.name} has no response to it")
    asyncio.run(_keep(config, [task for task in log.unanswered(chosen) if task.id in said], said, log, on))


async def _keep(
    config: Config, left: Sequence[Task], said: dict[str, str], log: AnswerLog, on: Callable[[int], None]
) -> None:
    judge = judge_of(config)
    try:
        for start in range(0, len(left), AT_ONCE):
            some = left[start : start + AT_ONCE]
            answers = await asyncio.gather(*(_answer(config, task, said[task.id], judge) for task in some))
            for task, episode in zip(some, answers, strict=True):
                log.add(task, episode)
            on(start + len(some))
    finally:
        if judge is not None:
            await judge.close()


async def _answer(config: Config, task: Task, response: str, judge: Judge | None) -> Trajectory:
    accuracy = judge_reply(task, response)
    episode = Trajectory(
        task_id=task.id,
        transcript=Transcript(),
        rewards=Rewards(accuracy, 1.0, 1.0, accuracy),
        answer=response if task.options else words_of(response),
        stop="answer",
        calls=(),
        prompt_frames=(),
        turns=(TurnRecord(response, ""),),
        seconds=0.0,
        question=task.question,
        expected=task.right_answer,
        dimension=task.dimension,
        kind=task.kind,
    )
    return episode if accuracy or task.options else await judged(episode, task, config.episode, judge)
