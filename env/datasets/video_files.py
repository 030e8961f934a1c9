"""Which file a row means by the name that it gives its video.

Invariant: what is found lies below the video root, and is the only one that the name can mean.
"""

import os
from collections import defaultdict
from functools import cache
from pathlib import Path, PurePosixPath, PureWindowsPath

from env.datasets.rows import BadRow
from tools.decoding.frame import VIDEO_SUFFIXES
from tools.decoding.frame_folder import is_frame_folder, split_rate

NOT_THERE = "has a video that is not under the video root"


class VideoFiles:
    """The videos below a root, found by the names that data sets give them.

    Names are often written on a machine that takes `\\` between folders or does not tell `.MP4` from `.mp4`, and data
    sets name one ending where the files that people have got another.
    """

    def __init__(self, root: str | Path | None) -> None:
        """Without a root the names are kept as they are."""
        self._root = root
        self._names, self._found = cache(_Names), cache(self._search)

    def find(self, name: str) -> str:
        """The path of a row's video, a file or a folder of frames. Raises BadRow: it names none, or several."""
        windows = PureWindowsPath(split_rate(name)[0])
        posix = PurePosixPath(windows.as_posix() if "/" not in name else split_rate(name)[0])
        if not posix.name or "\0" in name:
            raise BadRow("has a video path that is none")
        if posix.is_absolute() or windows.anchor:
            raise BadRow("has an absolute video path; it must be relative to the video root")
        if ".." in posix.parts or ".." in windows.parts:
            raise BadRow("has a video path that climbs out of the video root with '..'")
        rate = name[len(split_rate(name)[0]) :]
        return f"{posix}{rate}" if self._root is None else self._found(posix, rate)

    def _search(self, plain: PurePosixPath, rate: str) -> str:
        try:
            exact = os.path.join(str(self._root), f"{plain}{rate}")
            if os.path.isfile(exact) or is_frame_folder(exact):
                return exact
            folder = str(self._root)
            for part in plain.parts[:-1]:
                folder = os.path.join(folder, _only(self._names(folder).alike(part)))
            names, last = self._names(folder), plain.name
            stem = plain.stem if last.lower().endswith(VIDEO_SUFFIXES) else last
            found = os.path.join(folder, _only(names.alike(last) or names.videos.get(stem.casefold(), [])))
            if is_frame_folder(found) or (os.path.isfile(found) and not rate):
                return f"{found}{rate}"
        except OSError as error:
            raise BadRow(f"has a video that cannot be looked for ({error.strerror})") from None
        raise BadRow(NOT_THERE)


class _Names:
    """The names in a folder, by what they are looked for by."""

    def __init__(self, folder: str) -> None:
        self._names: dict[str, list[str]] = defaultdict(list)
        self.videos: dict[str, list[str]] = defaultdict(list)
        """Names of videos, by what they are called without their ending."""
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
            self._names[name.casefold()].append(name)
            if name.lower().endswith(VIDEO_SUFFIXES):
                self.videos[PurePosixPath(name).stem.casefold()].append(name)

    def alike(self, name: str) -> list[str]:
        """The names that are this one but for capitals; it alone if it is there."""
        found = self._names.get(name.casefold(), [])
        return [name] if name in found else found


def _only(meant: list[str]) -> str:
    if not meant:
        raise BadRow(NOT_THERE)
    if len(meant) > 1:
        raise BadRow(f"has a video that may be any of {', '.join(meant)}")
    return meant[0]
