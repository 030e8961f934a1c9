"""What a judge is: whoever says whether an answer is right; and which one a run has."""

from pathlib import Path
from typing import Protocol

from configs import Config
from env.task import Task


class JudgeError(RuntimeError):
    """There is no verdict; the message is one sentence."""


class Judge(Protocol):
    """Says whether an answer is right."""

    async def verdict(self, task: Task, answer: str | None) -> float:
        """R_acc: 1, 0.5 or 0. Raises JudgeError where that cannot be said."""
        ...


def judge_of(config: Config) -> Judge | None:
    """The judge that the config names besides the rules; None where they alone judge."""
    if config.judge.by == "rules":
        return None
    from env.judging.model_judge import ModelJudge  # with a client for servers, which other runs need not load

    return ModelJudge(config.judge, folder_of(config))


def folder_of(config: Config) -> Path:
    """Where the judge's verdicts are kept."""
    return Path(config.judge.folder or Path(config.runs_dir) / "judge").absolute()
