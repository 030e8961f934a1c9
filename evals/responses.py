"""Scores of saved responses, however many: a file is read once, in blocks, by as many processes as there are cores.

Invariants: every question stays in the denominator, also one that nobody answered; what is kept of a row are twenty
bytes.
"""

import json
import math
import os
from array import array
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import numpy as np

from env.judging.replies import choice_of_reply
from env.judging.rules import certain
from env.task import Task, TaskError, load_tasks
from evals.published_rules import PUBLISHED, PublishedScore
from evals.score import interval_over_films
from storage.files import JsonObject
from tools.marks.visual_prompt import VisualPrompt

BLOCK = 4000
"""Rows that a process scores at once."""
GROUPS = ("dimension", "duration", "domain", "sub_category", "task_type", "kind")
"""Keys of a row by whose values scores are told apart; a duration in seconds is put into one of three classes."""
DURATIONS = ((240.0, "short"), (1800.0, "medium"), (math.inf, "long"))
"""Ends of the classes of V2P-Bench, seconds."""
_NO_MARK = (VisualPrompt("", 0.0),)


class ResponseError(ValueError):
    """A file of responses that cannot be used; the message is one sentence with its line."""


@dataclass(frozen=True)
class Share:
    """A share of questions that are right, with its uncertainty."""

    mean: float
    """0 to 1."""
    low: float
    high: float
    """Ends of the 95 % Wilson interval, as if questions were independent."""
    questions: int


@dataclass(frozen=True)
class ResponseScores:
    """What a file of responses says about a model."""

    accuracy: Share
    by_film: tuple[float, float]
    """Ends of the 95 % bootstrap interval of the accuracy, films resampled: questions about one film hang together."""
    films: int
    groups: dict[str, dict[str, Share]]
    """By key of `GROUPS` and its value."""
    unread: int
    """Replies to choices that chose no option, or several."""
    undecided: int
    """Open answers that the rules are not certain of; they count as wrong."""
    unanswered: int
    """Questions of the task file without a response; they count as wrong."""
    published: dict[str, PublishedScore]
    """What published scripts would print about the choices."""


def _two() -> list[float]:
    return [0.0, 0.0]


def _three() -> list[float]:
    return [0.0, 0.0, 0.0]


@dataclass
class _Tally:
    """Sums over rows."""

    ids: "array[int]" = field(default_factory=lambda: array("Q"))
    """A hash of each row's id."""
    films: "array[int]" = field(default_factory=lambda: array("Q"))
    """A hash of each question's film."""
    right: "array[float]" = field(default_factory=lambda: array("f"))
    """R_acc of each question."""
    groups: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(_two))
    published: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(_three))
    """Right, counted and unread ones by each rule."""
    unread: int = 0
    undecided: int = 0

    def add(self, task: Task, groups: Mapping[str, str], right: float) -> None:
        """Count a question."""
        self.films.append(_hash(task.video))
        self.right.append(right)
        for item in groups.items():
            self.groups[item][0] += 1
            self.groups[item][1] += right

    def merge(self, other: "_Tally") -> None:
        """Add the sums of other rows."""
        for mine, theirs in ((self.groups, other.groups), (self.published, other.published)):
            for key, sums in theirs.items():
                mine[key] = [a + b for a, b in zip(mine[key], sums, strict=True)]  # type: ignore[index]
        for ours, others in ((self.ids, other.ids), (self.films, other.films), (self.right, other.right)):
            ours.extend(others)  # type: ignore[arg-type]
        self.unread += other.unread
        self.undecided += other.undecided


def score_responses(
    path: str | Path, tasks: str | Path | None = None, published: Sequence[str] = (), seed: int = 0
) -> ResponseScores:
    """The scores of a JSONL file of responses: objects with `id`, `response`, `answer`, `video`, for choices `options`
    (texts without letters; the answer is a letter or a text), and perhaps some of `GROUPS`.

    Args:
        tasks: a task file that has all but `id` and `response`.
        published: names of `PUBLISHED`.
        seed: of the bootstrap.

    Raises:
        ResponseError: the file cannot be read, a row cannot be used, an id comes twice or is of no task.
        TaskError: the task file cannot be used.
    """
    known = _by_id(str(tasks)) if tasks else {}
    tally = _Tally()
    for part in _blocks(Path(path), str(tasks or ""), tuple(published)):
        tally.merge(part)
    if not tally.ids:
        raise ResponseError(f"{path}: holds no response")
    _require_unique(tally.ids, Path(path))
    answered = set(tally.ids) if known else set()
    missing = [task for task in known.values() if _hash(task.id) not in answered]
    for task in missing:
        tally.add(task, _groups({}, task), 0.0)
    _, film = np.unique(np.frombuffer(tally.films, dtype=np.uint64), return_inverse=True)
    right = np.frombuffer(tally.right, dtype=np.float32)
    questions, sums = np.bincount(film), np.bincount(film, weights=right)
    return ResponseScores(
        accuracy=_share(questions.sum(), sums.sum()),
        by_film=interval_over_films(questions, sums, seed),
        films=len(questions),
        groups={
            key: {value: _share(*sums) for (group, value), sums in sorted(tally.groups.items()) if group == key}
            for key in GROUPS
            if any(group == key for group, _ in tally.groups)
        },
        unread=tally.unread,
        undecided=tally.undecided,
        unanswered=len(missing),
        published={
            name: PublishedScore(correct / counted if counted else None, int(counted), int(unread))
            for name, (correct, counted, unread) in tally.published.items()
        },
    )


