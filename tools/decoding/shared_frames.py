"""Decoded frames in memory that all processes of a user on this node share, so that the rollouts of one task decode a
stretch once between them, and the learner finds what the rollouts decoded.

Invariant: a frame appears whole or not at all, and is found only by the very reference and file that it was made from.
Losing any of it costs time and nothing else.
"""

import atexit
import fcntl
import hashlib
import os
import shutil
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path

import numpy as np

from storage.files import whole_file
from storage.locks import lock
from tools.decoding.frame import FrameKey
from tools.decoding.waiting import waiting

FOLDER = Path("/dev/shm")
"""A file system in memory; where there is none, nothing is shared."""
LOCKS = 64
"""Stretches that can be decoded at once on a node."""
SWEEPS = 64
"""A process looks after the budget each time that it has put a part of it this small."""
POLL_S = 0.002
"""Pause between two looks at a lock that another process holds, seconds."""


class SharedFrames:
    """A folder of frames, least recently used out first once they are over `max_bytes`. Safe between processes. It is
    made with the first frame; the last process that used it takes the frames along."""

    def __init__(self, max_bytes: int, root: Path = FOLDER) -> None:
        """Shares no more than a quarter of what is free in `root`."""
        self._max_bytes = max_bytes
        self._root = root
        self._folder = root / f"videoseeker-{os.getuid()}"
        self._lock = threading.Lock()
        self._unswept = 0

    @cached_property
    def _budget(self) -> int:
        """Bytes that may be shared; 0 where nothing can be."""
        with suppress(OSError):
            if self._root.is_dir():
                self._folder.mkdir(mode=0o700, exist_ok=True)
                if self._folder.is_symlink() or self._folder.stat().st_uid != os.getuid():
                    return 0
                self._join()
                return min(self._max_bytes, shutil.disk_usage(self._root).free // 4)
        return 0

    def _join(self) -> None:
        """Hold a lock that tells others that the frames are in use, and remove them if nobody else does at the end."""
        users = os.open(self._folder / "users.lock", os.O_RDWR | os.O_CREAT, 0o600)
        # Who has it for himself is just removing the frames; to go on without waiting only costs those.
        with suppress(OSError):
            fcntl.flock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)
        joined = os.getpid()

        def leave() -> None:
            if os.getpid() != joined:  # a fork, which leaves its parent's frames alone
                return
            with suppress(OSError):  # others use them
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for frame in self._folder.glob("*.rgb"):
                    with suppress(OSError):
                        frame.unlink()
            os.close(users)

        atexit.register(leave)

    def get(self, key: FrameKey) -> np.ndarray | None:
        """The frame, [height, width, 3] uint8, read-only; None if it is not here."""
        if not self._budget:
            return None
        ref = key[0]
        file = self._file(key)
        try:
            pixels = np.fromfile(file, np.uint8)
            os.utime(file)
        except OSError:
            return None
        if pixels.size != ref.height * ref.width * 3:
            return None
        pixels.setflags(write=False)
        return pixels.reshape(ref.height, ref.width, 3)

    def put(self, key: FrameKey, pixels: np.ndarray) -> None:
        """Share a frame, if there is room."""
        if not self._budget:
            return
        try:
            with whole_file(self._file(key)) as partial:
                pixels.tofile(partial)
        except OSError:
            return
        with self._lock:
            self._unswept += pixels.nbytes
            due = self._unswept > self._budget // SWEEPS
            self._unswept = 0 if due else self._unswept
        if due:
            self._sweep()

    @contextmanager
    def decoding(self, path: str, timeout_s: float) -> Iterator[None]:
        """Hold the video's turn among the processes; go without it after `timeout_s`, which may decode frames twice."""
        if not self._budget:
            yield
            return
        stripe = zlib.crc32(os.path.abspath(path).encode()) % LOCKS
        with ExitStack() as held:
            with suppress(OSError), waiting(timeout_s) as at_most_s:  # a missed deadline is one
                held.enter_context(lock(self._folder / f"{stripe}.lock", at_most_s, POLL_S))
            yield

    def _file(self, key: FrameKey) -> Path:
        name = repr((os.path.abspath(key[0].path), *key)).encode()
        return self._folder / f"{hashlib.blake2b(name, digest_size=16).hexdigest()}.rgb"

    def _sweep(self) -> None:
        """Remove the longest unused until the budget holds, and what dead processes left half-written."""
        found = []
        with suppress(OSError):
            for entry in os.scandir(self._folder):
                with suppress(OSError):
                    status = entry.stat()
                    if not entry.name.endswith(".lock"):
                        found.append((status.st_mtime, status.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._budget * 7 // 8:
                return
            with suppress(OSError):
                os.unlink(path)
                total -= size
