import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from env.trajectory import Rewards, ToolCallRecord, Trajectory
from env.transcript import Transcript
from evals.score import bootstrap_interval, gains, score

CALL = ToolCallRecord("crop_video", {}, True, 0.1, 3)
FAILED = dataclasses.replace(CALL, ok=False, frames=0, error="no")


def episode(
    task_id: str = "a",
    accuracy: float = 1.0,
    answer: str | None = "x",
    calls: Sequence[ToolCallRecord] = (),
    dimension: str = "OA",
    tokens: int = 3,
) -> Trajectory:
    transcript = Transcript([0] * (tokens + 5), [False] * 5 + [True] * tokens, [0.0] * (tokens + 5), [0] * (tokens + 5))
    rewards = Rewards(accuracy, 1.0, 1.0, accuracy)
    stop = "answer" if answer else "no_answer"
    return Trajectory(
        task_id, transcript, rewards, answer, stop, tuple(calls), (), (), seconds=2.0, expected="x", dimension=dimension
    )


def test_an_episode_without_an_answer_counts_as_wrong_and_stays_in_the_denominator() -> None:
    scores = score([episode("a"), episode("b", accuracy=1.0, answer=None)])
    assert scores.accuracy.mean == 0.5
    assert scores.accuracy.tasks == 2
    assert scores.parse_rate == 0.5


def test_partial_credit_is_kept() -> None:
    assert score([episode("a", 0.5), episode("b", 1.0)]).accuracy.mean == 0.75


def test_a_task_played_often_weighs_as_much_as_one_played_once() -> None:
    scores = score([episode("a", 1.0), episode("b", 0.0), episode("b", 0.0), episode("b", 0.0)])
    assert scores.accuracy.mean == 0.5
    assert (scores.accuracy.tasks, scores.episodes) == (2, 4)


def test_dimensions_have_their_own_accuracy_and_count() -> None:
    scores = score([episode("a"), episode("b", 0.0), episode("c", dimension="GC")])
    assert list(scores.dimensions) == ["GC", "OA"]
    assert (scores.dimensions["OA"].mean, scores.dimensions["OA"].tasks) == (0.5, 2)
    assert (scores.dimensions["GC"].mean, scores.dimensions["GC"].tasks) == (1.0, 1)


def test_calls_errors_tokens_and_seconds_are_means_over_what_they_say() -> None:
    view = dataclasses.replace(CALL, name="view_visual_prompt")
    scores = score([episode("a", calls=[CALL, FAILED, view], tokens=10), episode("b", tokens=20)])
    assert scores.tool_calls == 1.5
    assert scores.tools == {"crop_video": 1.0, "view_visual_prompt": 0.5}
    assert scores.tool_error_rate == pytest.approx(1 / 3)
    assert scores.response_tokens == 15
    assert scores.seconds == 2.0


def test_without_calls_the_error_rate_is_zero() -> None:
    assert score([episode()]).tool_error_rate == 0.0


def test_no_episodes_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="no episodes"):
        score([])


def test_the_interval_is_that_of_the_mean() -> None:
    values = np.array([1.0] * 60 + [0.0] * 40)
    low, high = bootstrap_interval(values, seed=0, resamples=4000)
    half = 1.96 * np.sqrt(0.6 * 0.4 / 100)
    assert low == pytest.approx(0.6 - half, abs=0.015)
    assert high == pytest.approx(0.6 + half, abs=0.015)


@settings(max_examples=30)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_the_interval_holds_the_mean_and_depends_on_the_seed_alone(accuracies: list[float], seed: int) -> None:
    episodes = [episode(str(i), accuracy) for i, accuracy in enumerate(accuracies)]
    first, again = (score(episodes, seed, resamples=200).accuracy for _ in range(2))
    assert first == again
    assert 0 <= first.low <= first.high <= 1
    # The median of a bootstrap lies near the mean, its 95 % interval around it, but for the discreteness of few values.
    assert first.low - 1 / len(accuracies) <= first.mean <= first.high + 1 / len(accuracies)


@settings(max_examples=20)
@given(st.permutations(range(6)))
def test_the_order_of_the_episodes_changes_no_mean(order: list[int]) -> None:
    episodes = [episode(str(i // 2), float(i % 2), calls=[CALL] * i) for i in range(6)]
    shuffled, straight = score([episodes[i] for i in order], resamples=10), score(episodes, resamples=10)
    assert shuffled.accuracy.mean == straight.accuracy.mean
    assert shuffled.tool_calls == straight.tool_calls


def test_gains_are_of_the_questions_that_both_played() -> None:
    before = [episode("a", 0.0), episode("a", 1.0), episode("b"), episode("c", 1.0)]
    after = [episode("c", 1.0, answer=None), episode("d"), episode("a", 1.0)]
    assert gains(before, after).tolist() == [0.5, -1.0]
