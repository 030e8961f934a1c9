"""Locks between processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from storage.locks import lock

HOLD = "from storage.locks import lock\nwith lock({path!r}, 1):\n    print('held', flush=True)\n    input()"


@pytest.mark.process
def test_a_held_lock_is_waited_for_and_ends_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ray.lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(path=str(path))], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(TimeoutError, match=r"ray\.lock: is held by another process"), lock(path, 0.3):
        pass
    holder.kill()
    holder.wait()
    with lock(path, 10):
        pass
