"""Plays groups of episodes on the engines, many at once, in the background.

Invariant: every order that was submitted comes back exactly once from `collect`, whole or with what failed; one that is
submitted again before that is the same order.
Groups start in the order of their submission as places become free, so the engines stay full from one group to the
next; a group that waits for its last episode holds no other back.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from actors.engine.handle import Engine
from actors.errors import EngineError, sentence
from actors.rollout.engine_policy import GRACE, EnginePolicy
from actors.rollout.loop import play
from actors.rollout.routing import Routing
from configs import Config
from configs.episode import EpisodeConfig
from configs.policy import SamplingConfig
from endpoint.endpoint import EndpointError
from env.chat import ChatFormat
from env.judging.judge import JudgeError
from env.judging.of_config import judge_of
from env.reward import judged
from env.task import Task
from env.trajectory import Trajectory
from tools.decoding.frame import BusyError, DecoderError

MAX_ATTEMPTS = 3
"""Times that an episode is played before it is given up."""
MAX_BUSY = 20
"""Times that it is played where it failed for being kept waiting, before it is given up."""


@dataclass(frozen=True)
class GroupOrder:
    """Play this task once with each seed."""

    id: int
    task: Task
    seeds: tuple[int, ...]
    min_version: int = 0
    """Oldest policy version that may sample it."""
    engine: int | None = None
    """Index of the engine that plays it; None leaves the choice to who plays it."""
    sampling: SamplingConfig | None = None
    """How its turns are sampled; None as in training."""
    episode: EpisodeConfig | None = None
    """The environment that it is played in; None for the run's."""


@dataclass(frozen=True)
class FailedEpisode:
    """An episode that has no trajectory."""

    task_id: str
    error: str
    """One sentence."""
    seed: int
    """That of the order which it would have played."""
    busy: bool = False
    """Whether it failed for want of a decoder or a segmenter, which others kept busy."""
    dropped: bool = False
    """Whether it is to be left out instead of being played again: its judge is not waited for and gave no verdict."""
    machinery: bool = False
    """Whether what failed is an engine, the decoder or the judge, and nothing of the task's."""


@dataclass(frozen=True)
class PlayedGroup:
    """What became of an order."""

    order: GroupOrder
    trajectories: tuple[Trajectory, ...]
    """In the order of the seeds."""
    failures: tuple[FailedEpisode, ...] = ()

    @property
    def members(self) -> dict[int, Trajectory]:
        """What was played, by its seed."""
        failed = {failure.seed for failure in self.failures}
        played = [seed for seed in self.order.seeds if seed not in failed]
        return dict(zip(played, self.trajectories, strict=True))


@dataclass
class Attempts:
    """How often groups came back with episodes that failed, by the numbers of their orders."""

    failed: dict[int, int] = field(default_factory=dict)
    """Times that they failed."""
    busy: dict[int, int] = field(default_factory=dict)
    """Times that all of them failed for being kept waiting, which counts as no attempt."""

    def another(self, group: PlayedGroup) -> bool:
        """Note that a group lacks what failed; whether that is to be played again. If not, its count is forgotten."""
        if group.failures and all(failure.dropped for failure in group.failures):
            self.forget(group.order.id)
            return False
        busy = all(failure.busy for failure in group.failures)
        counts, most = (self.busy, MAX_BUSY) if busy and group.failures else (self.failed, MAX_ATTEMPTS)
        counts[group.order.id] = counts.get(group.order.id, 0) + 1
        if counts[group.order.id] < most:
            return True
        self.forget(group.order.id)
        return False

    def forget(self, number: int) -> None:
        """Drop what is known of an order."""
        self.failed.pop(number, None)
        self.busy.pop(number, None)


@dataclass
class _Seat:
    """One engine as the player sees it."""

    engine: Engine
    sent: set[str] = field(default_factory=set)
    """Frames that the engine has been sent; the engine asks again for what it has forgotten."""


@dataclass(frozen=True)
class _Table:
    """The engines and their open groups; replaced as one, for the episodes' thread reads both."""

    seats: tuple[_Seat, ...]
    routing: Routing


