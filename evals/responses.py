"""Scores of saved responses, however many: a file is read once, in blocks, by as many processes as there are cores.

Invariants: every question stays in the denominator, also one that nobody answered; what is kept of a row are twenty
bytes.
"""

import asyncio
import json
import os
from array import array
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import islice
from pathlib import Path

import numpy as np

from env.judging.judge import Judge, NoVerdictError
from env.judging.replies import choice_of_reply, words_of
from env.judging.rules import certain
from env.task import Task, TaskError, load_tasks
from evals.published_rules import PUBLISHED
from evals.stretches import RIGHT, iou, stretch_of, told_stretch
from evals.tally import SetScores, Tally, groups_of, key_of
from storage.files import JsonObject

BLOCK = 4000
"""Rows that a process scores at once."""


class ResponseError(ValueError):
    """A file of responses that cannot be used; the message is one sentence with its line."""


@dataclass(frozen=True)
class ResponseScores(SetScores):
    """What a file of responses says about a model."""

    unread: int
    """Replies to choices that chose no option, or several."""
    undecided: int
    """Open answers that the rules are not certain of, and of which no judge gave a verdict; they count as wrong."""
    judged: int
    """Open answers that the judge gave a verdict on."""
    unanswered: int
    """Questions of the task file without a response; they count as wrong."""


def rules_named(names: Sequence[str]) -> list[str]:
    """The published rules of some names, `all` for all of them. Raises ResponseError: there is no such rule."""
    chosen = list(PUBLISHED) if "all" in names else list(names)
    if unknown := [name for name in chosen if name not in PUBLISHED]:
        raise ResponseError(f"--also-scored-as: no rule '{unknown[0]}'; there are {', '.join(PUBLISHED)} and all")
    return chosen


@dataclass
class _Scored:
    """What a block of rows comes to."""

    tally: Tally = field(default_factory=Tally)
    open: list[tuple[Task, dict[str, str], str]] = field(default_factory=list)
    """Open answers that the rules are not certain of: the question, its groups, what was answered."""


def score_responses(
    path: str | Path,
    tasks: str | Path | None = None,
    published: Sequence[str] = (),
    seed: int = 0,
    judge: Judge | None = None,
) -> ResponseScores:
    """The scores of a JSONL file of responses: objects with `id`, `response`, `answer`, `video`, for choices `options`
    (texts without letters; the answer is a letter or a text), for a judge `question`, and perhaps some of `GROUPS`. An
    answer that is two numbers is a stretch of the film, seconds.

    Args:
        tasks: a task file that has all but `id` and `response`.
        published: names of `PUBLISHED`.
        seed: of the bootstrap.
        judge: who is asked about the open answers that the rules are not certain of.

    Raises:
        ResponseError: the file cannot be read, a row cannot be used, an id comes twice or is of no task.
        TaskError: the task file cannot be used.
        JudgeError: the judge cannot be asked; what it has said is kept by it.
    """
    known = _by_id(str(tasks)) if tasks else {}
    tally, judged = Tally(), 0
    for part in _blocks(Path(path), str(tasks or ""), tuple(published)):
        tally.merge(part.tally)
        if judge:
            _require_questions(part.open, Path(path))
        verdicts = asyncio.run(_verdicts(judge, part.open)) if judge and part.open else [None] * len(part.open)
        for (task, groups, _), verdict in zip(part.open, verdicts, strict=True):
            tally.add(task, groups, verdict or 0.0)
            tally.undecided += verdict is None
            judged += verdict is not None
    if not tally.ids:
        raise ResponseError(f"{path}: holds no response")
    _require_unique(tally.ids, Path(path))
    answered = set(tally.ids) if known else set()
    missing = [task for task in known.values() if key_of(task.id) not in answered]
    for task in missing:
        tally.add(task, groups_of(task), 0.0)
    return ResponseScores(
        **vars(tally.scores(seed)),
        unread=tally.unread,
        undecided=tally.undecided,
        judged=judged,
        unanswered=len(missing),
    )


def _require_questions(answers: Sequence[tuple[Task, dict[str, str], str]], path: Path) -> None:
    for task, _, _ in answers:
        if not task.question:
            raise ResponseError(f"{path}: the row of id '{task.id}' has no 'question', which the judge needs")


