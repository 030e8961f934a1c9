"""Which side of a split a video is on, and which questions were asked before.

Invariant: a side is a function of the seed and the video alone, so all questions about a video are on one side, and it
stays there whatever other videos come or go.
"""

import hashlib
import unicodedata
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Literal

from env.judge import normalize

Identity = Callable[[str], str]
"""What two paths have in common that are the same video."""


def video_name(video: str) -> str:
    """The file's name without folder and suffix: the same for a copy in another folder or container."""
    return unicodedata.normalize("NFC", PurePosixPath(video).stem)


def split_of(video: str, seed: int, test_fraction: float, identity: Identity = video_name) -> Literal["train", "test"]:
    """The side of a video; a share of about `test_fraction` of all videos is on the test side.

    A greater fraction moves videos to the test side only. Videos that are named alike are on one side; where names tell
    nothing (`0001/video.mp4`, `0002/video.mp4`), give an `identity` that keeps the folder.

    Raises:
        ValueError: the fraction is not between 0 and 1.
    """
    if not 0.0 <= test_fraction <= 1.0:
        raise ValueError(f"test_fraction must be between 0 and 1, not {test_fraction}")
    digest = hashlib.blake2b(f"{seed}\n{identity(video)}".encode(errors="surrogatepass"), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") < test_fraction * 2**64 else "train"


class Duplicates:
    """The questions that were asked before, but for case, articles, punctuation and the spelling of numbers.

    Two paths are two videos by default; with `video_name`, copies in several data sets are one.
    """

    def __init__(self, identity: Identity = str) -> None:
        self._identity = identity
        self._seen: set[bytes] = set()

    def seen(self, video: str, question: str) -> bool:
        """Whether the question was asked about the video before; from now on it was."""
        asked = f"{self._identity(video)}\0{normalize(question)}"
        digest = hashlib.blake2b(asked.encode(errors="surrogatepass"), digest_size=16).digest()
        if digest in self._seen:
            return True
        self._seen.add(digest)
        return False
