"""What all tests share."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest

pytest_plugins = ["tests.limits"]

# A busy machine fails no test.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# Indexes of videos that the tests make are no business of the user's cache.
_CACHE = tempfile.mkdtemp(prefix="videoseeker-test-cache-")
os.environ["XDG_CACHE_HOME"] = _CACHE
_OWNER = os.getpid()


@atexit.register
def _remove_cache() -> None:
    if os.getpid() == _OWNER:
        shutil.rmtree(_CACHE, ignore_errors=True)


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `video.mp4` and `mark.png`."""
    from tests.films.sample_episode import write_media

    return write_media(tmp_path_factory.mktemp("media"))
