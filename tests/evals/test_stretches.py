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
        ("It starts at 12 s and ends at 15 s.", (12.0, 15.0)),
        ("begins at 12 and ends at 15", (12.0, 15.0)),
        ("Start time: 12.5s\nEnd time: 15s", (12.5, 15.0)),
        ('{"start_time": 12.5, "end_time": 15}', (12.5, 15.0)),
        ("start_time=12.5, end_time=15", (12.5, 15.0)),
        ("0:12-->0:15", (12.0, 15.0)),
        ("00:00:12 --> 00:00:15", (12.0, 15.0)),
        ("12.5 -- 15", (12.5, 15.0)),
        ("12.5 \u2192 15", (12.5, 15.0)),
        ("12.5..15", (12.5, 15.0)),
        ("**12.5s** to **15s**", (12.5, 15.0)),
        ("`12.5` to `15`", (12.5, 15.0)),
        ("<start>12.5</start><end>15</end>", (12.5, 15.0)),
        ("12.5 15", (12.5, 15.0)),
        ("from ~12 to ~15", (12.0, 15.0)),
        ("about 12 to about 15", (12.0, 15.0)),
        ("12,5 bis 15,0 Sekunden", (12.5, 15.0)),
        ("12\u79d2\u523015\u79d2", (12.0, 15.0)),
        ("1 minute 12 seconds to 1 minute 15 seconds", (72.0, 75.0)),
        ("1m12s to 1m15s", (72.0, 75.0)),
        ("2 min to 3 min", (120.0, 180.0)),
        ("Person 1 and 2 walk from 12 to 15 s", (12.0, 15.0)),
        ("The answer is 12.5 to 15, not 20 to 30.", (12.5, 15.0)),
        ("from 2 to 3 minutes", (120.0, 180.0)),
        ("-3 to 5", None),
        ("12-15-20", None),
        ("between frames 12 and 15", None),
        ("12.0s - 15.0s", (12.0, 15.0)),
        ("12s-15s", (12.0, 15.0)),
        ("The event occurs between 12.0 and 15.0 seconds in the video.", (12.0, 15.0)),
        ("from 00:12 to 00:15", (12.0, 15.0)),
        ("12.5 seconds to 15.0 seconds", (12.5, 15.0)),
        ("[12.5s, 15.0s]", (12.5, 15.0)),
        ("<12.5 - 15>", (12.5, 15.0)),
        ("12 sec - 15 sec", (12.0, 15.0)),
        ("The action starts around 12 seconds and finishes around 15 seconds.", (12.0, 15.0)),
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
    "value", ["1 to 2", "[2, 1]", "[", [1], [2, 1], [1, 1], [1, "2"], [True, 2], [1, float("nan")], None, [1, 2, 3]]
)
def test_an_answer_that_is_no_stretch_is_none(value: object) -> None:
    assert stretch_of(value) is None


def test_an_iou_counts_for_every_threshold_that_it_reaches() -> None:
    scores = stretch_scores([1.0, 0.5, 0.3, 0.0], unread=1)
    assert scores is not None
    assert (scores.questions, scores.iou, scores.unread) == (4, pytest.approx(0.45), 1)
    assert scores.reached == {0.3: 0.75, 0.5: 0.5, 0.7: 0.25}
    assert stretch_scores([]) is None
