"""The answers of models, kept on disk, so that a run that is started again pays for none twice.

Invariant: an answer is there whole or not at all, whoever is killed while writing it; a file that is torn all the same
(by a lost disk, say) is as good as none. Processes share the folder without locks, on a network file system too.
"""

import errno
import json
import os
import secrets
from pathlib import Path
from typing import Any


class Answers:
    """A folder of answers by key, one small file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = os.fspath(folder)

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer kept under a key (hexadecimal digits), or None.

        Raises:
            OSError: the folder cannot be read.
        """
        try:
            with open(self._file(key), "rb", buffering=0) as file:
                answer = json.loads(file.read())
        except (FileNotFoundError, ValueError):
            return None
        return answer if isinstance(answer, dict) else None

    def put(self, key: str, answer: dict[str, Any]) -> None:
        """Keep an answer.

        Raises:
            OSError: the folder cannot be written to.
        """
        file = self._file(key)
        data = json.dumps(answer).encode()
        partial = f"{file}.{secrets.token_hex(8)}.partial"
        try:
            _write(partial, data)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(file), exist_ok=True)
            _write(partial, data)
        # Without an fsync, which would cost a thousand times the rest: what a power cut takes is asked again.
        os.replace(partial, file)

    def _file(self, key: str) -> str:
        return f"{self._folder}/{key[:2]}/{key[2:]}.json"


def _write(path: str, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        if os.write(file, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    finally:
        os.close(file)
