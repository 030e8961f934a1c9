"""A video that is a folder of pictures, as DAVIS, MeViS, YouTube-VOS, VideoRefer and Inst-It hold theirs.

Its frames are its pictures in the order of the numbers in their names, at a rate that its path states:
`clips/0a1b#fps=6` has six a second, `clips/0a1b` has `FPS`.

Invariant: no picture lies outside of the folder, whatever links say.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from tools.decoding.frame import Stamp, VideoError
from tools.decoding.image import image_size, load_image, resize
from tools.decoding.index import Index, Orientation

FPS = Fraction(1)
"""Frames a second where the path states none."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_RATE = re.compile(r"(?P<folder>.+)#fps=(?P<rate>[0-9]{1,6}(?:\.[0-9]{1,6})?)")


def split_rate(path: str) -> tuple[str, Fraction]:
    """The file or folder that a video's path names, and the rate that it states for a folder."""
    stated = _RATE.fullmatch(path)
    if stated is None or not float(stated["rate"]):
        return path, FPS
    return stated["folder"], Fraction(stated["rate"])


def is_frame_folder(path: str) -> bool:
    """Whether a path is that of a folder which holds pictures."""
    folder, _ = split_rate(path)
    return os.path.isdir(folder) and any(name.lower().endswith(SUFFIXES) for name in os.listdir(folder))


def pictures(folder: str) -> list[os.DirEntry[str]]:
    """The pictures of a folder, in the order of the numbers in their names. Raises VideoError: there is none, or one is
    a link out of it."""
    found = [entry for entry in os.scandir(folder) if entry.name.lower().endswith(SUFFIXES) and entry.is_file()]
    real = Path(os.path.realpath(folder))
    for entry in found:
        if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(real):
            raise VideoError(f"has a picture that is a link out of it, {entry.name}")
    if not found:
        raise VideoError("is not a file, nor a folder of frames")
    return sorted(found, key=lambda entry: [int(p) if p.isdigit() else p for p in re.split(r"([0-9]+)", entry.name)])


def stamp_of(path: str) -> Stamp:
    """Size and newest modification time of a video's file, or of all pictures of its folder. Raises OSError: it is not
    there; VideoError: it is neither."""
    folder, _ = split_rate(path)
    if os.path.isdir(folder):
        states = [entry.stat() for entry in pictures(folder)]
        return sum(state.st_size for state in states), max(state.st_mtime_ns for state in states)
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise VideoError("is not a file, nor a folder of frames")
    return status.st_size, status.st_mtime_ns


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
