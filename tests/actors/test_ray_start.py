"""How a Ray that does not come up is tried again, and what is said of one that never does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray

from actors import ray_start
from actors.ray_start import RayStartError, cores, start_ray
from configs import Config
from storage.locks import lock
from tests.servers.processes import ROOT

Starts = tuple[list[Exception], list[dict[str, Any]]]
"""Errors to come, and the settings of each call until now."""


@pytest.fixture
def init(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Starts:
    """Stands in for `ray.init`: raises what it is given, one after the other, and keeps what it was called with."""
    errors: list[Exception] = []
    calls: list[dict[str, Any]] = []

    def start(**settings: Any) -> None:
        calls.append(settings)
        os.write(2, b"Set ray log level\n")
        if errors:
            raise errors.pop(0)

    monkeypatch.setattr(ray, "init", start)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_start, "LOCK", tmp_path / "lock")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for name in ("RAY_DATA_LOG_LEVEL", "RAY_BACKEND_LOG_LEVEL"):
        monkeypatch.setenv(name, "error")
    monkeypatch.setattr(ray._private.worker, "print_to_stdstream", ray._private.worker.print_to_stdstream)
    return errors, calls


def test_a_ray_that_is_late_once_is_started_again_and_says_nothing(
    init: Starts, capfd: pytest.CaptureFixture[str]
) -> None:
    errors, calls = init
    errors.append(Exception("The current node timed out during startup."))
    start_ray(Config())
    assert [call["address"] for call in calls] == ["local"] * 2, "not a node that happens to run here"
    assert capfd.readouterr().err == ""
    print("still there", file=sys.stderr)
    assert capfd.readouterr().err == "still there\n"


def test_a_ray_that_never_comes_up_is_one_sentence(init: Starts) -> None:
    errors, _ = init
    errors += [Exception("The current node timed out\nduring startup.")] * 2
    with pytest.raises(RayStartError, match=r"^Ray could not be started: The current node timed out during startup\.$"):
        start_ray(Config())


def test_a_cluster_that_cannot_be_joined_is_named(init: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    errors, _ = init
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.9:6379")
    errors += [ConnectionError("no answer")] * 2
    with pytest.raises(RayStartError, match=r"joined at RAY_ADDRESS=10\.0\.0\.9:6379: no answer"):
        start_ray(Config())


def test_who_waits_too_long_for_another_s_start_says_so(init: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    _, calls = init
    monkeypatch.setattr(ray_start, "TURN_S", 0.2)
    with lock(ray_start.LOCK, 1.0), pytest.raises(RayStartError, match="another process is still starting its own"):
        start_ray(Config())
    assert calls == []


@pytest.mark.slow
def test_ray_data_says_nothing_whichever_was_imported_first() -> None:
    program = (
        "import ray.data\n"
        "from actors.ray_start import start_ray\n"
        "from configs import Config\n"
        "start_ray(Config())\n"
        "print(len(ray.data.from_items([1, 2, 3]).map(lambda row: row).take_all()))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=240)
    assert (ran.stdout, ran.returncode) == ("3\n", 0)
    assert "Dataset" not in ran.stderr
    assert "Progress" not in ran.stderr


def test_a_ray_that_was_started_here_has_no_more_cores_than_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 64.0})
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert cores() == 2
    monkeypatch.setenv("RAY_ADDRESS", "somewhere:6379")
    assert cores() == 64


@pytest.mark.process
def test_a_process_that_stopped_its_ray_can_still_be_asked_to_end() -> None:
    program = """
import os, signal, time
from actors.ray_start import start_ray, stop_ray
from configs import Config
signal.signal(signal.SIGTERM, signal.default_int_handler)
start_ray(Config())
stop_ray()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)
except KeyboardInterrupt:
    print("asked to end")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.endswith("asked to end\n"), done.stdout + done.stderr
