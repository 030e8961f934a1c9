"""Advantages and length penalties against their formulas, written out reward by reward."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from env.trajectory import Rewards, Trajectory
from env.transcript import Transcript
from learner.objective.advantages import Advantage, group_advantages, length_penalty

KINDS: tuple[Advantage, ...] = ("standardized", "centred", "leave_one_out")


def by_formula(rewards: list[float], kind: Advantage, eps: float) -> list[float]:
    exact = [Fraction(reward) for reward in rewards]
    if len(set(exact)) == 1:
        return [0.0] * len(exact)
    mean = sum(exact) / len(exact)
    if kind == "leave_one_out":
        return [float(r - sum(exact[:i] + exact[i + 1 :]) / (len(exact) - 1)) for i, r in enumerate(exact)]
    std = 1.0
    if kind == "standardized":
        std = float(sum((r - mean) ** 2 for r in exact) / len(exact)) ** 0.5 + eps
    return [float(r - mean) / std for r in exact]


@settings(max_examples=60)
@given(
    rewards=st.lists(st.sampled_from([0.0, 0.05, 0.15, 0.5, 0.95, 1.0]) | st.floats(-2, 2), min_size=1, max_size=9),
    kind=st.sampled_from(KINDS),
    eps=st.sampled_from([1e-6, 0.01]),
)
def test_advantages_are_those_of_the_formula(rewards: list[float], kind: Advantage, eps: float) -> None:
    found = group_advantages(torch.tensor([rewards], dtype=torch.float64), eps, kind)[0]
    np.testing.assert_allclose(found, by_formula(rewards, kind, eps), rtol=1e-6, atol=1e-9)


def test_each_group_has_its_own_baseline_and_the_type_stays() -> None:
    rewards = torch.from_numpy(np.random.default_rng(0).random((5, 8)))
    for kind in KINDS:
        whole = group_advantages(rewards, kind=kind)
        assert torch.equal(whole, torch.cat([group_advantages(row[None], kind=kind) for row in rewards]))
    assert group_advantages(rewards.float()).dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 0.95, 1 / 3])
def test_a_group_of_equal_rewards_teaches_nothing(value: float, kind: Advantage) -> None:
    assert torch.equal(group_advantages(torch.full((2, 7), value), kind=kind), torch.zeros(2, 7))
    assert torch.equal(group_advantages(torch.full((3, 1), value), kind=kind), torch.zeros(3, 1))


@pytest.mark.parametrize("kind", KINDS)
def test_advantages_of_no_group(kind: Advantage) -> None:
    assert group_advantages(torch.zeros(0, 8), kind=kind).shape == (0, 8)


def episode(shown: int, sampled: int, stop: str = "answer") -> Trajectory:
    transcript = Transcript([1] * (shown + sampled), [False] * shown + [True] * sampled)
    return Trajectory("t", transcript, Rewards(1, 1, 1, 1), "red", stop, (), (), (), 1.0)


@settings(max_examples=60)
@given(shown=st.integers(0, 60), sampled=st.integers(0, 60), buffer=st.integers(1, 50), limit=st.integers(60, 120))
def test_the_penalty_is_that_of_dapo(shown: Any, sampled: Any, buffer: Any, limit: Any) -> None:
    l_max = limit - shown
    if sampled <= l_max - buffer:
        expected = Fraction(0)
    elif sampled <= l_max:
        expected = Fraction((l_max - buffer) - sampled, buffer)
    else:
        expected = Fraction(-1)
    assert length_penalty(episode(shown, sampled), limit, buffer) == pytest.approx(float(expected), rel=1e-12)


def test_an_episode_that_was_cut_off_pays_in_full_and_without_a_buffer_nothing_does() -> None:
    early = episode(10, 5, "length")
    assert length_penalty(early, 1000, 100) == -1.0
    assert length_penalty(replace(early, stop="answer"), 1000, 100) == 0.0
    assert length_penalty(early, 1000, 0) == length_penalty(episode(900, 200), 1000, 0) == 0.0
