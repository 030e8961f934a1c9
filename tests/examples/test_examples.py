"""The examples run as they stand, and are as short as they are said to be."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from tests.test_rooms import ROOT

SHOWS = {
    "add_a_tool": ['"name": "brightness"', "of 255 at 2.0 s [frame 2.0 s]", "accuracy="],
    "fixed_camera_films": ["2 films in "],
    "judge_answers": ["right"],
    "play_an_episode": ["view_visual_prompt", "crop_video", "[frame", "Rewards(accuracy="],
    "reward_of_your_own": ["0 calls", "total=1.0", "2 calls", "total=0.66"],
}
"""By example, what it prints."""


def run(name: str) -> None:
    runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")


def test_every_example_is_tried() -> None:
    assert {path.stem for path in ROOT.glob("examples/*.py")} == set(SHOWS)


@pytest.mark.parametrize("name", SHOWS)
def test_an_example_runs(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name])
    run(name)
    shown = capsys.readouterr().out
    assert [part for part in SHOWS[name] if part not in shown] == []


@pytest.mark.parametrize("name", SHOWS)
def test_an_example_is_shorter_than_50_lines(name: str) -> None:
    assert len((ROOT / "examples" / f"{name}.py").read_text().splitlines()) < 50


def test_own_answers_are_judged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mark = {"image": "mark.png", "time_s": 1.0, "kind": "point"}
    task = {"video": "v.mp4", "question": "?", "answer": "red", "dimension": "OA", "visual_prompts": [mark]}
    rows = [{"id": name, **task} for name in ("right", "wrong", "unanswered")]
    answers = [{"id": "right", "answer": "The answer is Red."}, {"id": "wrong", "answer": "blue"}]
    for file, lines in (("tasks.jsonl", rows), ("answers.jsonl", answers)):
        (tmp_path / file).write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(sys, "argv", ["judge_answers", str(tmp_path / "tasks.jsonl"), str(tmp_path / "answers.jsonl")])
    run("judge_answers")
    assert capsys.readouterr().out == "OA: 1 of 3 right\n"
