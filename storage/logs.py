"""Append-only logs of lines, which many processes write and read at once.

Invariant: a line that was appended is whole before `append` returns, and a reader is given whole lines alone: what a
kill, a full disk or a power cut has torn is ended by the next writer, and is the reader's to recognise as no JSON. One
log has one machine's writers, as only within one no append overwrites another: a folder of logs has a file a machine.
"""

import errno
import json
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

from storage.files import JsonObject


class AppendLog:
    """A log that this process appends to. Thread-safe."""

    def __init__(self, path: str | Path) -> None:
        """Join the log that is there, or start one; raises OSError where the folder cannot be written to."""
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")

    def append(self, line: bytes) -> None:
        """Add a line, given without its end. It is not flushed to disk, which would cost a thousand times the rest.
        Raises OSError where the disk is full; then the line is torn."""
        whole = line + b"\n"
        if os.write(self._file, whole) != len(whole):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def close(self) -> None:
        """Append no more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()


class LogReader:
    """The whole lines of a folder's logs, each once. For one thread at a time."""

    def __init__(self, folder: str | Path, ending: str) -> None:
        """Reads the files of `folder` whose names end so."""
        self._folder, self._ending = os.fspath(folder), ending
        self._read: dict[str, int] = {}

    def news(self) -> Iterator[tuple[str, int, bytes]]:
        """File, place of the line's first byte, and line, of those added since the last call."""
        for entry in os.scandir(self._folder) if os.path.exists(self._folder) else ():
            at = self._read.get(entry.path, 0)
            if not entry.name.endswith(self._ending) or entry.stat().st_size <= at:
                continue
            with open(entry.path, "rb") as log:
                log.seek(at)
                for line in log:
                    if not line.endswith(b"\n"):
                        break
                    yield entry.path, at, line[:-1]
                    at += len(line)
                    self._read[entry.path] = at


def machine_log(folder: str | Path, ending: str) -> Path:
    """Where this machine's log in a folder lies."""
    name = re.sub(r"[^\w.-]", "-", platform.node()) or "machine"
    return Path(folder) / f"{name}{ending}"


def whole_rows(path: str | Path) -> Iterator[JsonObject]:
    """The JSON objects of a log, in order; torn lines, and a log that is not there, hold none."""
    if not Path(path).exists():
        return
    with open(path, "rb") as log:
        for line in log:
            if (row := json_object(line)) is not None and line.endswith(b"\n"):
                yield row


def json_object(line: bytes) -> JsonObject | None:
    """A line's JSON object; None where it is torn, or no object."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None
