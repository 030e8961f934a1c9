import subprocess
import sys
import time

import pytest

from recipes.peak_memory import PERIOD_S, PeakMemory

pytestmark = pytest.mark.process


def test_it_counts_what_its_children_hold() -> None:
    hold = "import time; held = bytearray(300 * 2**20); held[::4096] = b'x' * len(held[::4096]); time.sleep(60)"
    with PeakMemory() as alone:
        time.sleep(PERIOD_S)
    with PeakMemory() as memory:
        child = subprocess.Popen([sys.executable, "-c", hold])
        time.sleep(3 * PERIOD_S)
        child.kill()
        child.wait()
    assert memory.peak_gib - alone.peak_gib > 0.25
