"""Groups from the env runners, asynchronously, within the staleness bound.

Invariant: nothing leaves the ledger before a step is full, and a step whose groups do not come in
`grpo.rollout_timeout_s` fails with a sentence. What runners and engines lose, `Dispatcher` gives out again.
"""

import time
from collections.abc import Callable
from functools import partial

from ray.rllib.env.env_runner_group import EnvRunnerGroup

from actors.engine.handle import EngineHandle
from actors.engine.supervision import Engines
from actors.errors import RolloutError
from actors.rollout.dispatch import Dispatcher
from actors.rollout.groups import PlayedGroup
from configs.training import GrpoConfig
from learner.ledger import GroupLedger
from learner.selection import is_stale


class Rollouts:
    """Keeps the env runners supplied with training's orders and collects what they play."""

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
        self._config, self.ledger = config, ledger
        places = runners.num_remote_env_runners() * config.episodes_in_flight
        # One group more an engine than is played at once, which follows without a pause.
        self.dispatcher = Dispatcher(runners, engines, publish_to, places, config.group_size)
        self._teaches = teaches if config.dynamic_sampling else lambda _: True
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

    def settle(self) -> None:
        """Wait for what the runners play, so that others may use them, and keep it. Raises RolloutError where they do
        not end in time."""
        for group in self.dispatcher.settle(self._config.rollout_timeout_s):
            self.ledger.accept(group)

    def _supply(self, goal: int, version: int) -> None:
        """Open orders until there are `goal` groups, and hand out those that an engine has room for."""
        oldest = max(0, version - self._config.max_staleness)
        self.dispatcher.submit(self.ledger.issue(max(0, goal - self.ledger.open), oldest))
        self.dispatcher.hand_out(oldest)

    def _collect(self, version: int) -> None:
        for group in self.dispatcher.collect(version):
            self.ledger.accept(group)
