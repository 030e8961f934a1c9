"""Locks between the processes of a machine.

Invariant: a lock ends with the process that holds it, however that ends, and waiting for one has a deadline.
"""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POLL_S = 0.1
"""Seconds between two tries."""


@contextmanager
def lock(path: str | Path, timeout_s: float, poll_s: float = POLL_S) -> Iterator[None]:
    """Hold the lock file for the block; it is made where it is missing, and stays. Raises TimeoutError where another
    process holds it for longer than `timeout_s`."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout_s
    with open(path, "a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path}: is held by another process for over {timeout_s:g} s") from None
                time.sleep(poll_s)
        yield
