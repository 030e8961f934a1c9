"""A video that is a folder of pictures, as DAVIS, MeViS, YouTube-VOS, VideoRefer and Inst-It hold theirs.

Its frames are its pictures in the order of the numbers in their names, at a rate that its path states:
`clips/0a1b#fps=6` has six a second, `clips/0a1b` has `FPS`.

Invariant: no picture lies outside of the folder, whatever links say.
"""

import os
import re
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from cachetools import TTLCache

from tools.decoding.frame import Stamp, VideoError
from tools.decoding.image import image_size, load_image, resize
from tools.decoding.index import Index, Orientation

FPS = Fraction(1)
"""Frames a second where the path states none."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
NEITHER = "is not a file, nor a folder of frames"
STAMP_S = 2.0
"""Longest that a change of a picture in place goes unseen, seconds; pictures that come or go are seen at once."""
_RATE = re.compile(r"(?P<folder>.+)#fps=(?P<rate>[0-9]{1,6}(?:\.[0-9]{1,6})?)")

_stamps: TTLCache[tuple[str, int], Stamp] = TTLCache(512, STAMP_S)
_lock = threading.Lock()


def split_rate(path: str) -> tuple[str, Fraction]:
    """The file or folder that a video's path names, and the rate that it states for a folder."""
    stated = _RATE.fullmatch(path)
    if stated is None or not float(stated["rate"]):
        return path, FPS
    return stated["folder"], Fraction(stated["rate"])


def is_frame_folder(path: str) -> bool:
    """Whether a path is that of a folder which holds pictures."""
    folder, _ = split_rate(path)
    return os.path.isdir(folder) and any(map(_is_picture, os.listdir(folder)))


def pictures(folder: str) -> list[os.DirEntry[str]]:
    """The pictures of a folder, in the order of the numbers in their names. Raises VideoError: there is none, or one is
    a link out of it."""
    found = [entry for entry in os.scandir(folder) if _is_picture(entry.name) and entry.is_file()]
    real = Path(os.path.realpath(folder))
    for entry in found:
        if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(real):
            raise VideoError(f"has a picture that is a link out of it, {entry.name}")
    if not found:
        raise VideoError(NEITHER)
    return sorted(found, key=lambda entry: _numbered(entry.name))


def stamp_of(path: str) -> Stamp:
    """Size and newest modification time of a video's file, or of all pictures of its folder, which are looked at anew
    after `STAMP_S`. Raises OSError: it is not there; VideoError: a folder without pictures."""
    folder, _ = split_rate(path)
    if os.path.isdir(folder):
        key = folder, os.stat(folder).st_mtime_ns
        with _lock:
            if key not in _stamps:
                states = [entry.stat() for entry in pictures(folder)]
                _stamps[key] = sum(s.st_size for s in states), max(s.st_mtime_ns for s in states)
            return _stamps[key]
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def _is_picture(name: str) -> bool:
    # What begins with a dot is no picture of a person's: macOS leaves such a file beside each one that it copies.
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _numbered(name: str) -> list[str | int]:
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]


class FrameFolderReader:
    """The frames of a folder, read as `PyavReader` reads those of a file. Raises VideoError: as `pictures`, or the
    first picture cannot be read."""

    def __init__(self, path: str) -> None:
        folder, rate = split_rate(path)
        self._paths = [entry.path for entry in pictures(folder)]
        width, height = image_size(self._paths[0])
        pts, base = np.arange(len(self._paths), dtype=np.int64), 1 / rate
        self.index = Index(pts, pts, len(pts), base, width, height, Orientation(), True)

    def read(self, index: int) -> tuple[int, np.ndarray]:
        """Frame `index` as ([H, W, 3] uint8 RGB, upright), of the size of the first."""
        return index, resize(load_image(self._paths[index]), self.index.width, self.index.height)

    def read_many(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """`read` of each."""
        return map(self.read, indices)

    def close(self) -> None:
        """Do nothing: no file is open."""
