"""Which file a row means by the name that it gives its video.

Invariant: what is found lies below the video root, and is the only one that the name can mean.
"""

import os
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath

from actors.serving.question import VIDEO_SUFFIXES
from synth.sources.rows import BadRow
from tools.decoding.frame_folder import is_frame_folder, split_rate


class VideoFiles:
    """The videos below a root, found by the names that data sets give them.

    Names are often written on a machine that takes `\\` between folders or does not tell `.MP4` from `.mp4`, and data
    sets name one ending where the files that people have got another.
    """

    def __init__(self, root: str | Path | None) -> None:
        """Without a root the names are kept as they are."""
        self._root = root
        self._names, self._found = cache(_names), cache(self._search)

    def find(self, name: str) -> str:
        """The path of a row's video, a file or a folder of frames. Raises BadRow: it names none, or several."""
        windows = PureWindowsPath(name)
        posix = PurePosixPath(windows.as_posix() if "/" not in name else name)
        if not posix.name or "\0" in name:
            raise BadRow("has a video path that is none")
        if posix.is_absolute() or windows.anchor:
            raise BadRow("has an absolute video path; it must be relative to the video root")
        if ".." in posix.parts or ".." in windows.parts:
            raise BadRow("has a video path that climbs out of the video root with '..'")
        return str(posix) if self._root is None else self._found(str(posix))

    def _search(self, name: str) -> str:
        exact = os.path.join(str(self._root), name)
        if os.path.isfile(exact) or is_frame_folder(exact):
            return exact
        plain, _ = split_rate(name)
        folder = str(self._root)
        *parents, last = PurePosixPath(plain).parts
        for part in parents:
            folder = os.path.join(folder, _only(part, _alike(part, self._names(folder))))
        names = self._names(folder)
        same = _alike(last, names)
        stem = PurePosixPath(last).stem.casefold() if last.lower().endswith(VIDEO_SUFFIXES) else last.casefold()
        videos = [other for other in names if other.lower().endswith(VIDEO_SUFFIXES)]
        path = os.path.join(
            folder, _only(last, same or [v for v in videos if PurePosixPath(v).stem.casefold() == stem])
        )
        return path + name[len(plain) :]


def _names(folder: str) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def _alike(name: str, names: list[str]) -> list[str]:
    return [other for other in names if other.casefold() == name.casefold()]


def _only(name: str, names: list[str]) -> str:
    """The one of the names that is meant."""
    meant = [name] if name in names else names
    if not meant:
        raise BadRow("has a video that is not under the video root")
    if len(meant) > 1:
        raise BadRow(f"has a video that may be any of {', '.join(meant)}")
    return meant[0]
