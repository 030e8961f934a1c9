"""Where episodes looked, by hand-made calls."""

import pytest

from env.looks import SeekingScores, Sought, looks, temporal_iou
from env.trajectory import Rewards, ToolCallRecord, Trajectory
from env.transcript import Transcript

EVENT = (20.0, 22.0)


def crop(start: float, end: float, ok: bool = True) -> ToolCallRecord:
    return ToolCallRecord("crop_video", {"start_time": start, "end_time": end}, ok, 0.1, 8 if ok else 0)


def looked(*calls: ToolCallRecord, evidence: tuple[tuple[float, float], ...] = (EVENT,)) -> Trajectory:
    view = ToolCallRecord("view_visual_prompt", {}, True, 0.1, 1)
    return Trajectory(
        *("a", Transcript(), Rewards(1, 1, 1, 1), "x", "answer", (view, *calls), (), (), 1.0),
        evidence=evidence,
        video_frames=170,
    )


def test_a_look_is_a_stretch_that_was_fetched() -> None:
    refused = crop(5, 4, ok=False)
    odd = ToolCallRecord("crop_video", {"start_time": "soon", "end_time": 3}, True, 0.1, 0)
    assert looks((crop(1, 2), refused, odd, crop(3, 4.5))) == [(1.0, 2.0), (3.0, 4.5)]


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
        ((crop(22, 24),), False, False, None),  # it begins as the event ends
    ],
)
def test_hits_and_misses(
    calls: tuple[ToolCallRecord, ...], found: bool, after_miss: bool | None, after_hit: bool | None
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
