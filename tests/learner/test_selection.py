"""Cutting a batch from played groups."""

from dataclasses import replace

import pytest

from actors.rollout.groups import GroupOrder, PlayedGroup
from configs.training import GrpoConfig
from env.task import Task
from env.trajectory import Rewards, ToolCallRecord, Trajectory, TurnRecord
from env.transcript import Transcript
from learner.selection import TrainingBatch, cut_batch, judge_group, rollout_metrics, sift, staleness
from tools.marks.visual_prompt import VisualPrompt

TASK = Task("t", "v.mp4", "?", "red", "OA", (VisualPrompt("m.png", 1.0, "point"),))


MAX_TOKENS = 10
"""Most tokens of an episode in these tests."""


def group(rewards: list[float], versions: tuple[int, ...] = (0,)) -> PlayedGroup:
    length = len(versions)
    transcript = Transcript([7, *range(length)], [False, *[True] * length], [0.0] * (length + 1), [-1, *versions])
    trajectories = tuple(
        Trajectory("t", transcript, Rewards(reward, 1, 0, reward), "red", "answer", (), (), (), 1.0)
        for reward in rewards
    )
    return PlayedGroup(GroupOrder(0, TASK, (0,) * len(rewards)), trajectories)


def cut(
    groups: list[PlayedGroup], version: int = 0, config: GrpoConfig | None = None, kl: list[float] | None = None
) -> TrainingBatch:
    config = config or GrpoConfig()
    return cut_batch(sift(groups, version, config, MAX_TOKENS), version, config, MAX_TOKENS, kl)


def test_advantages_are_centred_and_follow_the_rewards() -> None:
    batch = cut([group([0.0, 1.0, 1.0, 0.0])])
    assert batch.advantages == pytest.approx((-1, 1, 1, -1), abs=1e-4)
    assert len(batch.trajectories) == 4


def test_uniform_groups_are_left_out_and_counted() -> None:
    batch = cut([group([0.3, 0.3]), group([0.0, 1.0])])
    assert (batch.groups, batch.uniform_groups, len(batch.trajectories)) == (1, 1, 2)
    kept = cut([group([0.3, 0.3])], 0, GrpoConfig(drop_uniform_groups=False))
    assert kept.advantages == (0.0, 0.0)


@pytest.mark.parametrize(("bound", "kept"), [(0, 0), (1, 0), (2, 1)])
def test_a_group_with_one_token_past_the_bound_is_swept(bound: int, kept: int) -> None:
    batch = cut([group([0.0, 1.0], versions=(3, 4, 5))], 5, GrpoConfig(max_staleness=bound))
    assert (batch.groups, batch.stale_groups) == (kept, 1 - kept)
    assert all(age == 2 for age in batch.staleness)


def test_a_trajectory_without_sampled_tokens_is_not_stale() -> None:
    empty = replace(group([1.0]).trajectories[0], transcript=Transcript([7], [False], [0.0], [-1]))
    assert staleness(empty, 9) == 0


def cut_off(played: PlayedGroup, *indices: int) -> PlayedGroup:
    stops = ["length" if i in indices else "answer" for i in range(len(played.trajectories))]
    pairs = zip(played.trajectories, stops, strict=True)
    return replace(played, trajectories=tuple(replace(trajectory, stop=stop) for trajectory, stop in pairs))


def test_the_kl_in_the_reward_comes_off_before_the_advantages() -> None:
    config = GrpoConfig(advantage="leave_one_out", kl_coef=0.1, kl_in="reward")
    groups = [group([0.5, 0.5]), group([1.0, 0.0, 0.0]), group([0.0, 1.0, 1.0])]
    batch = cut(groups, config=config, kl=[2.0, 0.0, 1.0, 0.0, 0.0, 5.0])
    rewards = [[0.8, 0.0, -0.1], [0.0, 1.0, 0.5]]
    expected = [r[i] - (sum(r) - r[i]) / 2 for r in rewards for i in range(3)]
    assert batch.advantages == pytest.approx(expected, rel=1e-12)
    assert batch.uniform_groups == 1, "a group is uniform by its rewards, whatever the KL"


def test_a_trajectory_that_was_cut_off_is_masked_but_counts_in_its_group() -> None:
    groups = [cut_off(group([0.0, 1.0, 1.0, 0.0]), 0), cut_off(group([0.0, 1.0]), 0, 1)]
    batch = cut(groups, config=GrpoConfig(mask_overlong=True))
    assert (batch.groups, len(batch.trajectories), batch.masked_trajectories) == (1, 3, 1)
    assert batch.advantages == pytest.approx((1, 1, -1), abs=1e-4)
    assert len(batch.staleness) == 3


def test_lengths_make_equal_rewards_differ() -> None:
    config = GrpoConfig(overlong_buffer=4, overlong_penalty=0.5)
    played = group([1.0, 1.0], versions=(0,) * 5)
    assert judge_group(played, 0, config, max_tokens=10) == "uniform"
    assert judge_group(cut_off(played, 1), 0, config, max_tokens=10) == "teaches"
    assert cut([cut_off(group([1.0, 0.8], versions=(0,) * 5), 0)], config=config).advantages[0] < 0


def test_metrics_count_calls_turns_and_tokens() -> None:
    base = group([1.0, 0.0], versions=(0, 0, 0))
    calls = (ToolCallRecord("crop_video", {}, True, 0.1), ToolCallRecord("crop_video", {}, False, 0.1, 0, "no"))
    turns = (TurnRecord("<think>a</think><answer>red</answer>", ""), TurnRecord("red", "error"))
    played = replace(base, trajectories=(replace(base.trajectories[0], calls=calls, turns=turns), base.trajectories[1]))
    metrics = rollout_metrics([played])
    assert (metrics["reward"], metrics["tool_calls"], metrics["tool_error_rate"]) == (0.5, 1.0, 0.5)
    assert (metrics["parse_rate"], metrics["response_tokens"]) == (0.5, 3.0)