async def _verdicts(judge: Judge, answers: Sequence[tuple[Task, dict[str, str], str]]) -> list[float | None]:
    """The judge's verdict on each answer; None where it gave none that can be used."""

    async def verdict(task: Task, answer: str) -> float | None:
        try:
            return await judge.verdict(task, answer)
        except NoVerdictError:
            return None

    try:
        return list(await asyncio.gather(*(verdict(task, answer) for task, _, answer in answers)))
    finally:
        await judge.close()


@cache
def _by_id(tasks: str) -> dict[str, Task]:
    """The tasks of a file; each process reads it once."""
    return {task.id: task for task in load_tasks(tasks)}


def _blocks(path: Path, tasks: str, published: tuple[str, ...]) -> Iterator[_Scored]:
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
                waiting: deque[Future[_Scored]] = deque([pool.submit(score, first)])
                while waiting:
                    while len(waiting) < 2 * (os.cpu_count() or 1) and (block := list(islice(lines, BLOCK))):
                        waiting.append(pool.submit(score, block))
                    yield waiting.popleft().result()
    except OSError as error:
        raise ResponseError(f"{path}: cannot be read ({error.strerror})") from None


def _scored(lines: Sequence[tuple[int, bytes]], path: str, tasks: str, published: Sequence[str]) -> _Scored:
    scored, known = _Scored(), _by_id(tasks) if tasks else None
    tally = scored.tally
    for number, line in lines:
        if line.isspace():
            continue
        where = f"{path}:{number}"
        row = _row(line, where)
        response, task = row["response"], _task(row, where, known)
        stretch = None if task.options else stretch_of(task.answer)
        tally.ids.append(key_of(task.id))
        groups = groups_of(task, row)
        if stretch is not None:
            told = told_stretch(words_of(response))
            tally.untold += told is None
            tally.ious.append(iou(told, stretch))
            tally.add(task, groups, float(tally.ious[-1] >= RIGHT))
        elif task.options:
            letter = choice_of_reply(response, task.options)
            tally.unread += letter is None
            tally.publish(task, response, published)
            tally.add(task, groups, float(letter == task.answer))
        else:
            answer = words_of(response)
            right = certain(task, answer)
            if right is None:
                scored.open.append((task, groups, answer))
            else:
                tally.add(task, groups, right)
    return scored


def response_rows(path: str | Path) -> Iterator[tuple[str, JsonObject]]:
    """The rows of a file of responses, each with its place. Raises ResponseError: it cannot be read, or a row has no
    `id` or no text `response`."""
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.isspace():
                    yield f"{path}:{number}", _row(line, f"{path}:{number}")
    except OSError as error:
        raise ResponseError(f"{path}: cannot be read ({error.strerror})") from None


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
    options, answer, question = row.get("options"), row.get("answer"), row.get("question") or ""
    if isinstance(answer, list):
        if stretch_of(answer) is None:
            raise ResponseError(f"{where}: its answer is no stretch: give two numbers, the second larger, or a text")
        answer = json.dumps(answer)
    if not isinstance(answer, str) or not answer.strip():
        raise ResponseError(f"{where}: has no text 'answer'; give the task file, or the answer in each row")
    if not isinstance(question, str):
        raise ResponseError(f"{where}: its question is no text")
    try:
        if options:
            texts = tuple(map(str, options))
            letters = {chr(ord("A") + i) for i in range(len(texts))}
            letter = answer if answer in letters else choice_of_reply(answer, texts)
            if letter is None:
                raise ResponseError(f"{where}: its answer '{answer}' is none of its options")
            return Task(name, str(row.get("video", name)), question, letter, "", (), form="choice", options=texts)
        tolerance = row.get("tolerance")
        return Task(name, str(row.get("video", name)), question, answer, "", (), tolerance=tolerance)
    except (TaskError, TypeError) as error:
        raise ResponseError(f"{where}: {error}") from None


def _require_unique(hashes: "array[int]", path: Path) -> None:
    values, counts = np.unique(np.frombuffer(hashes, dtype=np.uint64), return_counts=True)
    doubled = set(values[counts > 1].tolist())
    if not doubled:
        return
    seen: set[str] = set()
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            name = "" if line.isspace() else str(_row(line, f"{path}:{number}")["id"])
            if key_of(name) in doubled:
                if name in seen:
                    raise ResponseError(f"{path}:{number}: a second response to '{name}'")
                seen.add(name)
