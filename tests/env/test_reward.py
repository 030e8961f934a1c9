"""The reward's parts and their sum."""

import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import ConfigError
from configs.episode import RewardConfig
from env.looks import Stretch
from env.reward import reward_of, score
from env.task import Task
from env.trajectory import Rewards
from tools.marks.visual_prompt import VisualPrompt

TASK = Task("t", "v.mp4", "?", "red", "OA", (VisualPrompt("mark.png", 1.0, "point"),))


@pytest.mark.parametrize(
    ("answer", "format_ok", "calls", "total"),
    [
        ("red", True, 0, 1.0),
        ("red", True, 2, 0.8 + 0.15 + 0.05 * 0.6),
        ("red", False, 5, 0.8),
        ("red", False, 50, 0.8),
        ("blue", True, 1, 0.15 + 0.05 * 0.8),
        (None, False, 0, 0.05),
    ],
)
def test_the_paper_s_weights(answer: str | None, format_ok: bool, calls: int, total: float) -> None:
    assert score(RewardConfig(), TASK, answer, format_ok, calls).total == pytest.approx(total)


@given(st.sampled_from(["red", "blue", None]), st.booleans(), st.integers(0, 100))
def test_parts_and_total_lie_between_0_and_1(answer: str | None, format_ok: bool, calls: int) -> None:
    rewards = score(RewardConfig(), TASK, answer, format_ok, calls)
    parts = (rewards.accuracy, rewards.format, rewards.parsimony, rewards.evidence, rewards.total)
    assert all(0.0 <= part <= 1.0 + 1e-9 for part in parts)


def test_a_call_more_never_pays() -> None:
    totals = [score(RewardConfig(), TASK, "red", True, calls).total for calls in range(8)]
    assert totals == sorted(totals, reverse=True)


def test_fewer_calls_may_be_made_to_pay_for_right_answers_alone() -> None:
    gated = RewardConfig(parsimony_needs_right=True)
    for calls in range(6):
        assert score(gated, TASK, "red", True, calls) == score(RewardConfig(), TASK, "red", True, calls)
        assert score(gated, TASK, "blue", True, calls).total == pytest.approx(0.15)
        assert score(gated, TASK, None, False, calls).total == 0.0


@pytest.mark.parametrize(
    ("looks", "share"), [((), 0.0), (((0.0, 4.0),), 0.0), (((3.0, 6.0),), 0.5), (((3.0, 6.0), (20.0, 28.0)), 1.0)]
)
def test_looking_where_the_answer_lies_pays_right_or_wrong(looks: tuple[Stretch, ...], share: float) -> None:
    task = dataclasses.replace(TASK, evidence=((4.5, 5.5), (21.0, 22.0)))
    assert score(RewardConfig(), task, "red", True, 2, looks).total == score(RewardConfig(), TASK, "red", True, 2).total
    for answer in ("red", "blue", None):
        plain = score(RewardConfig(), task, answer, True, 2, looks)
        rewards = score(RewardConfig(delta=0.3), task, answer, True, 2, looks)
        assert plain.evidence == rewards.evidence == share
        assert rewards.total == pytest.approx(plain.total + 0.3 * share)


def generous(
    config: RewardConfig, task: Task, answer: str | None, format_ok: bool, calls: float, looks: Sequence[Stretch]
) -> Rewards:
    return Rewards(1.0, 1.0, 1.0, total=2.0)


def test_a_config_names_the_reward_or_takes_the_papers() -> None:
    assert reward_of(RewardConfig()) is score
    assert (
        reward_of(RewardConfig(function=f"{__name__}:generous"))(RewardConfig(), TASK, None, False, 9, ()).total == 2.0
    )
    with pytest.raises(ConfigError, match=r"episode\.reward\.function: 'nowhere:f' cannot be imported"):
        reward_of(RewardConfig(function="nowhere:f"))
