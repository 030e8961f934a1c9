"""Groups from the env runners, asynchronously, within the staleness bound.

Invariants:
- Nothing waits for ever. A runner that dies gives its orders back, and one that came back unseen is told all that it
  holds with each call; an engine that dies is revived and brought to the present weights; a step whose groups do not
  come in `grpo.rollout_timeout_s` fails with a sentence.
- No engine idles while a group waits: groups wait here, and go to the engine with the least work as it has room.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import ray
from ray.rllib.env.env_runner_group import EnvRunnerGroup

from actors.engine.handle import EngineHandle
from actors.engine.supervision import Engines
from actors.rollout.groups import GroupOrder, PlayedGroup
from actors.rollout.routing import Routing
from actors.rollout.runner import VideoEnvRunner
from configs.training import GrpoConfig
from learner.ledger import GroupLedger
from learner.selection import is_stale

POLL_S = 1.0
"""Longest that one `sample` call of an env runner waits for a group."""


class RolloutError(RuntimeError):
    """The rollouts of a step did not come; the message says why in one sentence."""


class Rollouts:
    """Keeps the env runners supplied with orders and collects what they play."""

    def __init__(
        self,
        config: GrpoConfig,
        ledger: GroupLedger,
        runners: EnvRunnerGroup,
        engines: Engines,
        publish_to: Callable[[list[EngineHandle]], None],
        teaches: Callable[[PlayedGroup], bool],
    ) -> None:
        """`publish_to` brings engines to the present weights; `teaches` says which groups dynamic sampling counts."""
        self._config, self.ledger, self._runners, self._engines = config, ledger, runners, engines
        self._publish_to = publish_to
        self._teaches = teaches if config.dynamic_sampling else lambda _: True
        self._routing = Routing(max(1, len(engines.handles)))
        self._waiting: deque[GroupOrder] = deque()
        """Orders that no engine has room for yet."""
        self._held: dict[int, dict[int, GroupOrder]] = {}
        """Orders by the runner that plays them, and by their number."""
        self._calling: set[int] = set()
        self.revived = 0
        """Engines that were restarted and brought to the present weights."""
        self.stale = 0
        """Groups that waited until they were of no use, and were played again."""

    def gather(self, version: int) -> list[PlayedGroup]:
        """Return `prompts_per_step` whole groups; `max_staleness` times as many more are left playing.

        With dynamic sampling as many that teach, and with them those that do not, each of which was replaced by
        another; at most `max_prompt_batches` times as many in all. Nothing leaves the ledger before the step is full,
        so a step that fails loses nothing. Raises RolloutError where they did not come in time, or too many fail.
        """
        wanted = self._config.prompts_per_step
        most = wanted * (self._config.max_prompt_batches if self._config.dynamic_sampling else 1)
        ahead = wanted * self._config.max_staleness
        deadline = time.monotonic() + self._config.rollout_timeout_s
        skipped = len(self.ledger.skipped)
        counts: dict[int, bool] = {}
        old = partial(is_stale, version=version, max_staleness=self._config.max_staleness)
        while True:
            for number in self.ledger.sweep(old):
                counts.pop(number, None)
                self.stale += 1
            if enough := self._enough(wanted, most, counts):
                break
            if time.monotonic() > deadline:
                ready = min(wanted, sum(counts.values()))
                raise RolloutError(
                    f"rollouts: {ready} of {wanted} groups after grpo.rollout_timeout_s = "
                    f"{self._config.rollout_timeout_s:g} s"
                )
            self._supply(min(most, wanted + list(counts.values()).count(False)) + ahead, version)
            self._collect(version)
            if len(self.ledger.skipped) - skipped > wanted:
                task_id, error = self.ledger.skipped[-1]
                raise RolloutError(f"rollouts: more groups fail than can be played; the last was {task_id} ({error})")
        # In the order of their numbers, not of their arrival: the sums of an update depend on it.
        groups = sorted(self.ledger.take(enough), key=lambda group: group.order.id)
        self._supply(ahead, version)
        return groups

    def _enough(self, wanted: int, most: int, counts: dict[int, bool]) -> int:
        """How many of the waiting groups fill a step, else 0. `counts` says by order which of those seen teach."""
        useful = 0
        for number, group in enumerate(self.ledger.waiting, 1):
            if group.order.id not in counts:
                counts[group.order.id] = self._teaches(group)
            useful += counts[group.order.id]
            if useful == wanted or number == most:
                return number
        return 0

    def abandon(self, timeout_s: float) -> None:
        """Wait for what the runners play, and drop it: the run goes back to where these orders were not given yet. A
        runner that still plays after `timeout_s` is killed; Ray starts another in its place."""
        deadline = time.monotonic() + timeout_s
        self._waiting.clear()
        while self._calling or any(self._held.values()):
            self._drop_dead_runners()
            for runner in self._runners.healthy_env_runner_ids():
                if runner not in self._calling and self._held.get(runner):
                    self._call(runner)
            for runner, groups in self._runners.fetch_ready_async_reqs(tags="sample", timeout_seconds=POLL_S):
                self._calling.discard(runner)
                for group in groups:
                    self._release(runner, group.order.id)
            if time.monotonic() > deadline:
                for runner in self._calling | set(self._held):
                    ray.kill(self._runners._worker_manager.actors()[runner], no_restart=False)
                    self._give_back(runner)

    def _supply(self, goal: int, version: int) -> None:
        """Open orders until there are `goal` groups, hand out those that an engine has room for, and listen to all
        runners."""
        self._drop_dead_runners()
        free = [runner for runner in self._runners.healthy_env_runner_ids() if runner not in self._calling]
        oldest = max(0, version - self._config.max_staleness)
        self._waiting += self.ledger.issue(max(0, goal - self.ledger.open), oldest)
        # As many episodes an engine as all runners play at once, and one group more, which follows without a pause.
        places = self._runners.num_remote_env_runners() * self._config.episodes_in_flight
        most = -(-places // len(self._routing.open)) + self._config.group_size
        while free and self._waiting and self._routing.has_room(len(self._waiting[0].seeds), most):
            order = self._waiting.popleft()
            engine = self._routing.assign(order.id, order.task.id, len(order.seeds))
            runner = min(free, key=lambda runner: len(self._held.setdefault(runner, {})))
            self._release(runner, order.id)
            self._held[runner][order.id] = replace(order, engine=engine, min_version=oldest)
        for runner in free:
            if self._held.get(runner):
                self._call(runner)

    def _call(self, runner: int) -> None:
        orders = list(self._held[runner].values())
        engines = self._engines.handles
        sample = partial(VideoEnvRunner.sample, orders=orders, engines=engines, at_least=1, timeout_s=POLL_S)
        sent = self._runners.foreach_env_runner_async(sample, tag="sample", remote_worker_ids=[runner])
        if sent:
            self._calling.add(runner)
        else:
            self._give_back(runner)

    def _release(self, runner: int, number: int) -> None:
        order = self._held.get(runner, {}).pop(number, None)
        if order is not None and order.engine is not None:
            self._routing.finish(order.engine, len(order.seeds))

    def _collect(self, version: int) -> None:
        failed = False
        for runner, groups in self._runners.fetch_ready_async_reqs(tags="sample", timeout_seconds=POLL_S):
            self._calling.discard(runner)
            for group in groups:
                self._release(runner, group.order.id)
                self.ledger.accept(group)
                failed = failed or bool(group.failures)
        if failed:
            behind = self._engines.revive(version)
            if behind:
                self.revived += len(behind)
                self._publish_to(behind)

    def _drop_dead_runners(self) -> None:
        """Before a runner that came back is used again, what it held as it died is taken from it."""
        healthy = set(self._runners.healthy_env_runner_ids())
        for runner in [runner for runner in self._held if runner not in healthy]:
            self._give_back(runner)
        if len(healthy) < self._runners.num_remote_env_runners():
            self._runners.probe_unhealthy_env_runners()

    def _give_back(self, runner: int) -> None:
        self._calling.discard(runner)
        lost = list(self._held.get(runner, {}))
        for number in lost:
            self._release(runner, number)
        self._held.pop(runner, None)
        self.ledger.lose(lost)
