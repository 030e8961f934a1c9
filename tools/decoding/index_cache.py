"""Indexes of videos on disk, so that a video is walked through once and not once a process.

Invariant: an index is used only for the very file that it was made from (its path, size, modification time and first
bytes) and by the versions of the readers that made it; one that cannot be read is as good as none.
"""

import hashlib
import os
from contextlib import suppress
from fractions import Fraction
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import av
import numpy as np
from platformdirs import user_cache_path

from storage.files import whole_file
from tools.decoding.index import Index, Orientation

FORMAT = 2
"""Goes up when what is stored, or the pixels that are made of a frame, change."""
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

    def entry(self, path: str) -> Path | None:
        """Where the index of the file, as it is now, is kept; to be asked for before the file is opened. None if there
        is no such file."""
        try:
            status = os.stat(path)
            with open(path, "rb") as video:
                head = video.read(HEAD_BYTES)
        except OSError:
            return None
        made_by = f"{FORMAT}|{av.__version__}|{_decord_version()}"
        file = f"{os.path.realpath(path)}|{status.st_size}|{status.st_mtime_ns}|"
        key = f"{made_by}|{file}".encode() + head
        return self._folder / f"{hashlib.blake2b(key, digest_size=16).hexdigest()}.npz"

    def load(self, entry: Path | None) -> tuple[Index | None, bool | None]:
        """The index, and whether decord is proven on the file (None: not known); nothing if there is none."""
        if entry is None:
            return None, None
        try:
            with np.load(entry) as stored:
                end, numerator, denominator, width, height, decord, *bits = stored["numbers"].tolist()
                timed, estimated, *sides = map(bool, bits)
                pts, keys, key_dts = (stored[name] for name in ("pts", "keys", "key_dts"))
                size = width, height, Orientation(*sides)
                index = Index(pts, keys, end, Fraction(numerator, denominator), *size, timed, estimated, key_dts)
        except Exception:  # noqa: BLE001 - whatever a torn file makes numpy and zipfile raise, it is made again
            return None, None
        with suppress(OSError):
            os.utime(entry)
        return index, None if decord < 0 else bool(decord)

    def save(self, entry: Path | None, path: str, index: Index, decord: bool | None = None) -> None:
        """Keep an index, whole or not at all, unless it is made again sooner than it is read, or the file is no longer
        what it was when `entry` was asked for. A disk that is full or read-only only means that nothing is kept."""
        if entry is None or (decord is None and len(index.pts) < MIN_FRAMES) or self.entry(path) != entry:
            return
        base = index.time_base
        numbers = [index.end, base.numerator, base.denominator, index.width, index.height]
        numbers += [-1 if decord is None else int(decord), index.timed_packets, index.estimated, *index.orientation]
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            with whole_file(entry) as partial, open(partial, "wb") as file:
                whole = np.array(numbers, np.int64)
                np.savez_compressed(file, numbers=whole, pts=index.pts, keys=index.keys, key_dts=index.key_dts)
            self._prune()

    def _prune(self) -> None:
        files = list(self._folder.iterdir())
        if len(files) > MAX_FILES:
            for file in sorted(files, key=lambda file: file.stat().st_mtime)[: len(files) - MAX_FILES * 9 // 10]:
                file.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _decord_version() -> str:
    try:
        return version("decord")
    except PackageNotFoundError:
        return "none"
