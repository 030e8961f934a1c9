"""Which groups are to be played, are being played, and wait to be trained on.

Invariants:
- Everything about an order follows from its number: the task (position in the shuffled epochs) and the seeds. The
  numbers that were issued and not yet trained are therefore all that a checkpoint needs besides finished trajectories.
- An issued order ends in exactly one way: taken, or skipped with its error kept. A dropped or failed one never keeps
  its place among the open ones.
- What was played is kept: an episode that failed is played again alone, and one that is given up (`Attempts`) costs its
  group that member, as long as two are left.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np

from actors.rollout.groups import Attempts, GroupOrder, PlayedGroup
from env.task import Task
from env.trajectory import Trajectory
from learner.selection import staleness
from storage.files import JsonObject

LEAST_MEMBERS = 2
"""Episodes of a group without which it teaches nothing."""


class ReadyGroup(TypedDict):
    """A whole group that waits to be trained on."""

    number: int
    trajectories: list[JsonObject]


class PartOfGroup(TypedDict):
    """The episodes of a group that were played while others of it failed, by their seeds."""

    number: int
    seeds: list[int]
    trajectories: list[JsonObject]


class LedgerState(TypedDict):
    """What a checkpoint holds of a ledger, in plain types."""

    next: int
    unplayed: list[int]
    attempts: dict[int, int]
    busy: dict[int, int]
    ready: list[ReadyGroup]
    parts: list[PartOfGroup]
    retried: int
    given_up: int
    skipped: list[list[str]]


class GroupLedger:
    """The stream of groups of one training run."""

    def __init__(self, tasks: Sequence[Task], seed: int, group_size: int) -> None:
        """`tasks` in their file's order; `seed` shuffles them anew each epoch."""
        self._tasks, self._seed, self._group_size = tasks, seed, group_size
        self._next = 0
        self._again: deque[int] = deque()
        self._playing: set[int] = set()
        self._ready: deque[PlayedGroup] = deque()
        self._attempts = Attempts()
        self._parts: dict[int, dict[int, Trajectory]] = {}
        """Of groups that lack a member: what was played, by its seed."""
        self.retried = 0
        """Groups sent back for the members that failed."""
        self.given_up = 0
        """Members that groups are trained on without."""
        self.skipped: list[tuple[str, str]] = []
        """Task id and error of every group that was given up."""

    @property
    def open(self) -> int:
        """Groups to be played, being played or ready."""
        return len(self._playing) + len(self._ready)

    @property
    def ready(self) -> int:
        """Whole groups that can be taken."""
        return len(self._ready)

    @property
    def waiting(self) -> tuple[PlayedGroup, ...]:
        """The whole groups that can be taken, in the order in which `take` gives them."""
        return tuple(self._ready)

    @property
    def epochs(self) -> float:
        """Passes over the tasks, counting what was issued."""
        return self._next / len(self._tasks)

    def issue(self, count: int, min_version: int) -> list[GroupOrder]:
        """Give out the next orders, those to be played again first."""
        orders = []
        for _ in range(count):
            if self._again:
                number = self._again.popleft()
            else:
                number, self._next = self._next, self._next + 1
            self._playing.add(number)
            order = self._order(number, min_version)
            # What was played by a policy that is too old by now is played again with the rest.
            kept = {s: t for s, t in self._parts.pop(number, {}).items() if staleness(t, min_version) <= 0}
            if kept:
                self._parts[number] = kept
            missing = tuple(seed for seed in order.seeds if seed not in kept)
            orders.append(dataclasses.replace(order, seeds=missing))
        return orders

    def accept(self, group: PlayedGroup) -> None:
        """File a played group: whole ones become ready; of others what was played is kept, and the rest goes back or is
        given up."""
        number, order = group.order.id, self._order(group.order.id, group.order.min_version)
        if number not in self._playing:
            return
        self._playing.discard(number)
        members = self._parts.pop(number, {}) | group.members
        whole = len(members) == len(order.seeds)
        if not whole and self._attempts.another(group):
            self.retried += 1
            self._parts[number] = members
            self._again.append(number)
            return
        self._attempts.forget(number)
        if whole or len(members) >= LEAST_MEMBERS:
            self.given_up += len(order.seeds) - len(members)
            trajectories = tuple(members[seed] for seed in order.seeds if seed in members)
            self._ready.append(PlayedGroup(order, trajectories))
        else:
            error = group.failures[0].error if group.failures else "was not played"
            self.skipped.append((order.task.id, error))

    def sweep(self, is_stale: Callable[[PlayedGroup], bool]) -> list[int]:
        """Have the groups that wait and are of no use any more played again; their numbers."""
        stale = [group.order.id for group in self._ready if is_stale(group)]
        self._ready = deque(group for group in self._ready if group.order.id not in stale)
        self._again.extend(stale)
        return stale

    def take(self, count: int) -> list[PlayedGroup]:
        """Take the groups that have been ready longest."""
        return [self._ready.popleft() for _ in range(min(count, len(self._ready)))]

    def state(self) -> LedgerState:
        """Return what `restore` needs."""
        return {
            "next": self._next,
            "unplayed": sorted({*self._again, *self._playing}),
            "attempts": dict(self._attempts.failed),
            "busy": dict(self._attempts.busy),
            "ready": [
                {"number": group.order.id, "trajectories": [t.to_dict() for t in group.trajectories]}
                for group in self._ready
            ],
            "parts": [
                {"number": number, "seeds": list(part), "trajectories": [t.to_dict() for t in part.values()]}
                for number, part in self._parts.items()
            ],
            "retried": self.retried,
            "given_up": self.given_up,
            "skipped": [list(entry) for entry in self.skipped],
        }

    def restore(self, state: LedgerState) -> None:
        """Go back to a `state`; what was being played is played again, with the same seeds."""
        self._next = state["next"]
        self._again = deque(state["unplayed"])
        self._playing = set()
        failed, busy = state["attempts"], state.get("busy", {})
        self._attempts = Attempts({int(n): c for n, c in failed.items()}, {int(n): c for n, c in busy.items()})
        self._ready = deque(
            PlayedGroup(
                self._order(entry["number"], 0), tuple(Trajectory.from_dict(row) for row in entry["trajectories"])
            )
            for entry in state["ready"]
        )
        self._parts = {
            part["number"]: dict(zip(part["seeds"], map(Trajectory.from_dict, part["trajectories"]), strict=True))
            for part in state.get("parts", [])
        }
        self.retried, self.given_up = state["retried"], state.get("given_up", 0)
        self.skipped = [(task_id, error) for task_id, error in state["skipped"]]

    def _order(self, number: int, min_version: int) -> GroupOrder:
        epoch, position = divmod(number, len(self._tasks))
        shuffled = np.random.default_rng((self._seed, epoch)).permutation(len(self._tasks))
        seeds = np.random.SeedSequence((self._seed, number)).generate_state(self._group_size)
        task = self._tasks[shuffled[position]]
        return GroupOrder(number, task, tuple(int(seed >> 1) for seed in seeds), min_version)
