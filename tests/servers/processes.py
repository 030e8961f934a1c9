"""Commands of the checkout in processes of their own, and what they leave behind."""

import os
import select
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARKER = "VIDEOSEEKER_TEST_RUN"


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def is_over(pid: int) -> bool:
    """Whether no thread of a process lives, so that its connections are closed; of one that dies, the environment, the
    command line and the first thread may be gone earlier."""
    try:
        stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return not Path(f"/proc/{pid}").exists()
    return all(stat.rpartition(")")[2].split()[0] in "ZX" for stat in stats)


class Family:
    """Processes that share a marker in their environment, whoever started them."""

    def __init__(self, ray_folder: Path) -> None:
        self._mark = uuid.uuid4().hex
        # A Ray of its own: one that runs elsewhere on this machine is neither joined nor stopped.
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            MARKER: self._mark,
            # As in an activated environment: a job's `python` is this one.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_TMPDIR": str(ray_folder),
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *arguments: str, cwd: Path = ROOT, **environment: str) -> "subprocess.Popen[str]":
        """Start `python arguments...` in a session of its own."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=cwd,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Shells start background jobs deaf to Ctrl-C, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def run(self, *arguments: str, timeout_s: float = 300, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run `python arguments...` to its end."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    def members(self) -> dict[int, str]:
        """Process id to command line of every living member."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                zombie = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                continue
            if f"{MARKER}={self._mark}".encode() in environment and not zombie:
                found[int(folder.name)] = command
        return found

    def gone(self, within_s: float = 30) -> dict[int, str]:
        """The members that still live after so long; empty once all are gone."""
        deadline = time.monotonic() + within_s
        while (left := self.members()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return left

    def end(self, within_s: float = 60) -> None:
        """Kill every member, by its id, and wait for their ends."""
        deadline = time.monotonic() + within_s
        killed = set[int]()
        while members := set(self.members()):
            for pid in members - killed:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            killed |= members
            assert time.monotonic() < deadline, f"outlived their kill: {members}"
            time.sleep(0.01)
        for pid in killed:
            while not is_over(pid):
                assert time.monotonic() < deadline, f"process {pid} outlived its kill"
                time.sleep(0.01)


@contextmanager
def family(ray_folder: Path) -> Iterator[Family]:
    """A family whose last members are killed at the end."""
    members = Family(ray_folder)
    try:
        yield members
    finally:
        members.end()


def wait_for_line(process: "subprocess.Popen[str]", text: str, within_s: float = 240) -> str:
    """Return the first line of a process's output that holds `text`; what comes after it is still to be read.

    Raises:
        AssertionError: it ended without, or did not write it in time; with all that it wrote.
    """
    assert process.stdout is not None
    output, seen = process.stdout.fileno(), b""
    deadline = time.monotonic() + within_s
    # Byte by byte, so that nothing lies in a buffer. A process that ended may have left children that hold the pipe.
    while time.monotonic() < deadline:
        if select.select([output], [], [], 0.2)[0] and (byte := os.read(output, 1)):
            seen += byte
            line = seen[:-1].rpartition(b"\n")[2].decode(errors="replace") if byte == b"\n" else ""
            if text in line:
                return line
        elif process.poll() is not None:
            break
    code = process.poll()
    how = f"is not there after {within_s:.0f} s" if code is None else f"never came: the process ended with {code}"
    raise AssertionError(f"'{text}' {how}:\n{seen.decode(errors='replace')}")
