"""What was used lately, for all threads of a process: the G rollouts of a task decode a stretch once."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K")
V = TypeVar("V")


class ThreadSafeCache(Generic[K, V]):
    """Keeps values until they are more than `most`, counted or in the unit of `size_of`; the least recently used go
    first."""

    def __init__(self, most: float, size_of: Callable[[V], float] | None = None) -> None:
        self._values: LRUCache[K, V] = LRUCache(most, size_of)
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value, which counts as used now; None if it is not here."""
        with self._lock:
            return self._values.get(key)

    def keep(self, key: K, value: V) -> V:
        """The value that is kept for the key, this one if there was none. One that is over `most` alone is not kept."""
        with self._lock, suppress(ValueError):
            return self._values.setdefault(key, value)
        return value
