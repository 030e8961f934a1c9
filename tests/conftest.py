"""What all tests share."""

import atexit
import os
import shutil
import tempfile

# Indexes of videos that the tests make are no business of the user's cache.
_CACHE = tempfile.mkdtemp(prefix="videoseeker-test-cache-")
os.environ["XDG_CACHE_HOME"] = _CACHE
_OWNER = os.getpid()


@atexit.register
def _remove_cache() -> None:
    if os.getpid() == _OWNER:
        shutil.rmtree(_CACHE, ignore_errors=True)
