"""Tasks: a question about a marked instance of a video, or about all of it, and their JSONL files.

Invariant: a `Task` that exists is well formed; files are checked at load and name the bad line.
"""

import dataclasses
import math
import os
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, overload

from storage.files import JsonObject, placed_rows, row_at, write_rows
from tools.marks.visual_prompt import VisualPrompt, VisualPromptError

MAX_OPTIONS = 26
"""Options of a choice question, A to Z."""


LEFT_OUT = ("subtitles", "subtitles_from_s", "labels")
"""Keys of a task's row that stand there only where there is something to say."""


class TaskError(ValueError):
    """A task or task file that cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Task:
    """One question."""

    id: str
    video: str
    """Path of the video."""
    question: str
    answer: str
    dimension: str
    """V2P-Bench dimension: OA, HA, OD, FM, CR, PU, CI, FT, RT, AS, SR or GC."""
    visual_prompts: tuple[VisualPrompt, ...]
    """Empty for a question about the video at large, as general benchmarks ask them."""
    form: Literal["open", "choice"] = "open"
    options: tuple[str, ...] | None = None
    """Texts of the options of a choice question; the answer is then a letter, `A` for the first."""
    source: str = ""
    """Where the question comes from."""
    kind: str = ""
    """What sort of question it is, finer than its dimension."""
    evidence: tuple[tuple[float, float], ...] = ()
    """Stretches of the video, seconds, that must be seen for the answer, as far as they are known; never shown to a
    policy."""
    tolerance: float | None = None
    """How far a number may be off and still be right; None where the answer is compared as text."""
    subtitles: str = ""
    """Path of the video's subtitles; empty if it has none."""
    subtitles_from_s: float = 0.0
    """Time of the subtitles at which the video begins, seconds."""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What else scores are told apart by, e.g. `{"duration": "short"}`."""
    facts: JsonObject = dataclasses.field(default_factory=dict)
    """Ground truth that only teachers and tests may read; never shown to a policy."""
    root: str = dataclasses.field(default="", compare=False)
    """Folder of the file that the task was read from; its files there must not be links out of it."""

    @property
    def right_answer(self) -> str:
        """The right answer for people: of a choice the letter with the option's text."""
        if not self.options:
            return self.answer
        return f"{self.answer}. {self.options[ord(self.answer) - ord('A')]}"

    def __post_init__(self) -> None:
        for name in ("id", "video", "question", "answer", "dimension", "source", "kind", "subtitles"):
            if not isinstance(getattr(self, name), str):
                raise TaskError(f"task {self.id}: its {name} is no text")
        if not all(start <= end for start, end in self.evidence):
            raise TaskError(f"task {self.id}: a stretch of its evidence ends before it starts")
        if self.form not in ("open", "choice"):
            raise TaskError(f"task {self.id}: its form is '{self.form}', neither open nor choice")
        if self.tolerance is not None:
            if not (_is_number(self.tolerance) and float(self.tolerance) >= 0):
                raise TaskError(f"task {self.id}: its tolerance '{self.tolerance}' is no number of at least 0")
            if not _is_number(self.answer):
                raise TaskError(f"task {self.id}: has a tolerance, but its answer '{self.answer}' is no number")
        if len(self.options or ()) > MAX_OPTIONS:
            raise TaskError(f"task {self.id}: has {len(self.options or ())} options; letters reach to {MAX_OPTIONS}")
        if self.form == "choice":
            letters = [chr(ord("A") + i) for i in range(len(self.options or ()))]
            if self.answer not in letters:
                raise TaskError(f"task {self.id}: answer '{self.answer}' is none of the options {letters}")


def _is_number(value: str | float) -> bool:
    try:
        return math.isfinite(float(value))
    except (ValueError, TypeError):
        return False


