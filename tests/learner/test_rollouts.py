"""Gathering the groups of a step from env runners that play at once: how many, and what dynamic sampling adds."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.errors import RolloutError
from actors.rollout.groups import GroupOrder, PlayedGroup
from configs.training import GrpoConfig
from env.task import Task
from env.trajectory import Rewards, Trajectory
from env.transcript import Transcript
from learner.ledger import GroupLedger
from learner.rollouts import Rollouts
from tools.marks.visual_prompt import VisualPrompt

TASKS = [Task(f"t{i}", "v.mp4", "?", "red", "OA", (VisualPrompt("m.png", 1.0, "point"),)) for i in range(7)]


class Runner:
    """One env runner, as RLlib's group shows it, that plays what it is given in the order it was given."""

    def __init__(self, teaches: Callable[[int], bool]) -> None:
        self._teaches, self._asked = teaches, False
        self._orders: deque[GroupOrder] = deque()
        self.most_open = 0
        self.version = 0
        """Of the policy that it plays with."""

    def healthy_env_runner_ids(self) -> list[int]:
        return [1]

    def num_remote_env_runners(self) -> int:
        return 1

    def foreach_env_runner_async(self, sample: Any, *, tag: str, remote_worker_ids: list[int]) -> int:
        known = {order.id for order in self._orders}
        self._orders += [order for order in sample.keywords["orders"] if order.id not in known]
        self._asked = True
        self.most_open = max(self.most_open, len(self._orders))
        return 1

    def fetch_ready_async_reqs(self, *, tags: str, timeout_seconds: float) -> list[tuple[int, list[PlayedGroup]]]:
        asked, self._asked = self._asked, False
        played = [self._play(self._orders.popleft())] if asked and self._orders else []
        return [(1, played)] if asked else []

    def _play(self, order: GroupOrder) -> PlayedGroup:
        rewards = (0.0, 1.0) if self._teaches(order.id) else (0.0, 0.0)
        transcript = Transcript([1], [True], [-0.5], [self.version])
        return PlayedGroup(
            order,
            tuple(Trajectory("t", transcript, Rewards(r, 1, 1, r), "red", "answer", (), (), (), 1.0) for r in rewards),
        )


class Engines:
    handles = ()

    def revive(self, version: Any) -> Any:
        return []


def is_mixed(group: PlayedGroup) -> bool:
    return len({trajectory.rewards.total for trajectory in group.trajectories}) > 1


def gatherer(
    teaches: Callable[[int], bool], ledger: GroupLedger | None = None, **settings: Any
) -> tuple[Rollouts, Runner]:
    runner = Runner(teaches)
    ledger = ledger or GroupLedger(TASKS, seed=0, group_size=2)
    config = GrpoConfig(**{"group_size": 2, "rollout_timeout_s": 20.0, **settings})
    engines: Any = Engines()
    return Rollouts(config, ledger, runner, engines, lambda engines: None, is_mixed), runner


def test_without_dynamic_sampling_a_step_is_what_was_asked_for() -> None:
    rollouts, runner = gatherer(lambda number: False, prompts_per_step=3)
    assert [group.order.id for group in rollouts.gather(0)] == [0, 1, 2]
    assert runner.most_open == 3
    assert rollouts.ledger.open == 0


@settings(max_examples=60)
@given(dull=st.sets(st.integers(0, 40)), wanted=st.integers(1, 5), batches=st.integers(1, 6), ahead=st.integers(0, 2))
def test_a_step_is_filled_with_groups_that_teach_and_every_prompt_is_taken_once(
    dull: Any, wanted: Any, batches: Any, ahead: Any
) -> None:
    rollouts, runner = gatherer(
        lambda number: number not in dull,
        prompts_per_step=wanted,
        dynamic_sampling=True,
        max_prompt_batches=batches,
        max_staleness=ahead,
    )
    taken = []
    for version in range(3):
        runner.version = version
        groups = rollouts.gather(version)
        useful = sum(map(is_mixed, groups))
        assert useful == wanted or (useful < wanted and len(groups) == wanted * batches)
        assert is_mixed(groups[-1]) or useful < wanted, "it stops at the group that fills the step"
        assert rollouts.ledger.open == wanted * ahead, "no more is played than is asked for"
        taken += [group.order.id for group in groups]
        if not ahead:
            restored = GroupLedger(TASKS, seed=0, group_size=2)
            restored.restore(rollouts.ledger.state())
            assert restored.state() == rollouts.ledger.state()
    assert sorted(taken) == list(range(len(taken)))


def test_a_run_resumed_between_steps_takes_the_groups_that_the_saved_one_took() -> None:
    dull = {0, 2, 3, 7}
    fields: dict[str, Any] = {"prompts_per_step": 2, "dynamic_sampling": True, "max_staleness": 1}
    rollouts, runner = gatherer(lambda number: number not in dull, **fields)
    rollouts.gather(0)
    ledger = GroupLedger(TASKS, seed=0, group_size=2)
    ledger.restore(rollouts.ledger.state())
    resumed, other = gatherer(lambda number: number not in dull, ledger, **fields)
    for version in (1, 2):
        runner.version = other.version = version
        expected = [group.order.id for group in rollouts.gather(version)]
        assert [group.order.id for group in resumed.gather(version)] == expected


def test_a_step_that_does_not_fill_in_time_keeps_what_was_played() -> None:
    rollouts, _ = gatherer(
        lambda number: False,
        prompts_per_step=2,
        dynamic_sampling=True,
        max_prompt_batches=10**6,
        rollout_timeout_s=0.05,
    )
    with pytest.raises(RolloutError, match=r"0 of 2 groups after grpo\.rollout_timeout_s"):
        rollouts.gather(0)
    assert rollouts.ledger.waiting


def test_stale_groups_are_swept_before_they_fill_a_step_and_played_again() -> None:
    rollouts, runner = gatherer(lambda number: True, prompts_per_step=2, max_staleness=1)
    rollouts.gather(0)
    while rollouts.ledger.ready < 2:
        rollouts._supply(2, 0)
        rollouts._collect(0)
    runner.version = 5
    groups = rollouts.gather(5)
    assert [group.order.id for group in groups] == [2, 3], "the very tasks"
    assert rollouts.stale == 2


def test_a_group_that_comes_in_stale_does_not_fill_a_step() -> None:
    rollouts, runner = gatherer(lambda number: True, prompts_per_step=2, max_staleness=1)
    fresh = runner._play

    def late(order: GroupOrder) -> PlayedGroup:
        group = fresh(order)
        version = 0 if order.id == 2 and not rollouts.stale else 99
        old = Transcript([1], [True], [-0.5], [version])
        return replace(group, trajectories=tuple(replace(t, transcript=old) for t in group.trajectories))

    runner._play = late  # type: ignore[method-assign]
    rollouts.gather(0)
    groups = rollouts.gather(5)
    assert len(groups) == 2
    assert all(t.transcript.versions == [99] for group in groups for t in group.trajectories)
    assert rollouts.stale == 1