class GroupPlayer:
    """Plays orders in an event loop of its own thread."""

    def __init__(self, config: Config, chat: ChatFormat, sampling: SamplingConfig, in_flight: int):
        """`sampling` is that of orders which bring none; `in_flight` is the number of episodes played at once."""
        self._config = config
        self._chat = chat
        self._sampling = sampling
        self._table = _Table((), Routing(0))
        self._orders: set[tuple[int, tuple[int, ...]]] = set()
        self._done: queue.SimpleQueue[PlayedGroup] = queue.SimpleQueue()
        self.outstanding = 0
        """Orders submitted and not yet collected."""
        self._places = asyncio.Semaphore(in_flight)
        self._judge = judge_of(config)
        self._loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._loop.run_forever, name="episodes", daemon=True)
        self.thread.start()

    def submit(self, orders: Iterable[GroupOrder], engines: Sequence[Engine]) -> None:
        """Play these after what was submitted before, on these engines; those that it plays already it goes on with."""
        if not engines:
            raise ValueError("no engine to play on")
        seats = {seat.engine: seat for seat in self._table.seats}
        if list(seats) != list(engines):
            self._table = _Table(tuple(seats.get(e) or _Seat(e) for e in engines), Routing(len(engines)))
        for order in orders:
            if (order.id, order.seeds) not in self._orders:
                self._orders.add((order.id, order.seeds))
                self.outstanding += 1
                asyncio.run_coroutine_threadsafe(self._play_group(order), self._loop)

    def collect(self, at_least: int, timeout_s: float) -> list[PlayedGroup]:
        """Wait for so many groups, or for all there are if these are fewer, and take every finished one. Past the
        deadline it returns what is finished; the rest plays on."""
        deadline = time.monotonic() + timeout_s
        played: list[PlayedGroup] = []
        while self.outstanding:
            wait_s = max(0.0, deadline - time.monotonic()) if len(played) < at_least else 0.0
            try:
                played.append(self._done.get(timeout=wait_s) if wait_s else self._done.get_nowait())
            except queue.Empty:
                break
            self.outstanding -= 1
            self._orders.discard((played[-1].order.id, played[-1].order.seeds))
        return played

    def close(self) -> None:
        """Stop; what still plays is abandoned."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.thread.join(timeout=10)

    async def _play_group(self, order: GroupOrder) -> None:
        chosen: list[tuple[_Table, int]] = []
        episodes = await asyncio.gather(*(self._play_in_turn(order, seed, chosen) for seed in order.seeds))
        if order.engine is None:
            for table, index in chosen:
                table.routing.finish(index, len(order.seeds))
        trajectories = tuple(episode for episode in episodes if isinstance(episode, Trajectory))
        failures = tuple(episode for episode in episodes if isinstance(episode, FailedEpisode))
        self._done.put(PlayedGroup(order, trajectories, failures))

    async def _play_in_turn(
        self, order: GroupOrder, seed: int, chosen: list[tuple[_Table, int]]
    ) -> Trajectory | FailedEpisode:
        """An episode, when a place is free; the first of its group chooses the engine, as late as can be. The judge is
        asked when the place is free again."""
        async with self._places:
            if not chosen:
                table, index = self._table, order.engine
                if index is None:
                    index = table.routing.assign(order.id, order.task.id, len(order.seeds))
                chosen.append((table, index))
            [(table, index)] = chosen
            played = await self._play_episode(order, seed, table.seats[index])
        if isinstance(played, FailedEpisode):
            return played
        try:
            return await judged(played, order.task, order.episode or self._config.episode, self._judge)
        except Exception as error:  # noqa: BLE001 - as of an episode that broke
            dropped = isinstance(error, JudgeError) and self._config.judge.unreachable == "drop"
            broken = isinstance(error, JudgeError | EndpointError)
            return FailedEpisode(order.task.id, sentence(error), seed, dropped=dropped, machinery=broken)

    async def _play_episode(self, order: GroupOrder, seed: int, seat: _Seat) -> Trajectory | FailedEpisode:
        policy = EnginePolicy(
            seat.engine,
            order.sampling or self._sampling,
            seed=seed,
            min_version=order.min_version,
            timeout_s=self._config.engine.request_timeout_s * GRACE,
            sent=seat.sent,
        )
        try:
            return await play(order.task, policy, self._chat, order.episode or self._config.episode)
        except Exception as error:  # noqa: BLE001 - whatever broke this episode is reported with its task
            broken = isinstance(error, EngineError | BusyError | DecoderError)
            return FailedEpisode(order.task.id, sentence(error), seed, isinstance(error, BusyError), machinery=broken)
