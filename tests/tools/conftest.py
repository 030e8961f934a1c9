"""Videos that the tests of this room share; written once."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.films import movies
from tools.decoding import video
from tools.decoding.thread_safe_cache import ThreadSafeCache
from tools.following import tracker

UNEVEN = np.cumsum(np.random.default_rng(1).integers(5, 200, 120)).tolist()
"""Milliseconds of the frames of the variable-frame-rate file."""


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name -> path. Frame i of each shows the number i."""
    folder: Path = tmp_path_factory.mktemp("films")
    return {
        "even": movies.write(folder / "even.mp4", range(160)),
        "uneven": movies.write(folder / "uneven.mp4", UNEVEN, Fraction(1, 1000)),
        "late": movies.write(folder / "late.mp4", range(40, 140)),
        "mkv": movies.write(folder / "late.mkv", UNEVEN, Fraction(1, 1000), gop=50),
        "ts": movies.write(folder / "late.ts", range(40, 140), b_frames=3),
        "fragmented": movies.write(
            folder / "fragmented.mp4", range(100), options={"movflags": "frag_keyframe+empty_moov"}
        ),
    }


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process state of the test's own: no index, no frame, no decode process, nothing shared with others."""
    monkeypatch.setattr(video, "_state", video._State(shared_bytes=0))
    monkeypatch.setattr(tracker, "_seen", ThreadSafeCache(tracker.KEPT_CALLS))
    yield
    video.decode_process().close()
