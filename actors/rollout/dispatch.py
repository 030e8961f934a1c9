"""Orders to the env runners, and what they play back to whoever gave them.

Invariants:
- An order comes back once, whole or with what failed. A runner that dies gives its orders back, to be given out again,
  and one that came back unseen is told all that it holds with each call; an engine that dies is revived and brought to
  the present weights.
- No engine idles while an order waits: orders wait here, and go to the engine with the least work as it has room.
- One dispatcher at a time uses a group of runners: another one begins once this one is settled.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import ray
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from actors.engine.handle import EngineHandle
from actors.engine.supervision import Engines
from actors.errors import RolloutError
from actors.rollout.groups import GroupOrder, PlayedGroup
from actors.rollout.routing import Routing
from actors.rollout.runner import VideoEnvRunner

POLL_S = 1.0
"""Longest that one `sample` call of an env runner waits for a group."""


class Dispatcher:
    """Keeps env runners supplied with orders and collects what they play."""

    def __init__(
        self,
        runners: EnvRunnerGroup,
        engines: Engines,
        publish_to: Callable[[list[EngineHandle]], None],
        places: int,
        ahead: int = 0,
    ) -> None:
        """`publish_to` brings engines to the present weights. The engines share `places`, the episodes that are played
        at once; each is given `ahead` more, which follow without a pause."""
        self._runners, self._engines, self._publish_to = runners, engines, publish_to
        self.places = places
        self._routing = Routing(max(1, len(engines.handles)))
        self._most = -(-places // len(self._routing.open)) + ahead
        self._waiting: deque[GroupOrder] = deque()
        """Orders that no engine has room for yet."""
        self._held: dict[int, dict[int, GroupOrder]] = {}
        """Orders by the runner that plays them, and by their number."""
        self._calling: set[int] = set()
        self.revived = 0
        """Engines that were restarted and brought to the present weights."""

    @property
    def waiting(self) -> int:
        """Orders that wait to be given out."""
        return len(self._waiting)

    @property
    def playing(self) -> int:
        """Orders that runners hold."""
        return sum(map(len, self._held.values()))

    def submit(self, orders: Iterable[GroupOrder]) -> None:
        """Take orders, each of another number, to be given out after those that wait already."""
        self._waiting += orders

    def withdraw(self) -> None:
        """Forget the orders that wait."""
        self._waiting.clear()

    def hand_out(self, oldest: int) -> None:
        """Give out the orders that an engine has room for, to be played by policy version `oldest` or a newer one, and
        listen to all runners that have some."""
        self._drop_dead_runners()
        free = self._free_runners()
        while free and self._waiting and self._routing.has_room(len(self._waiting[0].seeds), self._most):
            order = self._waiting.popleft()
            engine = self._routing.assign(order.id, order.task.id, len(order.seeds))
            runner = min(free, key=lambda runner: len(self._held.setdefault(runner, {})))
            self._held[runner][order.id] = replace(order, engine=engine, min_version=oldest)
        self._call(free)

    def collect(self, version: int) -> list[PlayedGroup]:
        """What was played, after waiting for some at most `POLL_S`. Where an episode failed, dead engines are revived,
        and get the weights of `version`."""
        played = self._fetch()
        if any(group.failures for group in played) and (behind := self._engines.revive(version)):
            self.revived += len(behind)
            self._publish_to(behind)
        return played

    def settle(self, timeout_s: float) -> list[PlayedGroup]:
        """Wait until no runner plays, and return what they played. Orders that wait go on waiting, and engines are not
        revived. Raises RolloutError where they do not end in time."""
        deadline = time.monotonic() + timeout_s
        played: list[PlayedGroup] = []
        while self._calling or self.playing:
            self._drop_dead_runners()
            self._call(self._free_runners())
            played += self._fetch()
            if time.monotonic() > deadline:
                raise RolloutError(
                    f"rollouts: what was being played did not end within grpo.rollout_timeout_s = {timeout_s:g} s"
                )
        return played

    def abandon(self, timeout_s: float) -> None:
        """Forget every order. A runner that still plays after `timeout_s` is killed, and Ray starts another."""
        try:
            self.settle(timeout_s)
        except RolloutError:
            for runner in self._calling | set(self._held):
                ray.kill(self._runners._worker_manager.actors()[runner], no_restart=False)
                self._give_back(runner)
        self.withdraw()

    def _free_runners(self) -> list[int]:
        return [runner for runner in self._runners.healthy_env_runner_ids() if runner not in self._calling]

    def _call(self, runners: list[int]) -> None:
        """Ask these runners for what they have played, and tell them all that they hold."""
        for runner in runners:
            if not self._held.get(runner):
                continue
            orders, engines = list(self._held[runner].values()), self._engines.handles
            sample = partial(VideoEnvRunner.sample, orders=orders, engines=engines, at_least=1, timeout_s=POLL_S)
            if self._runners.foreach_env_runner_async(sample, tag="sample", remote_worker_ids=[runner]):
                self._calling.add(runner)
            else:
                self._give_back(runner)

    def _fetch(self) -> list[PlayedGroup]:
        played = []
        for runner, groups in self._runners.fetch_ready_async_reqs(tags="sample", timeout_seconds=POLL_S):
            self._calling.discard(runner)
            # What its runner was thought to have lost is played again elsewhere, and comes from there.
            played += [group for group in groups if self._release(runner, group.order)]
        return played

    def _release(self, runner: int, order: GroupOrder) -> bool:
        """Note that an order is played; False if the runner does not hold it."""
        held = self._held.get(runner, {}).get(order.id)
        if held is None or (held.task.id, held.seeds) != (order.task.id, order.seeds):
            return False
        del self._held[runner][order.id]
        assert held.engine is not None
        self._routing.finish(held.engine, len(held.seeds))
        return True

    def _drop_dead_runners(self) -> None:
        """Before a runner that came back is used again, what it held as it died is taken from it."""
        healthy = set(self._runners.healthy_env_runner_ids())
        for runner in [runner for runner in self._held if runner not in healthy]:
            self._give_back(runner)
        if len(healthy) < self._runners.num_remote_env_runners():
            self._runners.probe_unhealthy_env_runners()

    def _give_back(self, runner: int) -> None:
        self._calling.discard(runner)
        lost = list(self._held.get(runner, {}).values())
        for order in lost:
            self._release(runner, order)
        self._held.pop(runner, None)
        self._waiting.extendleft(reversed(lost))
