"""Answers that are kept one by one."""

import dataclasses
from pathlib import Path

import pytest

from env.task import Task
from env.trajectory import Trajectory
from evals.answers import AnswerLog
from tests.films.sample_episode import make_episode, write_media


@pytest.fixture
def episode(tmp_path: Path) -> Trajectory:
    folder = tmp_path / "media"
    folder.mkdir()
    return make_episode(write_media(folder))


def task(name: str, **changes: object) -> Task:
    return dataclasses.replace(Task(name, "/films/a.mp4", "What?", "red", "OA", ()), **changes)  # type: ignore[arg-type]


def test_what_is_answered_is_not_asked_again_whatever_part_is_asked_for(tmp_path: Path, episode: Trajectory) -> None:
    tasks = [task(name) for name in "abcd"]
    log = AnswerLog(tmp_path / "log")
    assert log.unanswered(tasks) == tasks
    log.add(tasks[2], episode)
    log.fail(tasks[0], "the film is torn")
    log.close()
    again = AnswerLog(tmp_path / "log")
    assert [left.id for left in again.unanswered(tasks)] == ["a", "b", "d"]
    assert [left.id for left in again.unanswered(tasks[2:])] == ["d"]
    assert [(one.task.id, one.error) for one in again.answered(tasks)] == [("a", "the film is torn"), ("c", "")]
    again.add(tasks[0], episode)
    assert [one.episode for one in again.answered(tasks)] == [episode, episode]


def test_an_answer_is_of_the_question_that_was_asked(tmp_path: Path, episode: Trajectory) -> None:
    log = AnswerLog(tmp_path / "log")
    log.add(task("a"), episode)
    moved = task("a", video="/elsewhere/a.mp4", root="/elsewhere")
    assert log.unanswered([moved]) == []
    for changes in ({"question": "Who?"}, {"answer": "blue"}, {"id": "b"}, {"video": "/films/b.mp4"}):
        assert log.unanswered([task("a", **changes)])  # type: ignore[arg-type]


def test_two_writers_and_a_torn_line_lose_nothing(tmp_path: Path, episode: Trajectory) -> None:
    folder = tmp_path / "log"
    one, other = AnswerLog(folder), AnswerLog(folder)
    one.add(task("a"), episode)
    [file] = folder.iterdir()
    with file.open("ab") as torn:
        torn.write(b'{"question": "x", "epis')
    third = AnswerLog(folder)
    third.add(task("b"), episode)
    other.add(task("c"), episode)
    assert AnswerLog(folder).unanswered([task(name) for name in "abc"]) == []
