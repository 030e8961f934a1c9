"""Which groups are to be played, are being played, and wait to be trained on.

Invariants:
- Everything about an order follows from its number: the task (position in the shuffled epochs) and the seeds. The
  numbers that were issued and not yet trained are therefore all that a checkpoint needs besides finished trajectories.
- An issued order ends in exactly one way: taken whole, or skipped after `MAX_ATTEMPTS` with its error kept. A dropped
  or failed one never keeps its place among the open ones.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TypedDict

import numpy as np

from actors.rollout.groups import GroupOrder, PlayedGroup
from env.task import Task
from env.trajectory import Trajectory
from storage.files import JsonObject

MAX_ATTEMPTS = 3
"""Times that a group is played before its task is skipped."""


class ReadyGroup(TypedDict):
    """A whole group that waits to be trained on."""

    number: int
    trajectories: list[JsonObject]


class LedgerState(TypedDict):
    """What a checkpoint holds of a ledger, in plain types."""

    next: int
    unplayed: list[int]
    attempts: dict[int, int]
    ready: list[ReadyGroup]
    retried: int
    skipped: list[list[str]]


class GroupLedger:
    """The stream of groups of one training run."""

    def __init__(self, tasks: Sequence[Task], seed: int, group_size: int) -> None:
        """`tasks` in their file's order; `seed` shuffles them anew each epoch."""
        self._tasks, self._seed, self._group_size = tuple(tasks), seed, group_size
        self._next = 0
        self._again: deque[int] = deque()
        self._playing: set[int] = set()
        self._ready: deque[PlayedGroup] = deque()
        self._attempts: dict[int, int] = {}
        self.retried = 0
        """Groups sent back to be played again."""
        self.skipped: list[tuple[str, str]] = []
        """Task id and error of every group that was given up."""

    @property
    def open(self) -> int:
        """Groups being played or ready."""
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
            orders.append(self._order(number, min_version))
        return orders

    def accept(self, group: PlayedGroup) -> None:
        """File a played group: whole ones become ready, others go back or are given up.

        An episode that ended by its deadline counts as failed: what kept it is seldom the policy's doing.
        """
        number = group.order.id
        if number not in self._playing:
            return
        self._playing.discard(number)
        late = [f"task {t.task_id}: missed its deadline" for t in group.trajectories if t.stop == "timeout"]
        errors = [failure.error for failure in group.failures] + late
        if not errors:
            self._attempts.pop(number, None)
            self._ready.append(group)
            return
        self._attempts[number] = self._attempts.get(number, 0) + 1
        if self._attempts[number] < MAX_ATTEMPTS:
            self.retried += 1
            self._again.append(number)
        else:
            del self._attempts[number]
            self.skipped.append((group.order.task.id, errors[0]))

    def lose(self, numbers: Iterable[int]) -> None:
        """Take back orders whose runner is gone; they are played again, which counts as no attempt."""
        lost = sorted(self._playing.intersection(numbers))
        self._playing.difference_update(lost)
        self._again.extend(lost)

    def take(self, count: int) -> list[PlayedGroup]:
        """Take the groups that have been ready longest."""
        return [self._ready.popleft() for _ in range(min(count, len(self._ready)))]

    def state(self) -> LedgerState:
        """Return what `restore` needs."""
        return {
            "next": self._next,
            "unplayed": sorted({*self._again, *self._playing}),
            "attempts": dict(self._attempts),
            "ready": [
                {"number": group.order.id, "trajectories": [t.to_dict() for t in group.trajectories]}
                for group in self._ready
            ],
            "retried": self.retried,
            "skipped": [list(entry) for entry in self.skipped],
        }

    def restore(self, state: LedgerState) -> None:
        """Go back to a `state`; what was being played is played again, with the same seeds."""
        self._next = state["next"]
        self._again = deque(state["unplayed"])
        self._playing = set()
        self._attempts = {int(number): count for number, count in state["attempts"].items()}
        self._ready = deque(
            PlayedGroup(
                self._order(entry["number"], 0), tuple(Trajectory.from_dict(row) for row in entry["trajectories"])
            )
            for entry in state["ready"]
        )
        self.retried = state["retried"]
        self.skipped = [(task_id, error) for task_id, error in state["skipped"]]

    def _order(self, number: int, min_version: int) -> GroupOrder:
        epoch, position = divmod(number, len(self._tasks))
        shuffled = np.random.default_rng((self._seed, epoch)).permutation(len(self._tasks))
        seeds = np.random.SeedSequence((self._seed, number)).generate_state(self._group_size)
        task = self._tasks[shuffled[position]]
        return GroupOrder(number, task, tuple(int(seed >> 1) for seed in seeds), min_version)
