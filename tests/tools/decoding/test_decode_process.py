import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.films import movies
from tests.servers.ray_session import own_ray
from tools.decoding.decode_process import DecodeProcess, Request
from tools.decoding.decoder import MEMORY_BYTES
from tools.decoding.video import VideoError, decode_process, open_video

pytestmark = pytest.mark.process

ROOT = str(Path(__file__).resolve().parents[3])


def stamp(path: Path | str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


def gone(pid: int, within_s: float) -> bool:
    """Whether the process ends in time; a zombie, which nobody may be there to reap, has ended."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_it_starts_light() -> None:
    code = "import sys, tools.decoding.decoder; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": ROOT}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, env=environment, check=True
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert {"numpy", "av", "PIL"} <= loaded
    assert not loaded & {"torch", "ray", "vllm", "transformers", "omegaconf", "configs", "decord", "cv2"}


def test_a_missed_deadline_costs_the_process_and_one_sentence(films: dict[str, str], fresh: None) -> None:
    video = open_video(films["even"])
    stopped = decode_process().pid
    assert stopped is not None
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(VideoError, match=r"took longer than 0\.5 s and was stopped"):
        video.clip(1.0, 3.0, 2.0, 8, 96 * 96, 32, timeout_s=0.5)
    assert gone(stopped, 5)
    frames = video.clip(1.0, 3.0, 2.0, 8, 96 * 96, 32)
    assert [movies.number(frame.pixels) for frame in frames] == [10, 14, 18, 22]
    assert decode_process().pid != stopped


def test_a_file_that_blocks_is_given_up(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    process = DecodeProcess()
    with process.turn(5) as ask, pytest.raises(VideoError, match="took longer"):
        ask({"do": "index", "path": str(pipe), "stamp": stamp(pipe)}, 0.5)
    assert process.pid is None


def test_a_process_that_is_killed_while_it_reads_is_no_fault_of_the_file(films: dict[str, str], fresh: None) -> None:
    video = open_video(films["even"])
    victim = decode_process().pid
    assert victim is not None
    os.kill(victim, signal.SIGSTOP)
    killer = threading.Timer(0.5, os.kill, (victim, signal.SIGKILL))
    killer.start()
    assert movies.number(video.frames_at([4.0], 96 * 96, 32)[0].pixels) == 32
    assert decode_process().pid != victim


def test_a_file_at_which_a_fresh_one_dies_too_is_told_and_set_aside(
    films: dict[str, str], fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = open_video(films["even"])
    started, start = [], DecodeProcess._start

    def start_and_die(self: DecodeProcess) -> None:
        start(self)
        assert self.pid is not None
        os.kill(self.pid, signal.SIGKILL)
        started.append(gone(self.pid, 5))

    monkeypatch.setattr(DecodeProcess, "_start", start_and_die)
    decode_process().close()
    with pytest.raises(VideoError, match="died while reading it"):
        video.frames_at([4.0], 96 * 96, 32)
    assert started == [True, True]
    with pytest.raises(VideoError, match="set aside"):
        video.frames_at([4.0], 96 * 96, 32)
    assert len(started) == 2


def test_one_that_is_killed_as_it_starts_is_started_again(
    films: dict[str, str], fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned = DecodeProcess._spawned
    victims: list[int] = []

    def spawned_and_killed(self: DecodeProcess) -> int:
        ours = spawned(self)
        if not victims:
            assert self.pid is not None
            victims.append(self.pid)
            os.kill(self.pid, signal.SIGKILL)
        return ours

    monkeypatch.setattr(DecodeProcess, "_spawned", spawned_and_killed)
    assert len(open_video(films["even"]).times) == 160
    assert victims


def test_a_file_that_kills_twice_is_set_aside(films: dict[str, str], tmp_path: Path) -> None:
    pipe = str(tmp_path / "pipe.mp4")
    os.mkfifo(pipe)
    process = DecodeProcess()
    bad: Request = {"do": "index", "path": pipe, "stamp": stamp(pipe)}
    good: Request = {"do": "index", "path": films["even"], "stamp": stamp(films["even"])}
    with process.turn(5) as ask:
        for _ in range(2):
            with pytest.raises(VideoError, match="took longer"):
                ask(bad, 0.5)
        with pytest.raises(VideoError, match="set aside, for it took the decode process down 2 times in a row"):
            ask(bad, 0.5)
        assert ask(good, 10)[0]["width"] == 192
        os.utime(pipe)
        with pytest.raises(VideoError, match="took longer"):
            ask({**bad, "stamp": stamp(pipe)}, 0.5)
    process.close()


def test_a_death_while_idle_goes_unnoticed(films: dict[str, str], fresh: None) -> None:
    video = open_video(films["even"])
    first = decode_process().pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert gone(first, 5)
    assert movies.number(video.frames_at([4.0], 96 * 96, 32)[0].pixels) == 32


def test_its_memory_is_limited(films: dict[str, str], fresh: None) -> None:
    open_video(films["even"])
    limits = Path(f"/proc/{decode_process().pid}/limits").read_text()
    [line] = [line for line in limits.splitlines() if line.startswith("Max address space")]
    assert int(line.split()[3]) == MEMORY_BYTES


def starve(process: DecodeProcess) -> None:
    """Leave it memory to open a video, but not for a picture of 200 MB."""
    assert process.pid is not None
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 2**27
    resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, MEMORY_BYTES))


def test_a_request_that_starves_in_a_process_grown_old_is_answered_by_a_fresh_one(
    films: dict[str, str], fresh: None
) -> None:
    video = open_video(films["even"])
    first = decode_process().pid
    starve(decode_process())
    assert movies.number(video.frames_at([4.0], 8192 * 8192, 4096)[0].pixels) == 32
    assert decode_process().pid != first


def test_a_request_that_starves_in_a_fresh_process_too_is_told(
    films: dict[str, str], fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = open_video(films["even"])
    started = []
    start = DecodeProcess._start

    def start_and_starve(self: DecodeProcess) -> None:
        start(self)
        started.append(1)
        starve(self)

    monkeypatch.setattr(DecodeProcess, "_start", start_and_starve)
    starve(decode_process())
    with pytest.raises(VideoError, match="out of memory"):
        video.frames_at([4.0], 8192 * 8192, 4096)
    assert len(started) == 1


def test_open_films_keep_no_threads(films: dict[str, str], tmp_path: Path, fresh: None) -> None:
    def threads() -> int:
        return len(os.listdir(f"/proc/{decode_process().pid}/task"))

    def read(path: str) -> None:
        assert movies.number(open_video(path).frames_at([4.0], 96 * 96, 32)[0].pixels) == 32

    read(films["even"])
    with_one = threads()
    for name in range(8):
        read(shutil.copy(films["even"], str(tmp_path / f"{name}.mp4")))
    assert threads() == with_one


def test_a_busy_process_is_not_waited_for_for_ever(films: dict[str, str], fresh: None) -> None:
    video = open_video(films["even"])
    with decode_process().turn(1), pytest.raises(VideoError, match=r"busy for 0\.2 s"):
        video.frames_at([4.0], 96 * 96, 32, timeout_s=0.2)


def test_many_threads_share_one_process(films: dict[str, str], fresh: None) -> None:
    def work(i: int) -> list[tuple[int, int]]:
        video = open_video(films["even" if i % 2 else "late"])
        start_s = video.times[0] + i % 10
        frames = video.clip(start_s, start_s + 2.0, 2.0, 8, 96 * 96 + i % 3 * 4000, 32)
        return [(movies.number(f.pixels), round((f.time_s - video.times[0]) * 8)) for f in frames]

    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(work, range(64)))
    assert all(len(pairs) == 4 and all(shown == true for shown, true in pairs) for pairs in results)


def in_fork(path: str, results: Any) -> None:
    frame = open_video(path).frames_at([4.0], 128 * 128, 32)[0]
    results.put((movies.number(frame.pixels), decode_process().pid))


def test_a_forked_daemon_has_its_own(films: dict[str, str], fresh: None) -> None:
    video = open_video(films["even"])
    ours = decode_process().pid
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    child = context.Process(target=in_fork, args=(films["even"], results), daemon=True)
    child.start()
    shown, theirs = results.get(timeout=60)
    child.join(10)
    assert shown == 32
    assert theirs != ours
    assert movies.number(video.frames_at([5.0], 128 * 128, 32)[0].pixels) == 40
    assert decode_process().pid == ours
    assert gone(theirs, 10)


PARENT = """
import os, signal, sys, threading, time
from tools.decoding.video import decode_process, open_video
open_video(sys.argv[1])
print(decode_process().pid, flush=True)
if len(sys.argv) > 2:
    def hang():
        with decode_process().turn(5) as ask:
            status = os.stat(sys.argv[2])
            stamp = [status.st_size, status.st_mtime_ns]
            ask({"do": "index", "path": sys.argv[2], "stamp": stamp}, 1.0)
    threading.Thread(target=hang, daemon=True).start()
    time.sleep(0.5)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("hung", [False, True])
def test_it_dies_with_its_parent(films: dict[str, str], tmp_path: Path, hung: bool) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    arguments = [films["even"], str(pipe)] if hung else [films["even"]]
    done = subprocess.run(
        [sys.executable, "-c", PARENT, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ROOT},
        timeout=60,
    )
    assert done.returncode == -signal.SIGKILL
    assert gone(int(done.stdout), 15)


@pytest.mark.slow
def test_it_works_in_a_ray_actor(films: dict[str, str]) -> None:
    import ray

    with own_ray(num_cpus=1, runtime_env={"env_vars": {"PYTHONPATH": ROOT}}):

        class Reader:
            def read(self, path: str) -> tuple[list[int], int | None]:
                frames = open_video(path).clip(1.0, 3.0, 2.0, 8, 96 * 96, 32)
                return [movies.number(frame.pixels) for frame in frames], decode_process().pid

        actor = ray.remote(max_concurrency=4)(Reader).remote()
        answers = ray.get([actor.read.remote(films["even"]) for _ in range(4)], timeout=120)
        assert [shown for shown, _ in answers] == [[10, 14, 18, 22]] * 4
        (pid,) = {pid for _, pid in answers}
        ray.kill(actor)
        assert gone(pid, 15)