@cache
def _by_id(tasks: str) -> dict[str, Task]:
    """The tasks of a file; each process reads it once."""
    return {task.id: task for task in load_tasks(tasks)}


def _blocks(path: Path, tasks: str, published: tuple[str, ...]) -> Iterator[_Tally]:
    """The sums of a file's blocks; a file of one block needs no other process."""
    score = partial(_scored, path=str(path), tasks=tasks, published=published)
    try:
        with open(path, "rb") as file:
            lines = enumerate(file, 1)
            first = list(islice(lines, BLOCK))
            if len(first) < BLOCK:
                yield score(first)
                return
            with ProcessPoolExecutor() as pool:
                waiting: deque[Future[_Tally]] = deque([pool.submit(score, first)])
                while waiting:
                    while len(waiting) < 2 * (os.cpu_count() or 1) and (block := list(islice(lines, BLOCK))):
                        waiting.append(pool.submit(score, block))
                    yield waiting.popleft().result()
    except OSError as error:
        raise ResponseError(f"{path}: cannot be read ({error.strerror})") from None


def _scored(lines: Sequence[tuple[int, bytes]], path: str, tasks: str, published: Sequence[str]) -> _Tally:
    tally, known = _Tally(), _by_id(tasks) if tasks else None
    for number, line in lines:
        if line.isspace():
            continue
        where = f"{path}:{number}"
        row = _row(line, where)
        task, response = _task(row, where, known), row["response"]
        tally.ids.append(_hash(task.id))
        right = _right(task, response, tally)
        if task.options:
            for name in published:
                sums, letter = tally.published[name], PUBLISHED[name].read(response)
                score = PUBLISHED[name].score(letter, task.answer, len(task.options))
                sums[2] += letter is None
                if score is not None:
                    sums[0] += score
                    sums[1] += 1
        tally.add(task, _groups(row, task), right)
    return tally


def _right(task: Task, response: str, tally: _Tally) -> float:
    if task.options:
        letter = choice_of_reply(response, task.options)
        tally.unread += letter is None
        return float(letter == task.answer)
    known = certain(task, response)
    tally.undecided += known is None
    return known or 0.0


def _row(line: bytes, where: str) -> JsonObject:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise ResponseError(f"{where}: is no JSON") from None
    if not isinstance(row, dict) or not isinstance(row.get("response"), str):
        raise ResponseError(f"{where}: has no text 'response'; a row is an object with id and response")
    if isinstance(row.get("id"), bool) or not isinstance(row.get("id"), str | int):
        raise ResponseError(f"{where}: has no 'id'")
    return row


def _task(row: JsonObject, where: str, known: Mapping[str, Task] | None) -> Task:
    """The question of a row: the task file's, or what the row tells itself."""
    name = str(row["id"])
    if known is not None:
        if name not in known:
            raise ResponseError(f"{where}: its id '{name}' is of no question of the task file")
        return known[name]
    options, answer = row.get("options"), row.get("answer")
    if not isinstance(answer, str) or not answer.strip():
        raise ResponseError(f"{where}: has no text 'answer'; give the task file, or the answer in each row")
    try:
        if options:
            texts = tuple(map(str, options))
            letters = {chr(ord("A") + i) for i in range(len(texts))}
            letter = answer if answer in letters else choice_of_reply(answer, texts)
            if letter is None:
                raise ResponseError(f"{where}: its answer '{answer}' is none of its options")
            return Task(name, str(row.get("video", name)), "", letter, "", _NO_MARK, form="choice", options=texts)
        tolerance = row.get("tolerance")
        return Task(name, str(row.get("video", name)), "", answer, "", _NO_MARK, tolerance=tolerance)
    except (TaskError, TypeError) as error:
        raise ResponseError(f"{where}: {error}") from None


def _groups(row: JsonObject, task: Task) -> dict[str, str]:
    found = {"dimension": task.dimension, "kind": task.kind}
    found |= {key: str(row[key]) for key in GROUPS if row.get(key) not in (None, "")}
    seconds = row.get("duration")
    if isinstance(seconds, int | float):
        found["duration"] = next((name for end, name in DURATIONS if seconds < end), "long")
    return {key: value for key, value in found.items() if value}


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def _require_unique(hashes: "array[int]", path: Path) -> None:
    values, counts = np.unique(np.frombuffer(hashes, dtype=np.uint64), return_counts=True)
    doubled = set(values[counts > 1].tolist())
    if not doubled:
        return
    seen: set[str] = set()
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            name = "" if line.isspace() else str(_row(line, f"{path}:{number}")["id"])
            if _hash(name) in doubled:
                if name in seen:
                    raise ResponseError(f"{path}:{number}: a second response to '{name}'")
                seen.add(name)


def _share(questions: float, right: float) -> Share:
    """The share with its Wilson interval."""
    n, z = float(questions), 1.959964
    mean = float(right) / n
    middle = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    return Share(mean, max(0.0, middle - half), min(1.0, middle + half), int(n))
