"""The one way of this program to a running Ray.

Invariant: a user's processes on a machine start their Rays one after the other, for Ray gives a node that starts half a
minute, which several at once on few cores do not keep; nothing of Ray's own log reaches the screen.
"""

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import ray

from configs import Config
from storage.locks import lock

_log = logging.getLogger(__name__)
LOCK = Path(tempfile.gettempdir()) / f"videoseeker-ray-start-{os.getuid()}.lock"
TURN_S = 300.0
"""Most that a process waits for others of the user to have started theirs, seconds."""
ATTEMPTS = 2


class RayStartError(RuntimeError):
    """Ray cannot be started or joined, said in one sentence."""


def start_ray(config: Config) -> None:
    """Join the cluster this process belongs to, or start one here.

    A laptop's cores are offered several times over: engine, learner and runners take turns on them.

    Raises:
        RayStartError: it did not come up in two attempts, or other processes took too long with theirs.
    """
    if ray.is_initialized():
        return
    _quieten(config)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    init = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    try:
        if os.environ.get("RAY_ADDRESS"):
            return attempt(init)
        ranks = config.ranks.ranks * config.ranks.cpus_per_rank
        cpus = max(os.cpu_count() or 1, ranks + config.grpo.env_runners + 1)
        with lock(LOCK, TURN_S):
            # "local", or a node that `ray start` left on this machine would be joined, with cores of its own.
            attempt(partial(init, address="local", num_cpus=cpus, include_dashboard=False))
    except TimeoutError as error:
        raise RayStartError(f"Ray: another process is still starting its own ({error})") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray takes it for itself, and aborts


def stop_ray() -> None:
    """End what `start_ray` started, or leave what it joined; the process keeps its way of being asked to end."""
    on_sigterm = signal.getsignal(signal.SIGTERM)
    ray.shutdown()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray gives it back to the system, which ends a process unasked


def cores() -> int:
    """CPU cores of the running Ray, for work that keeps them busy; of one that was started here, which offers some
    several times over, those of the machine."""
    offered = int(ray.cluster_resources().get("CPU", 1))
    return max(1, offered if os.environ.get("RAY_ADDRESS") else min(offered, os.cpu_count() or 1))


def _quieten(config: Config) -> None:
    for name in ("ray.data", "ray.rllib", "ray.tune", "ray.serve", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.ERROR)
    if config.ranks.gpus_per_rank == 0:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # DeepSpeed warns where it has to find that out
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Ray has no switch for what its raylet reports to drivers, which is in its log files and in its errors as well.
    ray._private.worker.print_to_stdstream = lambda data, **_: _log.debug("%s", data["lines"])


def attempt(init: Callable[[], object]) -> None:
    """Start or join a Ray with `init`, and once more where it did not come up.

    Raises:
        RayStartError: it did not come up in two attempts.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _no_stderr():
                init()
            return
        except Exception as error:  # Ray raises a bare Exception where a node does not come up in time
            with suppress(Exception):
                ray.shutdown()
            if attempt == ATTEMPTS:
                where = os.environ.get("RAY_ADDRESS")
                what = f"joined at RAY_ADDRESS={where}" if where else "started"
                reason = " ".join(str(error).split()) or type(error).__name__
                raise RayStartError(f"Ray could not be {what}: {reason}") from error


@contextmanager
def _no_stderr() -> Iterator[None]:
    """In the block the process's stderr leads nowhere: Ray's C++ announces there which log level it was given, and the
    processes that it starts inherit it."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
