"""The answers of models, kept on disk, so that a run that is started again pays for none twice.

Invariant: an answer that was put is a whole line of a log before it is handed out, and each process sees the lines of
all; see `storage.logs`. A torn line is as good as none.
"""

import json
import sys
import threading
from pathlib import Path

from storage.files import JsonObject
from storage.logs import AppendLog, LogReader, json_object, machine_log

LOG = ".log"
KEY_BYTES = 32
"""Of a SHA-256; a line is the key in hexadecimal digits, a space, and the answer's JSON."""


class Answers:
    """The answers in a folder, by key. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Join the log that is there, or start one. Raises OSError: the folder cannot be written to."""
        self._log = AppendLog(machine_log(folder, LOG))
        self._reader = LogReader(folder, LOG)
        self._lock = threading.Lock()
        self._places: dict[bytes, tuple[str, int]] = {}
        """Of each key's line: its file, and from which byte on."""

    def get(self, key: str) -> JsonObject | None:
        """The answer kept under a key (64 hexadecimal digits), or None. Raises OSError: the folder cannot be read."""
        wanted = bytes.fromhex(key)
        with self._lock:
            if wanted not in self._places:
                for path, at, line in self._reader.news():
                    if (found := _key(line)) is not None:
                        self._places[found] = sys.intern(path), at
            place = self._places.get(wanted)
        if place is None:
            return None
        path, at = place
        with open(path, "rb") as log:
            log.seek(at + 2 * KEY_BYTES)
            return json_object(log.readline())

    def put(self, key: str, answer: JsonObject) -> None:
        """Keep an answer. What a power cut takes is asked again. Raises OSError: the folder cannot be written to."""
        self._log.append(f"{key} {json.dumps(answer)}".encode())


def _key(line: bytes) -> bytes | None:
    """The key of a line; None where even that is torn."""
    digits, space = line[: 2 * KEY_BYTES], line[2 * KEY_BYTES : 2 * KEY_BYTES + 1]
    try:
        return bytes.fromhex(digits.decode()) if space == b" " else None
    except ValueError:
        return None
