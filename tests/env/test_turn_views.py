import dataclasses
from pathlib import Path

from env.trajectory import TurnRecord
from env.turn_views import marked_frame, turn_views
from tests.films.sample_episode import make_episode

EPISODE = make_episode(Path("anywhere"))


def test_calls_are_matched_with_what_became_of_them() -> None:
    view, bad, good = [call for turn in turn_views(EPISODE) for call in turn.calls]
    assert view.record is not None
    assert bad.record is not None
    assert good.record is not None
    assert view.record.ok
    assert good.record.ok
    assert bad.record.error == "start_time must lie before end_time"
    assert str(good) == "crop_video(start_time=20.0, end_time=21.5)"


def test_a_marked_frame_takes_its_time_from_its_label() -> None:
    shown = marked_frame(EPISODE)
    assert shown is not None
    assert shown.time_s == 4.5
    assert marked_frame(dataclasses.replace(EPISODE, turns=())) is None


def test_a_malformed_turn_keeps_its_text() -> None:
    odd = dataclasses.replace(EPISODE, turns=(TurnRecord("<think>a</think> hm <|im_end|>", ""),))
    (turn,) = turn_views(odd)
    assert turn.text == "<think>a</think> hm"
    assert turn.error is not None


def test_an_observation_is_shown_without_the_labels_of_its_frames() -> None:
    third = turn_views(EPISODE)[2]
    assert third.observation == "frames from 20.0 s to 21.5 s:"
    assert [frame.time_s for frame in third.frames] == [20.125, 20.625, 21.125]


def test_a_call_that_was_never_executed_has_no_record() -> None:
    unexecuted = dataclasses.replace(EPISODE, calls=EPISODE.calls[:1])
    assert [call.record is None for turn in turn_views(unexecuted) for call in turn.calls] == [False, True, True]
