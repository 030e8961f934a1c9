"""What a test may cost: processes only where a marker says so, and memory that it gives back.

Invariants:
- A test that is marked neither `process` nor `slow` starts no process (`_refuse`), so `make check`, which runs these
  alone, is quick. Two commands that libraries ask for a word are let through, and the decode process of
  `tools/decoding`, of which each worker has one: a test that reads a video would be no test without it.
- No file of tests leaves more than `MOST_MIB` in the process that ran it (`pytest_runtest_teardown`); the first that
  does is named, those after it are not.
- What takes longest begins first, so that the workers end together; files that share an engine stay on one worker.
"""

import ctypes
import gc
import multiprocessing.util
import sys
from collections.abc import Generator
from typing import Any

import psutil
import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

MOST_MIB = 2048
STARTS = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.system"}
"""Audit events (PEP 578) of a new process."""
ALLOWED = {"tools.decoding.decoder", "uname", "git"}
"""The decode process; what `platform` asks for the processor, and MLflow for the commit."""
TOGETHER = ("tests/actors/engine/", "tests/actors/rollout/")
"""Folders that share the `engine` of `tests/actors/conftest.py`."""
_LISTED = 5
"""Files in the summary of memory."""

_running: pytest.Item | None = None
_full = False
_memory: dict[str, int] = {}
_spawn = multiprocessing.util.spawnv_passfds


def _refuse(command: list[str]) -> None:
    """Fail the running test if it may not start this."""
    if _running and not _running.get_closest_marker("process") and not ALLOWED.intersection(command):
        pytest.fail(f"starts a process ({' '.join(command)[:200]}): mark it `process`, or `slow`")


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in STARTS:
        given = arguments[1] if event in ("subprocess.Popen", "os.posix_spawn") else event
        _refuse([given] if isinstance(given, str) else [str(word) for word in given])


def _audited_spawn(path: Any, args: Any, passfds: Any) -> int:
    """Python has no audit event for the children of `multiprocessing`'s spawn."""
    if not any("resource_tracker" in str(word) for word in args):
        _refuse(["multiprocessing", *map(str, args)])
    return _spawn(path, args, passfds)


sys.addaudithook(_audit)
multiprocessing.util.spawnv_passfds = _audited_spawn


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "process: starts a process, or keeps a decoder busy for seconds; not part of `make check`"
    )
    config.addinivalue_line("markers", "slow: starts Ray, vLLM or DeepSpeed; counts as `process` too")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks: dict[str, int] = {}
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker("process")
        file = item.nodeid.partition("::")[0]
        names = ("timeout", "slow", "process")
        rank = next((i for i, name in enumerate(names) if item.get_closest_marker(name)), len(names))
        ranks[file] = min(rank, ranks.get(file, rank))
    items.sort(key=lambda item: ranks[item.nodeid.partition("::")[0]])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    global _running
    _running = item
    try:
        return (yield)
    finally:
        _running = None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    yield
    if nextitem is None or nextitem.path != item.path:
        held = _memory_mib()
        if held > MOST_MIB:  # not each time: a collection takes longer than most files
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            held = _memory_mib()
        item.user_properties.append(("memory_mib", held))
        global _full
        if held > MOST_MIB and not _full:
            _full = True
            pytest.fail(f"{item.path.name} left {held} MiB in the process of the tests, more than {MOST_MIB}")


def _memory_mib() -> int:
    return psutil.Process().memory_info().rss >> 20


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "teardown":
        for name, value in report.user_properties:
            if name == "memory_mib":
                _memory[report.nodeid.partition("::")[0]] = int(str(value))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _memory:
        terminalreporter.write_sep("=", "most memory after a file of tests")
        for file in sorted(_memory, key=_memory.__getitem__, reverse=True)[:_LISTED]:
            terminalreporter.write_line(f"{_memory[file]} MiB {file}")


class BySharing(LoadScopeScheduling):
    """A file goes to one worker as a whole, as do the folders whose tests share an engine."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "engine" if file.startswith(TOGETHER) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return BySharing(config, log)
