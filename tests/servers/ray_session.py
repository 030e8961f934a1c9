"""One Ray for all tests of a process that start actors, as each start takes seconds of both cores."""

import atexit
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from storage.locks import lock

CPUS = 6
"""What is offered: the most that one test takes, whatever this machine has."""
_LOCK = Path(tempfile.gettempdir()) / f"videoseeker-ray-start-{os.getuid()}.lock"
_TURN_S = 300.0


def shared_ray() -> None:
    """Start the Ray of this process, or go on with the one that another test has left; it ends with the process."""
    if not ray.is_initialized():
        _start(num_cpus=CPUS)


@contextmanager
def own_ray(**settings: object) -> Iterator[None]:
    """Have a Ray with other settings for a while, instead of the shared one."""
    ray.shutdown()
    _start(**settings)
    try:
        yield
    finally:
        ray.shutdown()


def _start(**settings: object) -> None:
    """Start a Ray; one at a time on this machine, and once more if the first try fails, as it may on a busy one."""
    atexit.register(ray.shutdown)
    with lock(_LOCK, _TURN_S):
        for last in (False, True):
            try:
                ray.init(include_dashboard=False, log_to_driver=False, **settings)
                return
            except Exception:  # bare, from Ray, where a node does not come up in time
                ray.shutdown()
                if last:
                    raise
