"""Time of one's own, and time spent waiting for machinery that others keep busy: a decoder, a segmenter.

Invariant: a wait counts against no `Deadline`. It counts against the one allowance of the call that waits, which is
that of `waits`; outside of any, a wait has no bound but its own.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tools.decoding.frame import BusyError


class Waits:
    """What a call has waited, and how long it may."""

    def __init__(self, most_s: float) -> None:
        """Allow `most_s` seconds in all."""
        self.most_s = most_s
        self.waited_s = 0.0


_current: ContextVar[Waits | None] = ContextVar("waits", default=None)


@contextmanager
def waits(most_s: float = math.inf) -> Iterator[Waits]:
    """For the block, and threads that `asyncio.to_thread` starts in it: waits of at most `most_s` seconds together.
    What is waited in it is waited by the block around it as well."""
    outer, inner = _present(), Waits(most_s)
    token = _current.set(inner)
    try:
        yield inner
    finally:
        _current.reset(token)
        outer.waited_s += inner.waited_s


@contextmanager
def waiting(timeout_s: float) -> Iterator[float]:
    """Count the block as a wait; gives how long it may take, seconds: `timeout_s`, or less if the call has no more."""
    present, began = _present(), time.monotonic()
    try:
        yield max(0.0, min(timeout_s, present.most_s - present.waited_s))
    finally:
        present.waited_s += time.monotonic() - began


def acquire(lock: threading.Lock, what: str, timeout_s: float) -> None:
    """Take the lock of what one call at a time may use. Raises BusyError: others held it all the time there was."""
    with waiting(timeout_s) as at_most_s:
        free = lock.acquire(timeout=at_most_s)
    if not free:
        waited_s = min(timeout_s, _present().waited_s)
        raise BusyError(f"the {what} was busy for {round(waited_s, 1):g} s")


class Deadline:
    """The end of some time of one's own, made by who is about to use it."""

    def __init__(self, timeout_s: float) -> None:
        self._waits = _present()
        self._end = time.monotonic() + timeout_s - self._waits.waited_s

    @property
    def left_s(self) -> float:
        """Seconds until then, waits left out; below 0 once it is past."""
        return self._end + self._waits.waited_s - time.monotonic()


def _present() -> Waits:
    found = _current.get()
    if found is None:
        found = Waits(math.inf)
        _current.set(found)
    return found