def save_tasks(path: str | Path, tasks: Iterable[Task]) -> None:
    """Write tasks as JSONL, whole or not at all. Videos and images inside the file's folder are named relative to it,
    so that the folder can be moved."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows(path, (_row(task, path.parent) for task in tasks))


class TaskFile(Sequence[Task]):
    """The tasks of a JSONL file, which is read through once, and after that a task at a time, when it is asked for.
    Relative paths of videos and images are taken from the file's folder."""

    def __init__(self, path: str | Path) -> None:
        """Raises TaskError: no such file, no task in it, a line that is not a task, or an id that comes twice."""
        self._path = Path(path).absolute()
        self._file: BinaryIO | None = None
        self._places = array("q")
        """First byte of each task's line."""
        ids: set[str] = set()
        try:
            self._open()
            for number, place, row in placed_rows(path):
                task = _task(row, f"{path}:{number}", self._path.parent)
                if task.id in ids:
                    raise TaskError(f"{path}:{number}: a second task with the id '{task.id}'")
                ids.add(task.id)
                self._places.append(place)
        except OSError as error:
            raise TaskError(f"{path}: cannot be read ({error.strerror})") from None
        except ValueError as error:
            raise TaskError(str(error)) from None
        if not ids:
            raise TaskError(f"{path}: holds no task")

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Task: ...
    @overload
    def __getitem__(self, index: slice) -> list[Task]: ...
    def __getitem__(self, index: int | slice) -> Task | list[Task]:
        """Raises TaskError where the file is no longer what it was."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        place = self._places[index]
        if self._file is None:
            raise TaskError(f"{self._path}: cannot be read any more")
        if _stamp(self._file) != self._stamp:
            raise TaskError(f"{self._path}: was changed while it was in use")
        return _task(row_at(self._path, self._file, place), str(self._path), self._path.parent)

    def _open(self) -> None:
        # One that takes this file's place, as a whole, changes nothing of the tasks that are in use.
        file = open(self._path, "rb")  # noqa: SIM115 - as long as the tasks
        self._file, self._stamp = file, _stamp(file)

    def __getstate__(self) -> JsonObject:
        return {name: value for name, value in vars(self).items() if name != "_file"}

    def __setstate__(self, state: JsonObject) -> None:
        """Open the file in another process. That it is no longer what it was is said when a task is asked for: an error
        raised here would be of whatever unpickles, not of the task's."""
        vars(self).update(state)
        stamp, self._file = self._stamp, None
        with suppress(OSError):
            self._open()
        self._stamp = stamp


def load_tasks(path: str | Path) -> list[Task]:
    """All tasks of a `TaskFile`, in memory."""
    return list(TaskFile(path))


def _stamp(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def _row(task: Task, root: Path) -> JsonObject:
    row = dataclasses.asdict(task)
    del row["root"]
    row["video"] = _named_from(root, row["video"])
    for mark in row["visual_prompts"]:
        mark["image"] = _named_from(root, mark["image"])
    if row["subtitles"]:
        row["subtitles"] = _named_from(root, row["subtitles"])
    return {key: value for key, value in row.items() if value or key not in LEFT_OUT}


def _named_from(root: Path, file: str) -> str:
    inside = Path(file).resolve()
    return str(inside.relative_to(root.resolve())) if inside.is_relative_to(root.resolve()) else file


def _task(row: JsonObject, where: str, root: Path) -> Task:
    try:
        row["video"] = str(root / row["video"])
        row["visual_prompts"] = tuple(
            VisualPrompt(**{**mark, "image": str(root / mark["image"])}) for mark in row["visual_prompts"]
        )
        row["subtitles"] = str(root / row["subtitles"]) if row.get("subtitles") else ""
        row["evidence"] = tuple((float(start), float(end)) for start, end in row.get("evidence") or ())
        row["options"] = tuple(row["options"]) if row.get("options") else None
        row["root"] = str(root)
        return Task(**row)
    except (TaskError, VisualPromptError) as error:
        raise TaskError(f"{where}: {error}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise TaskError(f"{where}: not a task ({type(error).__name__}: {error})") from None
