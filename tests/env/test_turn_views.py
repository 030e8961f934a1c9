import dataclasses
from pathlib import Path

from env.transcript import TurnRecord
from env.turn_views import marked_frame, steps
from tests.films.sample_episode import make_episode

EPISODE = make_episode(Path("anywhere"))


def test_calls_are_matched_with_what_became_of_them():
    view, bad, good = [call for step in steps(EPISODE) for call in step.calls]
    assert view.record.ok
    assert good.record.ok
    assert bad.record.error == "start_time must lie before end_time"
    assert str(good) == "crop_video(start_time=20.0, end_time=21.5)"


def test_a_marked_frame_takes_its_time_from_its_label():
    assert marked_frame(EPISODE).time_s == 4.5
    assert marked_frame(dataclasses.replace(EPISODE, turns=())) is None


def test_a_malformed_turn_keeps_its_text():
    odd = dataclasses.replace(EPISODE, turns=(TurnRecord("<think>a</think> hm <|im_end|>", ""),))
    (step,) = steps(odd)
    assert step.text == "<think>a</think> hm"
    assert step.error is not None


def test_an_observation_is_told_without_the_labels_of_its_frames():
    third = steps(EPISODE)[2]
    assert third.observation == "frames from 20.0 s to 21.5 s:"
    assert [frame.time_s for frame in third.frames] == [20.125, 20.625, 21.125]


def test_a_call_that_was_never_executed_has_no_record():
    unexecuted = dataclasses.replace(EPISODE, calls=EPISODE.calls[:1])
    assert [call.record is None for step in steps(unexecuted) for call in step.calls] == [False, True, True]
