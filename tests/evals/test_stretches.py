"""Stretches as answers: reading, temporal IoU, and their scores."""

import pytest

from evals.stretches import iou, stretch_of, stretch_scores, told_stretch


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("12.5 to 15 s", (12.5, 15.0)),
        ("It happens from 12.5s to 15s.", (12.5, 15.0)),
        ("between 12 and 15 seconds", (12.0, 15.0)),
        ("[12.5, 15]", (12.5, 15.0)),
        ("(12 - 15)", (12.0, 15.0)),
        ("12\u201315", (12.0, 15.0)),
        ("0:12 until 1:05.5", (12.0, 65.5)),
        ("1:02:03 - 1:02:10", (3723.0, 3730.0)),
        ('{"start": 12.5, "end": 15}', (12.5, 15.0)),
        ("Start: 12 s, end: 15 s", (12.0, 15.0)),
        ("From 12 seconds through 15 seconds, that is 12 to 15.", (12.0, 15.0)),
        ("0 to 4", (0.0, 4.0)),
        ("7 to 7", (7.0, 7.0)),
        ("12 to 15, or 20 to 25", None),
        ("15 to 12", None),
        ("at 12 s", None),
        ("I cannot tell.", None),
        ("", None),
    ],
)
def test_the_one_stretch_that_a_reply_tells(reply: str, told: tuple[float, float] | None) -> None:
    assert told_stretch(reply) == told


@pytest.mark.parametrize(
    ("told", "share"),
    [
        ((10.0, 20.0), 1.0),
        ((15.0, 25.0), 5 / 15),
        ((20.0, 30.0), 0.0),
        ((0.0, 40.0), 0.25),
        ((12.0, 12.0), 0.0),
        (None, 0.0),
    ],
)
def test_the_temporal_iou_is_what_both_share_of_what_either_has(told: tuple[float, float] | None, share: float) -> None:
    assert iou(told, (10.0, 20.0)) == pytest.approx(share)


@pytest.mark.parametrize(
    "value", ["1 to 2", [1], [2, 1], [1, 1], [1, "2"], [True, 2], [1, float("nan")], None, [1, 2, 3]]
)
def test_an_answer_that_is_no_stretch_is_none(value: object) -> None:
    assert stretch_of(value) is None


def test_an_iou_counts_for_every_threshold_that_it_reaches() -> None:
    scores = stretch_scores([1.0, 0.5, 0.3, 0.0])
    assert scores is not None
    assert (scores.questions, scores.iou) == (4, pytest.approx(0.45))
    assert scores.reached == {0.3: 0.75, 0.5: 0.5, 0.7: 0.25}
    assert stretch_scores([]) is None
