"""One Ray for all tests of a process that start actors, as each start takes seconds of both cores."""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from actors.ray_start import LOCK, TURN_S, attempt
from storage.locks import lock

CPUS = 6
"""What is offered: the most that one test takes, whatever this machine has."""


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
    """Start a Ray as the program does: one at a time on this machine, and once more where it did not come up."""
    atexit.register(ray.shutdown)
    with lock(LOCK, TURN_S):
        # "local", or a node that `ray start` left on this machine would be joined.
        attempt(lambda: ray.init(address="local", include_dashboard=False, log_to_driver=False, **settings))
