"""The answers of models, kept on disk, so that a run that is started again pays for none twice.

Invariant: an answer that was put is a whole line of a log before it is handed out; a line that a kill, a full disk or a
power cut has torn is as good as none. Each process sees the lines of all. There is one log a machine, as only within
one no append overwrites another.
"""

import errno
import json
import os
import platform
import re
import threading
from pathlib import Path
from typing import Any

LOG = ".log"
KEY_BYTES = 32
"""Of a SHA-256; a line is the key in hexadecimal digits, a space, and the answer's JSON."""


class Answers:
    """The answers in a folder, by key. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Joins the log that is there, or starts one.

        Raises:
            OSError: the folder cannot be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = os.fspath(folder)
        machine = re.sub(r"[^\w.-]", "-", platform.node()) or "machine"
        self._log = os.open(folder / f"{machine}{LOG}", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._lock = threading.Lock()
        self._logs: list[str] = []
        self._read: list[int] = []
        self._places: dict[bytes, int] = {}
        """Of each key's line: which log, and from which byte on."""
        size = os.fstat(self._log).st_size
        if size and os.pread(self._log, 1, size - 1) != b"\n":
            os.write(self._log, b"\n")

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer kept under a key (64 hexadecimal digits), or None.

        Raises:
            OSError: the folder cannot be read.
        """
        wanted = bytes.fromhex(key)
        with self._lock:
            if wanted not in self._places:
                self._read_news()
            place = self._places.get(wanted)
        if place is None:
            return None
        at, log = divmod(place, 2**16)
        with open(self._logs[log], "rb") as file:
            file.seek(at)
            line = file.readline()
        return _answer(line)

    def put(self, key: str, answer: dict[str, Any]) -> None:
        """Keep an answer.

        Raises:
            OSError: the folder cannot be written to.
        """
        line = f"{key} {json.dumps(answer)}\n".encode()
        # Without an fsync, which would cost a thousand times the rest: what a power cut takes is asked again.
        if os.write(self._log, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._folder)

    def _read_news(self) -> None:
        """Note where the lines are that were added since the last call."""
        for entry in os.scandir(self._folder):
            if not entry.name.endswith(LOG):
                continue
            if entry.path not in self._logs:
                self._logs.append(entry.path)
                self._read.append(0)
            log = self._logs.index(entry.path)
            at = self._read[log]
            if os.stat(entry.path).st_size <= at:
                continue
            with open(entry.path, "rb") as file:
                file.seek(at)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    if (key := _key(line)) is not None:
                        self._places[key] = at * 2**16 + log
                    at += len(line)
            self._read[log] = at

    def __del__(self) -> None:
        if hasattr(self, "_log"):
            os.close(self._log)


def _key(line: bytes) -> bytes | None:
    """The key of a line; None where even that is torn."""
    digits, space = line[: 2 * KEY_BYTES], line[2 * KEY_BYTES : 2 * KEY_BYTES + 1]
    try:
        return bytes.fromhex(digits.decode()) if space == b" " else None
    except ValueError:
        return None


def _answer(line: bytes) -> dict[str, Any] | None:
    """The answer of a line; None where it is torn."""
    try:
        answer = json.loads(line[2 * KEY_BYTES :])
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None
