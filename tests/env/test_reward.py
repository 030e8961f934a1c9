"""The reward's parts and their sum."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import ConfigError
from configs.episode import RewardConfig
from env.judging.rules import judge
from env.reward import reward_of, score
from env.task import Task
from env.trajectory import Rewards
from tools.marks.visual_prompt import VisualPrompt

TASK = Task("t", "v.mp4", "?", "red", "OA", (VisualPrompt("mark.png", 1.0, "point"),))


def scored(config: RewardConfig, answer: str | None, format_ok: bool, calls: float, evidence: float) -> Rewards:
    return score(config, TASK, answer, judge(TASK, answer), format_ok, calls, evidence)


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
    assert scored(RewardConfig(), answer, format_ok, calls, 1.0).total == pytest.approx(total)


@given(st.sampled_from(["red", "blue", None]), st.booleans(), st.integers(0, 100))
def test_parts_and_total_lie_between_0_and_1(answer: str | None, format_ok: bool, calls: int) -> None:
    rewards = scored(RewardConfig(), answer, format_ok, calls, 1.0)
    parts = (rewards.accuracy, rewards.format, rewards.parsimony, rewards.total)
    assert all(0.0 <= part <= 1.0 + 1e-9 for part in parts)


def test_a_call_more_never_pays() -> None:
    totals = [scored(RewardConfig(), "red", True, calls, 1.0).total for calls in range(8)]
    assert totals == sorted(totals, reverse=True)


def test_fewer_calls_may_be_made_to_pay_for_right_answers_alone() -> None:
    gated = RewardConfig(parsimony_needs_right=True)
    for calls in range(6):
        assert scored(gated, "red", True, calls, 1.0) == scored(RewardConfig(), "red", True, calls, 1.0)
        assert scored(gated, "blue", True, calls, 1.0).total == pytest.approx(0.15)
        assert scored(gated, None, False, calls, 1.0).total == 0.0


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_looking_where_the_answer_lies_pays_right_or_wrong(share: float) -> None:
    for answer in ("red", "blue", None):
        plain = scored(RewardConfig(), answer, True, 2, share)
        rewards = scored(RewardConfig(delta=0.3), answer, True, 2, share)
        assert plain.total == scored(RewardConfig(), answer, True, 2, 1.0).total, "the paper has no such part"
        assert rewards.total == pytest.approx(plain.total + 0.3 * share)


def generous(
    config: RewardConfig,
    task: Task,
    answer: str | None,
    accuracy: float,
    format_ok: bool,
    calls: float,
    evidence: float,
) -> Rewards:
    return Rewards(1.0, 1.0, 1.0, total=2.0)


def test_a_config_names_the_reward_or_takes_the_papers() -> None:
    assert reward_of(RewardConfig()) is score
    assert (
        reward_of(RewardConfig(function=f"{__name__}:generous"))(RewardConfig(), TASK, None, 0.0, False, 9, 1.0).total
        == 2.0
    )
    with pytest.raises(ConfigError, match=r"episode\.reward\.function: 'nowhere:f' cannot be imported"):
        reward_of(RewardConfig(function="nowhere:f"))
