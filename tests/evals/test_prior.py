from dataclasses import replace

import pytest

from env.task import Task
from evals.prior import form_of, prior
from tools.marks.visual_prompt import VisualPrompt

MARK = (VisualPrompt("frame.png", 1.0, "rectangle", {"box": [0, 0, 9, 9]}),)


def asked(question: str, answer: str, kind: str = "feature") -> Task:
    return Task("a", "film.mp4", question, answer, "OA", MARK, kind=kind)


def test_a_form_is_what_is_asked_whoever_is_marked_and_whenever() -> None:
    first = asked("Which colour does the target in the box flash from 3 s to 6.5 s?", "red")
    second = asked("Which colour does target number 1 flash from 12 s to 15 s?", "blue")
    assert form_of(first) == form_of(second)
    assert form_of(first) != form_of(replace(first, kind="forward"))
    assert form_of(first) != form_of(asked("Which way does the target in the box dart from 3 s to 6 s?", "left"))


def test_the_commonest_answer_of_each_form_is_given() -> None:
    ways = [asked("Which way does the circled target dart?", way) for way in ("up", "up", "left")]
    sides = [asked("From which side does it come?", side, kind="return_side") for side in ("left", "left", "right")]
    right, by_kind = prior([*ways, *sides], [*ways, *sides[1:]])
    assert by_kind == {"feature": pytest.approx(2 / 3), "return_side": pytest.approx(1 / 2)}
    assert right == pytest.approx(3 / 5)


def test_an_unknown_form_is_answered_wrong_and_a_moment_within_its_tolerance_right() -> None:
    when = replace(asked("When does it leave?", "7.5", "when"), tolerance=1.0)
    assert prior([when], [replace(when, answer="8.0"), asked("How often?", "1")])[1] == {"feature": 0.0, "when": 1.0}
