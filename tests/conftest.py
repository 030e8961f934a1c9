"""What all tests share."""

import os
import tempfile

# Indexes of videos that the tests make are no business of the user's cache.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="videoseeker-test-cache-")
