from pathlib import Path

import pytest

from tests.sample_episode import write_media


@pytest.fixture(scope="session")
def media(tmp_path_factory) -> Path:
    """A folder with `video.mp4` and `mark.png`."""
    return write_media(tmp_path_factory.mktemp("media"))
