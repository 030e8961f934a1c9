"""The ledger of groups: every order ends once, and a restored ledger goes on where the saved one stood."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.rollout.groups import MAX_ATTEMPTS, MAX_BUSY, FailedEpisode, GroupOrder, PlayedGroup
from env.task import Task
from env.trajectory import Rewards, Trajectory
from env.transcript import Transcript
from learner.ledger import GroupLedger
from tools.marks.visual_prompt import VisualPrompt

TASKS = [Task(f"t{i}", "v.mp4", "?", "red", "OA", (VisualPrompt("m.png", 1.0, "point"),)) for i in range(5)]


def trajectory(task_id: str, stop: str = "answer") -> Trajectory:
    return Trajectory(task_id, Transcript([1], [True], [-0.5], [0]), Rewards(1, 1, 1, 1), "red", stop, (), (), (), 1.0)


def whole(order: GroupOrder) -> PlayedGroup:
    return PlayedGroup(order, tuple(trajectory(order.task.id) for _ in order.seeds))


def failed(order: GroupOrder, *members: int, busy: bool = False) -> PlayedGroup:
    """A group of which these members failed; without any, all."""
    seeds = [order.seeds[i] for i in members] or order.seeds
    failures = tuple(FailedEpisode(order.task.id, "the video is broken", seed, busy) for seed in seeds)
    return PlayedGroup(order, tuple(trajectory(order.task.id) for seed in order.seeds if seed not in seeds), failures)


def test_each_epoch_plays_every_task_once_in_another_order() -> None:
    orders = GroupLedger(TASKS, seed=1, group_size=2).issue(10, 0)
    first, second = [[order.task.id for order in epoch] for epoch in (orders[:5], orders[5:])]
    assert sorted(first) == sorted(second) == [task.id for task in TASKS]
    assert first != second


def test_the_seeds_of_a_run_are_all_different_and_repeat_with_the_run_seed() -> None:
    orders = GroupLedger(TASKS, seed=1, group_size=4).issue(10, 0)
    again = GroupLedger(TASKS, seed=1, group_size=4).issue(10, 0)
    other = GroupLedger(TASKS, seed=2, group_size=4).issue(10, 0)
    seeds = [seed for order in orders for seed in order.seeds]
    assert len(set(seeds)) == 40
    assert orders == again
    assert [order.seeds for order in other] != [order.seeds for order in orders]


def test_a_group_that_keeps_failing_is_skipped_and_its_error_told() -> None:
    ledger = GroupLedger(TASKS, seed=0, group_size=2)
    (order,) = ledger.issue(1, 0)
    for _ in range(MAX_ATTEMPTS):
        ledger.accept(failed(order))
        (order,) = ledger.issue(1, 0)
    assert ledger.skipped == [(GroupLedger(TASKS, 0, 2).issue(1, 0)[0].task.id, "the video is broken")]
    assert ledger.retried == MAX_ATTEMPTS - 1
    assert ledger.open == 1


def test_running_out_of_time_is_a_result() -> None:
    ledger = GroupLedger(TASKS, seed=0, group_size=2)
    (order,) = ledger.issue(1, 0)
    ledger.accept(PlayedGroup(order, (trajectory(order.task.id), trajectory(order.task.id, stop="timeout"))))
    assert [t.stop for t in ledger.take(1)[0].trajectories] == ["answer", "timeout"]


def test_only_the_member_that_failed_is_played_again() -> None:
    ledger = GroupLedger(TASKS, seed=0, group_size=8)
    (order,) = ledger.issue(1, 0)
    ledger.accept(failed(order, 2, 5))
    assert (ledger.ready, ledger.retried) == (0, 1)
    (rest,) = ledger.issue(1, 0)
    assert (rest.id, rest.task, rest.seeds) == (order.id, order.task, (order.seeds[2], order.seeds[5]))
    ledger.accept(failed(rest, 1))
    (last,) = ledger.issue(1, 0)
    assert last.seeds == (order.seeds[5],)
    ledger.accept(whole(last))
    [group] = ledger.take(1)
    assert group.order == order
    assert len(group.trajectories) == 8
    assert (ledger.skipped, ledger.given_up, ledger.open) == ([], 0, 0)


def test_members_keep_the_order_of_their_seeds_whenever_they_were_played() -> None:
    ledger = GroupLedger(TASKS, seed=0, group_size=4)
    (order,) = ledger.issue(1, 0)
    numbered = {seed: replace(trajectory(order.task.id), seconds=float(i)) for i, seed in enumerate(order.seeds)}

    def played(seeds: tuple[int, ...], *lost: int) -> PlayedGroup:
        part = replace(order, seeds=seeds)
        failures = tuple(FailedEpisode("t", "slow", seed) for seed in lost)
        return PlayedGroup(part, tuple(numbered[seed] for seed in seeds if seed not in lost), failures)

    ledger.accept(played(order.seeds, order.seeds[0], order.seeds[2]))
    restored = GroupLedger(TASKS, seed=0, group_size=4)
    restored.restore(json.loads(json.dumps(ledger.state())))
    for other in (ledger, restored):
        (rest,) = other.issue(1, 0)
        other.accept(played(rest.seeds))
        assert [t.seconds for t in other.take(1)[0].trajectories] == [0.0, 1.0, 2.0, 3.0]


def test_a_member_of_an_old_policy_is_played_again_with_the_one_that_failed() -> None:
    ledger = GroupLedger(TASKS, seed=0, group_size=4)
    (order,) = ledger.issue(1, 0)
    ledger.accept(failed(order, 3))
    (rest,) = ledger.issue(1, 1)
    assert rest.seeds == order.seeds, "all were sampled by version 0"


def test_a_state_of_before_there_were_parts_is_restored() -> None:
    ledger = GroupLedger(TASKS, seed=0, group_size=2)
    ledger.issue(2, 0)
    state: Any = ledger.state()
    del state["parts"], state["given_up"]
    restored = GroupLedger(TASKS, seed=0, group_size=2)
    restored.restore(state)
    assert [order.id for order in restored.issue(2, 0)] == [0, 1]


def test_a_member_that_keeps_failing_is_given_up_alone() -> None:
    ledger = GroupLedger(TASKS, seed=0, group_size=8)
    (order,) = ledger.issue(1, 0)
    ledger.accept(failed(order, 3))
    for _ in range(MAX_ATTEMPTS - 1):
        (rest,) = ledger.issue(1, 0)
        ledger.accept(failed(rest))
    [group] = ledger.take(1)
    assert len(group.trajectories) == 7
    assert (ledger.skipped, ledger.given_up, ledger.open) == ([], 1, 0)


def test_one_episode_alone_is_no_group() -> None:
    ledger = GroupLedger(TASKS, seed=0, group_size=2)
    for _ in range(MAX_ATTEMPTS):
        (order,) = ledger.issue(1, 0)
        ledger.accept(failed(order, 0) if len(order.seeds) == 2 else failed(order))
    assert ledger.skipped == [(order.task.id, "the video is broken")]
    assert ledger.open == 0


def test_a_group_that_is_kept_waiting_loses_none_of_its_attempts_and_does_not_wait_for_ever() -> None:
    ledger = GroupLedger(TASKS, seed=0, group_size=2)
    for _ in range(MAX_BUSY - 1):
        (order,) = ledger.issue(1, 0)
        ledger.accept(failed(order, busy=True))
        state = json.loads(json.dumps(ledger.state()))
        ledger = GroupLedger(TASKS, seed=0, group_size=2)
        ledger.restore(state)
    for _ in range(MAX_ATTEMPTS - 1):
        (order,) = ledger.issue(1, 0)
        ledger.accept(failed(order))
    assert ledger.skipped == []
    (order,) = ledger.issue(1, 0)
    ledger.accept(failed(order, busy=True))
    assert [task_id for task_id, _ in ledger.skipped] == [order.task.id]
    assert ledger.state()["busy"] == ledger.state()["attempts"] == {}


def test_a_group_that_comes_back_twice_counts_once() -> None:
    ledger = GroupLedger(TASKS, seed=0, group_size=2)
    (order,) = ledger.issue(1, 0)
    ledger.accept(whole(order))
    ledger.accept(whole(order))
    assert len(ledger.waiting) == 1


ACTIONS = st.lists(st.sampled_from(["issue", "whole", "failed", "take"]), max_size=60)


@settings(max_examples=100)
@given(actions=ACTIONS, cut=st.integers(0, 60))
def test_no_order_is_lost_or_trained_twice_whatever_happens_and_a_restore_changes_nothing(
    actions: list[str], cut: int
) -> None:
    ledger = GroupLedger(TASKS, 3, 2)
    playing: list[GroupOrder] = []
    taken: list[int] = []
    for step, action in enumerate(actions):
        if step == cut:
            saved = json.loads(json.dumps(ledger.state()))
            ledger = GroupLedger(TASKS, 3, 2)
            ledger.restore(saved)
            playing = []
        if action == "issue":
            playing += ledger.issue(2, 0)
        elif action == "take":
            taken += [group.order.id for group in ledger.take(1)]
        elif playing:
            order = playing.pop(0)
            ledger.accept(whole(order) if action == "whole" else failed(order))
    state = ledger.state()
    ready = [entry["number"] for entry in state["ready"]]
    known = [*taken, *ready, *state["unplayed"]]
    assert len(set(known)) == len(known)
    assert set(known) | set(range(state["next"])) == set(range(state["next"]))
    assert len(known) + len(ledger.skipped) == state["next"]


def test_ready_trajectories_survive_a_checkpoint_as_they_were() -> None:
    ledger = GroupLedger(TASKS, seed=0, group_size=2)
    for order in ledger.issue(2, 0):
        ledger.accept(whole(order))
    restored = GroupLedger(TASKS, seed=0, group_size=2)
    restored.restore(json.loads(json.dumps(ledger.state())))
    assert restored.take(2) == [replace(group, order=replace(group.order, min_version=0)) for group in ledger.take(2)]
