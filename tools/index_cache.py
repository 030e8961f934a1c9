"""Indexes of videos on disk, so that a video is walked through once and not once a process.

Invariant: an index is used only for the very file that it was made from (its path, size, modification time and first
bytes); one that cannot be read is as good as none.
"""

import hashlib
import os
import tempfile
import zipfile
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from tools.pyav_reader import Index

FORMAT = 1
"""Goes up when what is stored changes."""
HEAD_BYTES = 65536
"""Bytes at the start of the file that are part of its identity."""
MIN_FRAMES = 2000
"""Frames of the shortest video whose index is kept where decord was not tried on it."""
MAX_FILES = 20_000
"""Indexes kept; a tenth of them, the longest unused, goes when there are more."""


class IndexCache:
    """A folder of indexes, shared by the processes of a user."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or user_cache_path("videoseeker") / "index"

    def load(self, path: str) -> tuple[Index | None, bool | None]:
        """The index of a file, and whether decord is proven on it (None: not known); nothing if there is none."""
        try:
            file = self._file(path)
            with np.load(file) as stored:
                numbers = stored["numbers"].tolist()
                end, numerator, denominator, width, height, turns, timed, decord = numbers
                base = Fraction(numerator, denominator)
                index = Index(stored["pts"], stored["keys"], end, base, width, height, turns, bool(timed))
            os.utime(file)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
            return None, None
        return index, None if decord < 0 else bool(decord)

    def save(self, path: str, index: Index, decord: bool | None = None) -> None:
        """Keep an index, whole or not at all, unless it is made again sooner than it is read.

        A disk that is full or read-only only means that nothing is kept.
        """
        if decord is None and len(index.pts) < MIN_FRAMES:
            return
        base = index.time_base
        numbers = [index.end, base.numerator, base.denominator, index.width, index.height, index.quarter_turns]
        numbers += [int(index.timed_packets), -1 if decord is None else int(decord)]
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".partial", delete=False) as partial:
                np.savez_compressed(partial, pts=index.pts, keys=index.keys, numbers=np.array(numbers, np.int64))
            os.replace(partial.name, self._file(path))
            self._prune()

    def _file(self, path: str) -> Path:
        status = os.stat(path)
        with open(path, "rb") as video:
            head = video.read(HEAD_BYTES)
        key = f"{FORMAT}|{os.path.realpath(path)}|{status.st_size}|{status.st_mtime_ns}|".encode() + head
        return self._folder / f"{hashlib.blake2b(key, digest_size=16).hexdigest()}.npz"

    def _prune(self) -> None:
        files = list(self._folder.iterdir())
        if len(files) > MAX_FILES:
            for file in sorted(files, key=_used)[: len(files) - MAX_FILES * 9 // 10]:
                with suppress(OSError):
                    file.unlink()


def _used(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
