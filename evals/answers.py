"""Questions that a policy has answered, kept one by one: what is there is not asked again, whatever part of the rest
is, in whatever order.

Invariants: an answer is in the log before the next is waited for; it counts for the very question that was asked, and
no longer where that was changed. Several commands of a machine may write at once, each with a part of the questions.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from env.task import Task
from env.trajectory import Trajectory
from storage.logs import AppendLog, LogReader, json_object, machine_log

ENDING = ".answers"
TASKS = "tasks.jsonl"
"""In the folder of a benchmark: its questions. Answers are in `POLICY/MODE` there."""


@dataclass(frozen=True)
class Answered:
    """What became of a question."""

    task: Task
    episode: Trajectory | None
    """None where it could not be played."""
    error: str = ""
    """Why it could not, in a sentence."""


class AnswerLog:
    """The answers of one policy, with one set of settings, to the questions of one benchmark."""

    def __init__(self, folder: Path) -> None:
        """Join the answers that are there. Nothing is written before the first is added."""
        self._folder = folder
        self._log: AppendLog | None = None
        self._reader = LogReader(folder, ENDING)
        self._places: dict[str, tuple[str, int]] = {}
        """By question, where its newest answer begins."""
        self._failed: dict[str, str] = {}

    def add(self, task: Task, episode: Trajectory) -> None:
        """Keep an answer. Raises OSError: it cannot be written."""
        self._append(json.dumps({"question": _name(task), "episode": episode.to_dict()}).encode())

    def fail(self, task: Task, error: str) -> None:
        """Note that a question could not be played, which another try may. Raises OSError: it cannot be written."""
        self._append(json.dumps({"question": _name(task), "error": error}).encode())

    def is_empty(self) -> bool:
        """Whether nothing was answered yet."""
        self._read()
        return not self._places

    def unanswered(self, tasks: Iterable[Task]) -> list[Task]:
        """Those that are still to be played."""
        self._read()
        return [task for task in tasks if _name(task) not in self._places]

    def answered(self, tasks: Iterable[Task]) -> Iterator[Answered]:
        """Those that were played or tried, in their order, one at a time."""
        self._read()
        for task in tasks:
            name = _name(task)
            if name in self._places:
                path, place = self._places[name]
                with open(path, "rb") as file:
                    file.seek(place)
                    row = json.loads(file.readline())
                yield Answered(task, Trajectory.from_dict(row["episode"]))
            elif name in self._failed:
                yield Answered(task, None, self._failed[name])

    def close(self) -> None:
        """Write no more."""
        if self._log is not None:
            self._log.close()

    def _append(self, line: bytes) -> None:
        if self._log is None:
            self._log = AppendLog(machine_log(self._folder, ENDING))
        self._log.append(line)

    def _read(self) -> None:
        for path, place, line in self._reader.news():
            row = json_object(line)
            if row is None or not isinstance(row.get("question"), str):
                continue
            if "episode" in row:
                self._places[row["question"]] = path, place
            elif isinstance(row.get("error"), str):
                self._failed[row["question"]] = row["error"]


def _name(task: Task) -> str:
    """A question's id, and what differs where another thing is asked or shown."""
    asked = [task.id, task.question, task.options, task.answer, Path(task.video).name, task.form]
    asked.append(Path(task.subtitles).name)
    marks = [(Path(mark.image).name, mark.time_s, mark.kind) for mark in task.visual_prompts]
    return hashlib.sha256(json.dumps([*asked, marks]).encode(errors="surrogatepass")).hexdigest()[:16]
