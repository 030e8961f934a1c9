"""Which side of a split a video is on.

Invariant: a side is a function of the seed and the video's name alone, so all questions about a video are on one side,
and it stays there whatever other videos come or go.
"""

import hashlib
import unicodedata
from pathlib import PurePosixPath
from typing import Literal


def split_of(video: str, seed: int, test_fraction: float) -> Literal["train", "test"]:
    """The side of a video; a share of about `test_fraction` of all videos is on the test side.

    A greater fraction moves videos to the test side only. A name is that of the file without folder and suffix: the
    same for a copy in another folder or container.

    Raises:
        ValueError: the fraction is not between 0 and 1.
    """
    if not 0.0 <= test_fraction <= 1.0:
        raise ValueError(f"test_fraction must be between 0 and 1, not {test_fraction}")
    name = unicodedata.normalize("NFC", PurePosixPath(video).stem)
    digest = hashlib.blake2b(f"{seed}\n{name}".encode(errors="surrogatepass"), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "big") < test_fraction * 2**64 else "train"
