"""Orders to runners and engines that are simulated by a clock: who plays what, and what is lost when one dies."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from actors.errors import RolloutError
from actors.rollout.dispatch import Dispatcher
from actors.rollout.groups import MAX_ATTEMPTS, MAX_BUSY, FailedEpisode, GroupOrder, PlayedGroup
from actors.rollout.players import play_all
from env.task import Task
from env.trajectory import Rewards, Trajectory
from env.transcript import Transcript
from tools.marks.visual_prompt import VisualPrompt

TASKS = [Task(f"t{i}", "v.mp4", "?", "red", "OA", (VisualPrompt("m.png", 1.0, "point"),)) for i in range(7)]
SEEDS = tuple(range(8))
Fails = Callable[[GroupOrder, int], FailedEpisode | None]


class Fleet:
    """Runners and engines: an engine plays a group in the time that it takes."""

    def __init__(self, runners: int, engines: int, fails: Fails = lambda order, seed: None) -> None:
        self.handles = [f"engine {i}" for i in range(engines)]
        self.played: Counter[int] = Counter()
        """Episodes by engine."""
        self.orders: list[GroupOrder] = []
        """Every order that ended, as it was given."""
        self.idle = 0
        """Ticks in which an engine had nothing while a group waited."""
        self.most_open = 0
        self.published: list[object] = []
        self.dispatcher: Dispatcher | None = None
        self.dead: set[int] = set()
        """Runners that are seen to be dead."""
        self.reborn: set[int] = set()
        """Runners that lose all they have before the next call, and are seen as healthy all the while."""
        self._fails = fails
        self._rng, self._clock = np.random.default_rng(runners * 100 + engines), 0
        self._ends: dict[int, dict[int, tuple[int, GroupOrder]]] = {i: {} for i in range(1, runners + 1)}
        self._asked: set[int] = set()

    def revive(self, version: int) -> list[object]:
        return [f"engine of version {version}"]

    def healthy_env_runner_ids(self) -> list[int]:
        return [runner for runner in self._ends if runner not in self.dead]

    def num_remote_env_runners(self) -> int:
        return len(self._ends)

    def probe_unhealthy_env_runners(self) -> None:
        pass

    def foreach_env_runner_async(self, sample: Any, *, tag: str, remote_worker_ids: list[int]) -> int:
        [runner] = remote_worker_ids
        if runner in self.dead:
            return 0
        if runner in self.reborn:
            self.reborn.discard(runner)
            self._ends[runner] = {}
        for order in sample.keywords["orders"]:
            if order.id not in self._ends[runner]:
                self._ends[runner][order.id] = self._clock + int(self._rng.integers(1, 9)), order
        self._asked.add(runner)
        return 1

    def fetch_ready_async_reqs(self, *, tags: str, timeout_seconds: float) -> list[tuple[int, list[PlayedGroup]]]:
        self._clock += 1
        assert self.dispatcher is not None
        held = [order for orders in self._ends.values() for _, order in orders.values()]
        self.most_open = max(self.most_open, sum(len(order.seeds) for order in held))
        self.idle += self.dispatcher.waiting > 0 and len({order.engine for order in held}) < len(self.handles)
        ready = []
        for runner in sorted(self._asked - self.dead):
            keys = [key for key, (end, _) in self._ends[runner].items() if end <= self._clock]
            ended = [self._ends[runner].pop(key)[1] for key in keys]
            for order in ended:
                self.played[order.engine or 0] += len(order.seeds)
                self.orders.append(order)
            ready.append((runner, [self._group(order) for order in ended]))
        self._asked.clear()
        return ready

    def _group(self, order: GroupOrder) -> PlayedGroup:
        failures = tuple(filter(None, (self._fails(order, seed) for seed in order.seeds)))
        lost = {failure.seed for failure in failures}
        played = tuple(episode(seed) for seed in order.seeds if seed not in lost)
        return PlayedGroup(order, played, failures)


def episode(seed: int) -> Trajectory:
    transcript = Transcript([1], [True], [-0.5], [99])
    return Trajectory("t", transcript, Rewards(1, 1, 1, 1), "red", "answer", (), (), (), float(seed))


def fleet(
    runners: int, engines: int, places: int, ahead: int = 0, fails: Fails = lambda order, seed: None
) -> tuple[Dispatcher, Fleet]:
    simulated: Any = Fleet(runners, engines, fails)
    simulated.dispatcher = Dispatcher(simulated, simulated, simulated.published.extend, places, ahead)
    return simulated.dispatcher, simulated


def orders(count: int, seeds: tuple[int, ...] = SEEDS) -> list[GroupOrder]:
    return [GroupOrder(i, TASKS[i % len(TASKS)], seeds) for i in range(count)]


def numbers(groups: list[PlayedGroup]) -> list[int]:
    return sorted(group.order.id for group in groups)


@pytest.mark.parametrize(
    ("runners", "engines", "groups"),
    [
        (1, 4, 32),
        (4, 4, 32),
        (8, 4, 32),
        (16, 4, 32),
        (32, 4, 32),
        (16, 8, 32),
        (32, 32, 256),
        (4, 32, 32),
        (1, 32, 64),
    ],
)
def test_engines_share_the_load_and_none_idles_while_groups_wait(runners: int, engines: int, groups: int) -> None:
    dispatcher, simulated = fleet(runners, engines, places=64 * runners, ahead=8)
    for _ in range(4):
        assert numbers(list(play_all(dispatcher, orders(groups), 0, 20.0))) == list(range(groups))
    shares = [simulated.played[i] for i in range(engines)]
    assert sum(shares) == 4 * 8 * groups
    assert simulated.idle == 0
    assert min(shares) >= 0.4 * max(shares), "some groups take eight times as long as others"
    assert dispatcher._routing.open == [0] * engines


def test_no_more_are_given_out_than_there_are_places() -> None:
    dispatcher, simulated = fleet(2, 2, places=6)
    played = play_all(dispatcher, orders(40, seeds=(0,)), 0, 20.0)
    assert numbers(list(played)) == list(range(40))
    assert simulated.most_open == 6


def test_what_a_runner_lost_in_a_life_that_ended_unseen_is_played_again() -> None:
    dispatcher, simulated = fleet(3, 2, places=96)
    dispatcher.submit(orders(12))
    dispatcher.hand_out(0)
    simulated.reborn = {1, 2, 3}
    assert numbers(dispatcher.settle(20.0)) == list(range(12))
    assert dispatcher._routing.open == [0, 0]
    assert dispatcher.playing == 0


def test_a_runner_that_is_gone_gives_back_what_it_held_and_its_engines_are_free() -> None:
    dispatcher, simulated = fleet(2, 2, places=96)
    given = play_all(dispatcher, orders(12), 0, 20.0)
    first = next(given)
    held = set(dispatcher._held[1])
    assert held
    simulated.dead = {1}
    assert numbers([first, *given]) == list(range(12))
    assert {order.id for order in simulated.orders} >= held
    assert dispatcher._routing.open == [0, 0]


def test_an_episode_that_fails_is_played_again_alone_by_engines_that_were_brought_up_to_date() -> None:
    failures: Counter[tuple[int, int]] = Counter()

    def fails(order: GroupOrder, seed: int) -> FailedEpisode | None:
        failures[order.id, seed] += 1
        return FailedEpisode("t", "the engine died", seed) if (order.id, failures[order.id, seed]) == (1, 1) else None

    dispatcher, simulated = fleet(2, 2, places=96, fails=fails)
    groups = list(play_all(dispatcher, orders(3), 7, 20.0))
    assert all(group.failures == () for group in groups)
    assert all([episode.seconds for episode in group.trajectories] == list(map(float, SEEDS)) for group in groups)
    assert {order.min_version for order in simulated.orders} == {7}
    assert simulated.published == ["engine of version 7"]
    assert dispatcher.revived == 1


@pytest.mark.parametrize(("busy", "times"), [(False, MAX_ATTEMPTS), (True, MAX_BUSY)])
def test_what_keeps_failing_is_given_up_with_its_cause_and_holds_no_other_back(busy: bool, times: int) -> None:
    def fails(order: GroupOrder, seed: int) -> FailedEpisode | None:
        return FailedEpisode("t", "broken", seed, busy) if (order.id, seed) == (1, 3) else None

    dispatcher, simulated = fleet(2, 2, places=96, fails=fails)
    groups = {group.order.id: group for group in play_all(dispatcher, orders(3), 0, 20.0)}
    assert [failure.error for failure in groups[1].failures] == ["broken"]
    assert [episode.seconds for episode in groups[1].trajectories] == [0, 1, 2, 4, 5, 6, 7]
    assert [order.seeds for order in simulated.orders if order.id == 1] == [SEEDS, *[(3,)] * (times - 1)]
    assert [len(groups[number].trajectories) for number in (0, 2)] == [8, 8]


def test_a_runner_that_plays_nothing_ends_the_wait_with_a_sentence() -> None:
    dispatcher, simulated = fleet(1, 1, places=8)
    simulated.dead = {1}
    with pytest.raises(RolloutError, match=r"no episode ended within grpo\.rollout_timeout_s = 0\.01 s"):
        list(play_all(dispatcher, orders(1), 0, 0.01))


def test_orders_that_wait_are_kept_while_others_use_the_runners_and_late_answers_are_nobodys() -> None:
    dispatcher, simulated = fleet(2, 2, places=16)
    dispatcher.submit(orders(12))
    dispatcher.hand_out(0)
    first = dispatcher.settle(20.0)
    assert (dispatcher.playing, len(first) + dispatcher.waiting) == (0, 12)
    other = Dispatcher(simulated, simulated, simulated.published.extend, 16)  # type: ignore[arg-type]
    simulated.dispatcher = other
    late = replace(orders(1)[0], id=5, task=TASKS[0], seeds=(77,))
    simulated._ends[1][99] = 0, late
    asked = orders(12, seeds=(0,))
    assert numbers(list(play_all(other, asked, 0, 20.0))) == list(range(12))
    assert late in simulated.orders
    simulated.dispatcher = dispatcher
    rest: list[PlayedGroup] = []
    while len(first) + len(rest) < 12:
        dispatcher.hand_out(0)
        rest += dispatcher.collect(0)
    assert numbers(first + rest) == list(range(12))


def test_orders_are_taken_as_they_are_needed() -> None:
    dispatcher, _ = fleet(2, 2, places=6)
    taken: list[int] = []

    def endless() -> Iterator[GroupOrder]:
        for order in orders(1000, seeds=(0,)):
            taken.append(order.id)
            yield order

    played = play_all(dispatcher, endless(), 0, 20.0)
    for _ in range(10):
        next(played)
    assert len(taken) <= 10 + 6 + 6
