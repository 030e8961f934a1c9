"""Memory of a whole run: this process and all that it started."""

import threading
import time
from contextlib import suppress
from types import TracebackType

import psutil

PERIOD_S = 5.0
"""Seconds between two looks."""
REST = 20
"""Times that a look takes that it then waits at least: the kernel walks the pages of every process for one."""


class PeakMemory:
    """A context manager that watches the sum over this process and its descendants.

    Each process counts with its proportional set size: a page that n processes share counts for 1/n in each, so that
    the sum is what the machine really gives. Where the kernel does not tell it, the resident set counts instead.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def peak_gib(self) -> float:
        """The highest sum seen, GiB."""
        return self.peak_bytes / 2**30

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._stop.is_set():
            started = time.monotonic()
            total = sum(_bytes(process) for process in [me, *me.children(recursive=True)])
            self.peak_bytes = max(self.peak_bytes, total)
            self._stop.wait(max(PERIOD_S, REST * (time.monotonic() - started)))


def _bytes(process: psutil.Process) -> int:
    with suppress(psutil.Error, AttributeError):
        return int(process.memory_full_info().pss)
    with suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0
