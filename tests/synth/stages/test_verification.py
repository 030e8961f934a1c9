"""What a verifying model says is held against the record before it is used."""

from typing import Any

import pytest

from synth.record import Record, Rejected
from synth.stages.verification import SCHEMA, checked

RECORD = Record(
    "a", "test", "a.mp4", "What does the man in red pick up?", "B", ("a cup", "the hat of the man in red", "a key")
)
SAID: dict[str, Any] = {
    "is_valid": True,
    "reason": "",
    "target_description": "the man in red",
    "tag": "man red shirt",
    "timestamp": {"start": 2.0, "end": 6.5},
    "rewritten_question": "What does <vp> pick up?",
    "rewritten_options": ["a cup", "the hat of <vp>", "a key"],
    "rewritten_answer": "B",
    "visual_prompt_type": "arrow",
}


def test_a_good_reply_becomes_the_target() -> None:
    target = checked(RECORD, SAID, 10.0)
    assert (target.description, target.tag, target.prompt_kind) == ("the man in red", "man red shirt", "arrow")
    assert (target.start_s, target.end_s) == (2.0, 6.5)
    assert target.question == "What does <vp> pick up?"
    assert target.options == ("a cup", "the hat of <vp>", "a key")
    assert set(SAID) == set(SCHEMA["required"]) == set(SCHEMA["properties"])


def test_a_window_may_end_a_tenth_after_the_video_and_is_cut() -> None:
    said = {**SAID, "timestamp": {"start": 2.0, "end": 10.05}}
    assert checked(RECORD, said, 10.0).end_s == 10.0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"is_valid": False}, "no target that is the only one"),
        ({"tag": "man"}, "tag: not 3 to 10 words"),
        ({"tag": "a " * 11}, "tag: not 3 to 10 words"),
        ({"target_description": " "}, "target: not described"),
        ({"timestamp": {"start": 6.0, "end": 6.0}}, "window: not a stretch of the video"),
        ({"timestamp": {"start": -1.0, "end": 6.0}}, "window: not a stretch of the video"),
        ({"timestamp": {"start": 2.0, "end": 11.0}}, "window: not a stretch of the video"),
        ({"timestamp": {"start": 1.0, "end": 10**400}}, "window: not a stretch of the video"),
        ({"timestamp": {"start": float("nan"), "end": 6.0}}, "window: not a stretch of the video"),
        ({"rewritten_question": "What does it pick up?"}, "question: no place for the mark"),
        ({"rewritten_question": "What does <vp> put on his head?"}, "question: the target is named"),
        ({"rewritten_question": "What does the man <vp> pick up?"}, "question: the target is named"),
        ({"rewritten_options": ["a cup", "the hat of <vp>"]}, "options: the number of options changed"),
        ({"rewritten_options": ["the hat of <vp>", "a cup", "a key"]}, "options: an option changed"),
        ({"rewritten_options": ["a cup", "the hat of the man in red", "a key"]}, "question: the target is named"),
        ({"rewritten_answer": "C"}, "answer: changed"),
        ({"rewritten_answer": "a key"}, "answer: changed"),
    ],
)
def test_a_reply_that_cannot_be_used_rejects_the_record(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Rejected) as rejected:
        checked(RECORD, {**SAID, **changes}, 10.0)
    assert str(rejected.value) == reason


@pytest.mark.parametrize("answer", ["B", "B.", "(B)", "", "the hat of <vp>", "the hat of the man in red"])
def test_the_right_option_may_be_named_in_any_form(answer: str) -> None:
    assert checked(RECORD, {**SAID, "rewritten_answer": answer}, 10.0).options == tuple(SAID["rewritten_options"])


def test_an_open_question_keeps_no_options() -> None:
    record = Record("a", "test", "a.mp4", "What does the man in red pick up?", "a hat")
    assert checked(record, {**SAID, "rewritten_answer": "a hat"}, 10.0).options is None
