"""Tasks and their files."""

import codecs
import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from env.task import Task, TaskError, TaskFile, load_tasks, save_tasks
from tools.marks.visual_prompt import VisualPrompt

MARK = VisualPrompt("/data/mark.png", 12.5, "rectangle", {"box": [1, 2, 3, 4]})
OPEN = Task("a", "/data/v.mp4", "What colour\u2028is it? \u4f60", "red", "OA", (MARK,), facts={"n": 1})
CHOICE = dataclasses.replace(OPEN, id="b", form="choice", options=("blue", "red"), answer="B")


def test_tasks_go_round_through_a_file(tmp_path: Path) -> None:
    save_tasks(tmp_path / "new" / "tasks.jsonl", [OPEN, CHOICE])
    assert load_tasks(tmp_path / "new" / "tasks.jsonl") == [OPEN, CHOICE]


def test_what_must_be_seen_and_how_near_is_right_go_round_and_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    when = dataclasses.replace(OPEN, answer="12.5", kind="when", evidence=((12.0, 13.0), (20.0, 21.5)), tolerance=1.0)
    save_tasks(path, [when])
    assert load_tasks(path) == [when]
    row = dataclasses.asdict(OPEN)
    for name in ("kind", "evidence", "tolerance"):
        del row[name]
    path.write_text(json.dumps(row) + "\n")
    assert load_tasks(path) == [OPEN]


def test_a_folder_of_tasks_and_videos_can_be_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mark = VisualPrompt("data/frames/m.png", 1.0, "point")
    near = Task("a", "data/videos/v.mp4", "?", "red", "OA", (mark,))
    far = dataclasses.replace(near, id="b", video="/elsewhere/v.mp4")
    save_tasks("data/tasks.jsonl", [near, far])
    (tmp_path / "data").rename(tmp_path / "moved")
    loaded = load_tasks(tmp_path / "moved" / "tasks.jsonl")
    assert loaded[0].video == str(tmp_path / "moved/videos/v.mp4")
    assert loaded[0].visual_prompts[0].image == str(tmp_path / "moved/frames/m.png")
    assert loaded[1].video == "/elsewhere/v.mp4"


def test_text_that_was_not_escaped_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(dataclasses.asdict(OPEN), ensure_ascii=False) + "\n\n", encoding="utf-8")
    assert load_tasks(path) == [OPEN]


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("{", r"tasks\.jsonl: line 2 is not JSON"),
        ("[]", r"tasks\.jsonl:2: not a task"),
        ('{"id": "x"}', r"tasks\.jsonl:2: not a task \(KeyError: 'video'\)"),
        (json.dumps(dataclasses.asdict(CHOICE) | {"answer": "C"}), r"tasks\.jsonl:2: task b: answer 'C' is none of"),
        (json.dumps(dataclasses.asdict(OPEN) | {"colour": 1}), r"tasks\.jsonl:2: not a task .*colour"),
        (json.dumps(dataclasses.asdict(OPEN)), r"tasks\.jsonl:2: a second task with the id 'a'"),
        (json.dumps(dataclasses.asdict(OPEN) | {"id": ["x"]}), r"tasks\.jsonl:2: task \['x'\]: its id is no text"),
        (json.dumps(dataclasses.asdict(OPEN) | {"answer": None}), r"tasks\.jsonl:2: task a: its answer is no text"),
        (json.dumps(dataclasses.asdict(OPEN) | {"dimension": 3}), r"tasks\.jsonl:2: task a: its dimension is no text"),
        (json.dumps(dataclasses.asdict(OPEN) | {"form": "foo"}), r"tasks\.jsonl:2: task a: its form is 'foo'"),
        ("[" * 10**5, r"tasks\.jsonl: line 2 is not JSON"),
        ('{"id": ' + "9" * 5000 + "}", r"tasks\.jsonl: line 2 cannot be read"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, cause: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(json.dumps(dataclasses.asdict(OPEN)) + "\n" + line + "\n")
    with pytest.raises(TaskError, match=cause):
        load_tasks(path)


@pytest.mark.parametrize("content", [None, b"", b"\n\n", b"\xff\xfe"])
def test_a_file_without_tasks_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tasks.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TaskError, match=r"tasks\.jsonl"):
        load_tasks(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"subtitles": 3},
        {"form": "choice", "options": None},
        {"form": "choice", "options": ("x",) * 27, "answer": "A"},
        {"evidence": ((3.0, 2.0),)},
        {"kind": 3},
        {"tolerance": 1.0},
        {"tolerance": 1.0, "answer": "nan"},
        {"tolerance": -1.0, "answer": "3"},
        {"tolerance": "wide", "answer": "3"},
    ],
)
def test_an_ill_formed_task_does_not_exist(changes: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match="task a"):
        dataclasses.replace(OPEN, **changes)


def test_tasks_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    path, made = tmp_path / "tasks.jsonl", [dataclasses.replace(OPEN, id=f"t{i}") for i in range(5)]
    save_tasks(path, made)
    path.write_bytes(codecs.BOM_UTF8 + b"\r\n".join(path.read_bytes().splitlines()) + b"\n \n")
    tasks = pickle.loads(pickle.dumps(TaskFile(path)))
    assert list(tasks) == made
    assert (len(tasks), tasks[-1], tasks[1:3]) == (5, made[-1], made[1:3])
    with pytest.raises(IndexError):
        tasks[5]


def test_a_file_that_takes_the_place_of_one_in_use_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    save_tasks(path, [OPEN, CHOICE])
    tasks = TaskFile(path)
    sent = pickle.dumps(tasks)
    save_tasks(path, [CHOICE])
    assert list(tasks) == [OPEN, CHOICE]
    there = pickle.loads(sent)
    assert len(there) == 2
    with pytest.raises(TaskError, match="was changed while it was in use"):
        there[0]
    path.unlink()
    assert tasks[1] == CHOICE
    with pytest.raises(TaskError, match="cannot be read any more"):
        pickle.loads(sent)[0]


def test_a_file_that_is_edited_while_it_is_in_use_is_not_read_on(tmp_path: Path) -> None:
    save_tasks(tmp_path / "tasks.jsonl", [OPEN, CHOICE])
    tasks = TaskFile(tmp_path / "tasks.jsonl")
    with open(tmp_path / "tasks.jsonl", "a") as file:
        file.write("{}\n")
    with pytest.raises(TaskError, match="was changed while it was in use"):
        tasks[0]
