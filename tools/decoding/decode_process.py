"""The decode process as its parent sees it: one for each calling process, killable, shared by all threads.

Invariants: a request that is not answered by its deadline ends with the process killed, and the next request starts a
fresh one; so an answer always belongs to the request that reads it. A process that dies once, as one does that the
system kills for its memory or before its parent, says nothing against a file.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from storage.files import JsonObject
from tools.decoding.frame import DeadlineError, DecoderError, Region, Stamp, VideoError
from tools.decoding.waiting import acquire

START_TIMEOUT_S = 60.0
"""Deadline for the process to come up, seconds; on a quiet machine it takes a quarter of one."""
STARTS = 2
"""Attempts at that."""

KILLS = 2
"""Times in a row that a file may take the process down, by crash or by deadline, before it is set aside."""
QUARANTINE_S = 600.0
"""How long it is then refused, seconds; a machine that was only too busy gets another chance."""


class Request(TypedDict):
    """One request, as a JSON message. `index` and `prove` need no more than the file; `frames` needs all the rest."""

    do: Literal["index", "prove", "frames"]
    """Give its times and sizes, compare decord with PyAV on it, or give frames of it."""
    path: str
    """Absolute path of the file."""
    stamp: Stamp
    """The file as the caller knows it; a file that has changed is refused."""
    timeout_s: NotRequired[float]
    """Set when it is sent: the process ends itself soon after."""
    indices: NotRequired[list[int]]
    """Frames, by rising index."""
    keyframes: NotRequired[bool]
    """Give the last keyframe at or before each instead."""
    reader: NotRequired[str]
    """`pyav` or `decord`."""
    region: NotRequired[Region | None]
    """Cut this out of each frame."""
    width: NotRequired[int]
    """Then scale it to this width, pixels."""
    height: NotRequired[int]


Ask = Callable[[Request, float], tuple[JsonObject, bytes]]


class DecodeProcess:
    """Starts on the first request. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._connection: Connection | None = None
        self._kills: dict[tuple[str, ...], tuple[int, float]] = {}

    @contextmanager
    def turn(self, timeout_s: float) -> Iterator[Ask]:
        """Wait for the process to be free, at most `timeout_s`, and hold it: `ask(request, timeout_s)` -> (head, body).

        Raises:
            BusyError: it was not free in time. `ask` raises VideoError: the file is bad, or the deadline was missed;
                DecoderError: there is no process.
        """
        acquire(self._lock, "decode process", timeout_s)
        try:
            yield self._ask
        finally:
            self._lock.release()

    @property
    def pid(self) -> int | None:
        """Of the running process; None before the first request and after a kill."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """End the process; a later request starts a new one."""
        with self._lock:
            self._stop()

    def _ask(self, request: Request, timeout_s: float) -> tuple[JsonObject, bytes]:
        deadline = time.monotonic() + timeout_s
        fresh = self._is_gone()
        answer = self._answered(request, timeout_s)
        if answer is None or (answer[0].get("starved") and not fresh):
            # What it read before may have taken the memory, or something else have killed it: a fresh process has all
            # of it, and a file at which that dies too is at fault. If it was the fast path, there is another.
            self._stop()
            again: Request = request if answer else {**request, "reader": "pyav"}
            answer = self._answered(again, deadline - time.monotonic())
        if answer is None:
            raise VideoError(f"{request['path']}: the decode process died while reading it")
        head, body = answer
        if "error" in head:
            raise VideoError(f"{request['path']}: {head['error']}")
        return head, body

    def _answered(self, request: Request, timeout_s: float) -> tuple[JsonObject, bytes] | None:
        """The answer; None where the process died."""
        where = request["path"]
        file = where, *map(str, request.get("stamp", ()))
        kills, since = self._kills.get(file, (0, 0.0))
        if kills >= KILLS and time.monotonic() - since < QUARANTINE_S:
            raise VideoError(f"{where}: was set aside, for it took the decode process down {kills} times in a row")
        if self._is_gone():
            self._stop()
            self._start()
        connection = self._connection
        assert connection is not None
        try:
            with self._deadline(timeout_s) as missed:
                connection.send_bytes(json.dumps({**request, "timeout_s": timeout_s}).encode())
                head = json.loads(connection.recv_bytes())
                body = connection.recv_bytes()
        except (EOFError, OSError):
            self._stop()
            self._kills[file] = kills + 1, time.monotonic()
            if missed.is_set():
                raise DeadlineError(
                    f"{where}: decoding took longer than {round(timeout_s, 1):g} s and was stopped"
                ) from None
            return None
        except BaseException:
            # An interrupt between question and answer would leave the answer to the next request.
            self._stop()
            raise
        self._kills.pop(file, None)
        if missed.is_set():
            self._stop()
        return head, body

    def _is_gone(self) -> bool:
        return self._process is None or self._process.poll() is not None

    @contextmanager
    def _deadline(self, timeout_s: float) -> Iterator[threading.Event]:
        """Kill the process after `timeout_s`, which ends any wait for it; the event tells whether that was done."""
        missed = threading.Event()
        process = self._process
        assert process is not None

        def kill() -> None:
            missed.set()
            process.kill()

        timer = threading.Timer(timeout_s, kill)
        timer.daemon = True
        timer.start()
        try:
            yield missed
        finally:
            timer.cancel()
            timer.join()

    def _start(self) -> None:
        for left in reversed(range(STARTS)):
            connection = self._connection = Connection(self._spawned())
            try:
                with self._deadline(START_TIMEOUT_S):
                    connection.recv_bytes()
                return
            except (EOFError, OSError):
                self._stop()
                if not left:
                    late = f"the decode process did not start, or not within {START_TIMEOUT_S:g} s"
                    raise DecoderError(late) from None
            except BaseException:
                self._stop()
                raise

    def _spawned(self) -> int:
        """Start the process; our end of its connection."""
        root = str(Path(__file__).resolve().parents[2])
        # A subprocess, not multiprocessing: that would import the caller's main module, and refuses in daemons.
        ours, theirs = socket.socketpair()
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "tools.decoding.decoder", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=environment,
                )
            except OSError as error:
                ours.close()
                raise DecoderError(f"the decode process cannot be started ({error.strerror})") from None
        return ours.detach()

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None
