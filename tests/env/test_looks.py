"""Where episodes looked, by hand-made calls."""

import pytest

from env.looks import Look, SeekingScores, Sought, looks, share_seen, shown, temporal_iou
from env.trajectory import Rewards, ToolCallRecord, Trajectory, TurnRecord
from env.transcript import Transcript
from env.turn import ParsedCall, write_turn
from tools.decoding.frame import FrameRef

EVENT = (20.0, 22.0)


def turn(call: ParsedCall, *times: float | None) -> TurnRecord:
    return TurnRecord(write_turn("Look.", call), "", tuple(FrameRef("film.mp4", t, 96, 96) for t in times))


def crop(start: float, end: float, frames: int = 8) -> TurnRecord:
    times = [start + (i + 0.5) * (end - start) / frames for i in range(frames)]
    return turn(ParsedCall("crop_video", {"start_time": start, "end_time": end}), *times)


VIEW = turn(ParsedCall("view_visual_prompt", {}), None)


def looked(*turns: TurnRecord, evidence: tuple[tuple[float, float], ...] = (EVENT,)) -> Trajectory:
    calls = [ToolCallRecord("crop_video", {}, True, 0.1, len(one.frames)) for one in (VIEW, *turns)]
    return Trajectory(
        *("a", Transcript(), Rewards(1, 1, 1, 1), "x", "answer", tuple(calls), (), (VIEW, *turns), 1.0),
        evidence=evidence,
        video_frames=170,
    )


def test_a_look_is_a_stretch_of_which_frames_were_fetched() -> None:
    refused = crop(5, 4, frames=0)
    odd = turn(ParsedCall("crop_video", {"start_time": "soon", "end_time": 3}), 2.0)
    told = turn(ParsedCall("track_instance", {"start_time": 0, "end_time": 60}))
    single = turn(ParsedCall("view_frames", {"times": [9.0]}), 9.0)
    turns = (VIEW, crop(1, 2, frames=2), refused, odd, told, single, crop(3, 4.5, frames=1))
    assert looks(turns) == [Look((1.0, 2.0), (1.25, 1.75)), Look((3.0, 4.5), (3.75,))]
    assert shown(turns) == [1.25, 1.75, 2.0, 9.0, 3.75]


@pytest.mark.parametrize(
    ("times", "share"),
    [((), 0.0), ((12.0,), 0.5), ((11.75, 30.25), 1.0), ((11.7, 30.3), 0.0), ((2.5, 7.5, 17.5, 22.5, 27.5, 37.5), 0.0)],
)
def test_what_is_seen_is_what_frames_show_however_long_a_look_is(times: tuple[float, ...], share: float) -> None:
    assert share_seen(((12.0, 13.0), (29.5, 30.0)), times) == share
    assert share_seen((), times) == 1.0


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [
        ((0, 2), (1, 3), 1 / 3),
        ((0, 8), (2, 4), 0.25),
        ((0, 1), (1, 2), 0.0),
        ((3, 3), (3, 3), 0.0),
        ((1, 2), (1, 2), 1),
    ],
)
def test_temporal_iou(a: tuple[float, float], b: tuple[float, float], share: float) -> None:
    assert temporal_iou(a, b) == temporal_iou(b, a) == pytest.approx(share)


@pytest.mark.parametrize(
    ("calls", "found", "after_miss", "after_hit"),
    [
        ((), False, None, None),
        ((crop(0, 8),), False, False, None),
        ((crop(0, 8), crop(16, 24)), True, True, None),
        ((crop(16, 24),), True, None, False),
        ((crop(16, 24), crop(16, 24)), True, None, True),
        ((crop(23, 25),), False, False, None),
        ((crop(0, 1000),), False, False, None),  # longer than the film, and no frame of it in the event
    ],
)
def test_hits_and_misses(
    calls: tuple[TurnRecord, ...], found: bool, after_miss: bool | None, after_hit: bool | None
) -> None:
    sought = Sought.of(looked(*calls))
    assert sought is not None
    assert (sought.found, sought.again_after_miss, sought.again_after_hit) == (found, after_miss, after_hit)
    assert sought.frames_share == pytest.approx((1 + 8 * len(calls)) / 170)


def test_where_two_stretches_have_to_be_seen_one_is_not_enough() -> None:
    both = (EVENT, (40.0, 41.0))
    one, two = (Sought.of(looked(*calls, evidence=both)) for calls in ((crop(18, 24),), (crop(18, 24), crop(40, 48))))
    assert one is not None
    assert two is not None
    assert (one.found, two.found) == (False, True)
    assert one.again_after_hit is None
    assert two.iou == pytest.approx(1 / 8)


def test_an_episode_whose_evidence_is_not_known_counts_nowhere() -> None:
    assert Sought.of(looked(crop(0, 8), evidence=())) is None
    assert SeekingScores.of([]) is None


def test_scores_are_means_over_those_that_they_are_about() -> None:
    played = [looked(crop(0, 8)), looked(crop(0, 8), crop(16, 24)), looked(crop(20, 22)), looked()]
    scores = SeekingScores.of([one for episode in played if (one := Sought.of(episode))])
    assert scores is not None
    assert (scores.episodes, scores.found, scores.again_after_miss, scores.again_after_hit) == (4, 0.5, 0.5, 0.0)
    assert scores.iou == pytest.approx((0 + 0.25 + 1 + 0) / 4)
    assert set(scores.metrics()) == {
        "found", "look_iou", "second_look_after_miss", "second_look_after_hit", "frames_share"
    }  # fmt: skip
    never = SeekingScores.of([one for one in [Sought.of(looked())] if one])
    assert never is not None
    assert set(never.metrics()) == {"found", "look_iou", "frames_share"}
