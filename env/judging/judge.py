"""What a judge is: whoever says whether an answer is right."""

from typing import Protocol

from env.task import Task


class JudgeError(RuntimeError):
    """There is no verdict; the message is one sentence."""


class NoVerdictError(JudgeError):
    """The judge was asked, and what it said of this answer cannot be used."""


class Judge(Protocol):
    """Says whether an answer is right."""

    async def verdict(self, task: Task, answer: str | None) -> float:
        """R_acc: 1, 0.5 or 0. Raises JudgeError where that cannot be said."""
        ...

    async def close(self) -> None:
        """Close this event loop's connections."""
        ...
