"""Frames between processes."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.films import movies
from tools.decoding.frame import FrameRef
from tools.decoding.shared_frames import SharedFrames
from tools.decoding.video import _State, open_video

ROOT = str(Path(__file__).resolve().parents[3])


def key(i: int, side: int = 10) -> tuple[FrameRef, tuple[int, int]]:
    return FrameRef("film.mp4", float(i), side, side), (1, 1)


def picture(i: int, side: int = 10) -> np.ndarray:
    return np.full((side, side, 3), i, np.uint8)


def test_a_frame_that_one_process_puts_another_gets(tmp_path: Path) -> None:
    SharedFrames(10**6, tmp_path).put(key(1), picture(1))
    other = SharedFrames(10**6, tmp_path)
    found = other.get(key(1))
    assert found is not None
    assert np.array_equal(found, picture(1))
    assert not found.flags.writeable
    assert other.get(key(2)) is None
    assert other.get((key(1)[0], (1, 2))) is None
    assert other.get((FrameRef("film.mp4", 1.0, 10, 10, (0, 0, 5, 5)), (1, 1))) is None


def test_the_longest_unused_go_first(tmp_path: Path) -> None:
    shared = SharedFrames(8 * 300, tmp_path)
    for i in range(40):
        shared.put(key(i), picture(i))
        shared.get(key(0))
        time.sleep(0.002)
    kept = [i for i in range(40) if shared.get(key(i)) is not None]
    assert 0 in kept
    assert 39 in kept
    assert len(kept) <= 8


def test_without_a_folder_in_memory_nothing_is_shared(tmp_path: Path) -> None:
    shared = SharedFrames(10**6, tmp_path / "gone")
    shared.put(key(1), picture(1))
    assert shared.get(key(1)) is None
    with shared.decoding("film.mp4", 0.1):
        pass


def test_a_torn_frame_is_not_there(tmp_path: Path) -> None:
    shared = SharedFrames(10**6, tmp_path)
    shared.put(key(1), picture(1))
    file = shared._file(key(1))
    file.write_bytes(file.read_bytes()[:50])
    assert shared.get(key(1)) is None


def test_two_never_decode_one_video_at_once_unless_one_waits_too_long(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work(shared: SharedFrames) -> None:
        nonlocal inside, most
        with shared.decoding("film.mp4", 10):
            inside += 1
            most = max(most, inside)
            time.sleep(0.01)
            inside -= 1

    threads = [threading.Thread(target=work, args=(SharedFrames(10**6, tmp_path),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    with (
        SharedFrames(10**6, tmp_path).decoding("film.mp4", 10),
        SharedFrames(10**6, tmp_path).decoding("film.mp4", 0.05),
    ):
        pass


def test_a_stretch_is_decoded_once_between_two_states(
    films: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tools.decoding.video

    crops: list[object] = []
    for _ in range(2):
        state = _State()
        state.shared = SharedFrames(10**7, tmp_path)
        monkeypatch.setattr(tools.decoding.video, "_state", state)
        video = open_video(films["even"])
        asked: list[object] = []
        decode = video._decode
        monkeypatch.setattr(video, "_decode", lambda *a, asked=asked, decode=decode: asked.append(a) or decode(*a))
        crops.append([movies.number(frame.pixels) for frame in video.clip(2.0, 4.0, 2.0, 8, 96 * 96, 32)])
        crops.append(len(asked))
        state.process.close()
    assert crops == [[18, 22, 26, 30], 1, [18, 22, 26, 30], 0]


@pytest.mark.process
def test_the_last_process_takes_the_frames_with_it(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
import numpy as np
from tools.decoding.frame import FrameRef
from tools.decoding.shared_frames import SharedFrames
shared = SharedFrames(10**6, Path(sys.argv[1]))
shared.put((FrameRef("a.mp4", 1.0, 1, 1), (1, 1)), np.zeros((1, 1, 3), np.uint8))
print(len(list(shared._folder.glob("*.rgb"))), flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    settings: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "env": {**os.environ, "PYTHONPATH": ROOT},
    }
    first, second = (subprocess.Popen(command, **settings) for _ in range(2))
    for process in (first, second):
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"1"
    first.communicate(timeout=20)
    [folder] = tmp_path.iterdir()
    assert list(folder.glob("*.rgb"))
    second.communicate(timeout=20)
    assert not list(folder.glob("*.rgb"))


@pytest.mark.process
def test_a_fork_that_ends_leaves_the_frames_to_its_parent(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
import numpy as np
from tools.decoding.frame import FrameRef
from tools.decoding.shared_frames import SharedFrames
shared = SharedFrames(10**6, Path(sys.argv[1]))
key = FrameRef("a.mp4", 1.0, 1, 1), (1, 1)
shared.put(key, np.zeros((1, 1, 3), np.uint8))
if os.fork() == 0:
    sys.exit()
os.wait()
print(shared.get(key) is not None)
"""
    environment = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "True", done.stderr
