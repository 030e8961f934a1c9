"""How evenly engines are busy while groups wait, for 1 to 32 env runners and 1 to 32 engines.

    python -m benchmarks.routing [--quick]

Rollouts, ledger and group players are the product's; an engine is a sleep, of lengths spread as those of the demo's
episodes are (a log-normal whose longest hundredth takes four times the median), at a hundredth of their time. The limit
is an even share: `engine_busy` is the least busy engine's time over that of the most busy, the worst of all pairs.
"""

import argparse
import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from actors.rollout.groups import FailedEpisode, GroupOrder, GroupPlayer, PlayedGroup
from benchmarks.measure import finish, table
from configs import Config
from configs.training import GrpoConfig
from env.task import Task
from env.trajectory import Rewards, Trajectory
from env.transcript import Transcript
from learner.ledger import GroupLedger
from learner.rollouts import Rollouts
from tools.marks.visual_prompt import VisualPrompt

COUNTS = (1, 2, 4, 8, 16, 32)
MEDIAN_S = 0.06
SPREAD = 0.6
"""Of the logarithm of an episode's length."""
STEPS = 6


class SimulatedEngine:
    """Counts the seconds in which it plays anything."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._playing, self._since = 0, 0.0
        self._busy_s = 0.0

    def begin(self) -> None:
        """An episode begins."""
        with self._lock:
            if not self._playing:
                self._since = time.perf_counter()
            self._playing += 1

    def end(self) -> None:
        """An episode ends."""
        with self._lock:
            self._playing -= 1
            if not self._playing:
                self._busy_s += time.perf_counter() - self._since

    def busy_s(self) -> float:
        """The seconds until now."""
        with self._lock:
            return self._busy_s + (time.perf_counter() - self._since if self._playing else 0.0)


class SleepingPlayer(GroupPlayer):
    """Plays an episode by waiting for as long as one takes."""

    async def _play_episode(self, order: GroupOrder, seed: int | None, seat: Any) -> Trajectory | FailedEpisode:
        length = np.random.default_rng((order.id, seed or 0)).lognormal(np.log(MEDIAN_S), SPREAD)
        seat.engine.begin()
        await asyncio.sleep(length)
        seat.engine.end()
        done = Transcript([1], [True], [-0.5], [10**6])
        return Trajectory(order.task.id, done, Rewards(1, 1, 1, 1), "red", "answer", (), (), (), length)


class Fleet:
    """Env runners in threads, as RLlib's group shows them, and the engines."""

    def __init__(self, runners: int, engines: int) -> None:
        self.handles = [SimulatedEngine() for _ in range(engines)]
        without: Any = None  # neither chat format nor sampling is asked for
        self._players = {i: SleepingPlayer(Config(), without, without, 64) for i in range(1, runners + 1)}
        self._pool = ThreadPoolExecutor(runners)
        self._calls: dict[int, Future[list[PlayedGroup]]] = {}

    def healthy_env_runner_ids(self) -> list[int]:
        """All of them."""
        return list(self._players)

    def num_remote_env_runners(self) -> int:
        """How many there are."""
        return len(self._players)

    def revive(self, version: int) -> list[object]:
        """None has died."""
        return []

    def foreach_env_runner_async(self, sample: partial[Any], *, tag: str, remote_worker_ids: list[int]) -> int:
        """Ask a runner as `VideoEnvRunner.sample` is asked."""
        [runner] = remote_worker_ids
        asked, player = SimpleNamespace(**sample.keywords), self._players[runner]

        def call() -> list[PlayedGroup]:
            player.submit(asked.orders, asked.engines)
            return player.collect(asked.at_least, asked.timeout_s)

        self._calls[runner] = self._pool.submit(call)
        return 1

    def fetch_ready_async_reqs(self, *, tags: str, timeout_seconds: float) -> Iterator[tuple[int, list[PlayedGroup]]]:
        """What has been answered, after waiting for one."""
        wait(self._calls.values(), timeout_seconds, return_when="FIRST_COMPLETED")
        for runner in [runner for runner, call in self._calls.items() if call.done()]:
            yield runner, self._calls.pop(runner).result()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()
        for player in self._players.values():
            player.close()


def engine_busy(runners: int, engines: int) -> float:
    """The least busy engine over the most busy one, with eight groups an engine, and 32 at least, to a step."""
    mark = (VisualPrompt("mark.png", 1.0, "point"),)
    tasks = [Task(f"t{i}", "v.mp4", "?", "red", "OA", mark) for i in range(300)]
    fleet: Any = Fleet(runners, engines)
    config = GrpoConfig(prompts_per_step=max(32, 8 * engines), max_staleness=1, env_runners=runners)
    ledger = GroupLedger(tasks, seed=0, group_size=config.group_size)
    rollouts = Rollouts(config, ledger, fleet, fleet, lambda engines: None, lambda group: True)
    for step in range(STEPS):
        rollouts.gather(step)
    busy = [engine.busy_s() for engine in fleet.handles]
    rollouts.dispatcher.abandon(config.rollout_timeout_s)
    fleet.close()
    return min(busy) / max(busy)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1, 4 and 32 of each")
    counts = (1, 4, 32) if parser.parse_args().quick else COUNTS
    shares = {(runners, engines): engine_busy(runners, engines) for runners in counts for engines in counts}
    rows = [[runners, *(f"{shares[runners, engines]:.2f}" for engines in counts)] for runners in counts]
    table("engine_busy, by runners (rows) and engines (columns)", ["runners", *map(str, counts)], rows)
    figures = {f"{runners}x{engines}": round(share, 3) for (runners, engines), share in shares.items()}
    finish("routing", {"engine_busy": round(min(shares.values()), 3)}, figures)


if __name__ == "__main__":
    main()
