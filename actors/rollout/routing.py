"""Which engine plays which group: by the work that each has, and where a task's frames already are.

Pure. Invariant: a group is on one engine, and none is given to an engine that has a group more than the emptiest.
"""

from cachetools import LRUCache

KNOWN_TASKS = 4096
"""Tasks whose last engine is remembered; an engine has long forgotten the frames of older ones."""


class Routing:
    """The open groups of each of so many engines, in episodes."""

    def __init__(self, engines: int) -> None:
        self.open = [0] * engines
        """Episodes that each engine plays or is about to play."""
        self._last: LRUCache[str, int] = LRUCache(KNOWN_TASKS)

    def has_room(self, episodes: int, most: int) -> bool:
        """Whether an engine may be given so many episodes without having over `most`; one that has none always may."""
        return min(self.open) == 0 or min(self.open) + episodes <= most

    def assign(self, number: int, task_id: str, episodes: int) -> int:
        """The engine of a group of so many episodes: the one that played its task last, unless that has a group more
        than the emptiest, which it is then; among equals they take turns by the group's number, so that several
        who assign without knowing of each other do not all choose the first."""
        count = len(self.open)
        emptiest = min(((number + i) % count for i in range(count)), key=self.open.__getitem__)
        engine = self._last.get(task_id, emptiest)
        if self.open[engine] >= self.open[emptiest] + episodes:
            engine = emptiest
        self._last[task_id] = engine
        self.open[engine] += episodes
        return engine

    def finish(self, engine: int, episodes: int) -> None:
        """Note that a group is no longer on its engine."""
        self.open[engine] -= episodes
