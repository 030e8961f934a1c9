"""vLLM's own server of the OpenAI API, as a process, for tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from actors.engine.vllm_setup import CPU_ENVIRONMENT, LOCAL_ENVIRONMENT, VLLM_ENVIRONMENT
from tests.servers.processes import free_port

START_S, STOP_S = 300, 30
"""Deadlines of the server's start and end, seconds."""
ARGUMENTS = (
    *("--served-model-name", "tiny", "--host", "127.0.0.1", "--dtype", "float32", "--enforce-eager"),
    *("--skip-mm-profiling", "--max-num-seqs", "32", "--kv-cache-memory-bytes", str(2**30)),
    *("--mm-processor-cache-gb", "0.1", "--limit-mm-per-prompt", '{"image": 64, "video": 1}'),
    # On the CPU a seeded request whose prompt is cut in chunks kills vLLM 0.32.
    "--no-enable-chunked-prefill",
    *("--generation-config", "vllm", "--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
    *("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}'),
)


@dataclass(frozen=True)
class VllmServer:
    """A server that is up."""

    url: str
    """Of its API, the version included."""
    log: Path

    def answered(self) -> int:
        """Requests that it has completed until now."""
        text = httpx.get(self.url.removesuffix("/v1") + "/metrics", timeout=20).text
        rows = (row for row in text.splitlines() if row.startswith("vllm:request_success_total"))
        return round(sum(float(row.rpartition(" ")[2]) for row in rows))

    def told(self) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace")[-4000:]


@contextmanager
def vllm_server(model: Path, log: Path, longest: int = 8192) -> Iterator[VllmServer]:
    """Serve a model folder as `tiny`, with sequences of up to `longest` tokens, on a free port of the loopback
    interface; its output goes to `log`.

    Raises:
        AssertionError: it did not come up, with the end of its output.
    """
    port = free_port()
    environment = {**os.environ, **VLLM_ENVIRONMENT, **CPU_ENVIRONMENT, **LOCAL_ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    # `vllm serve` of the CPU wheel of 0.32 fails, as it looks for a package named vllm; its module is the same server.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--port", str(port)]
    lengths = ("--max-model-len", str(longest), "--max-num-batched-tokens", str(longest))
    with open(log, "w") as output:
        process = subprocess.Popen(
            [*command, *ARGUMENTS, *lengths], stdout=output, stderr=output, env=environment, start_new_session=True
        )
    server = VllmServer(f"http://127.0.0.1:{port}/v1", log)
    try:
        deadline = time.monotonic() + START_S
        while not _is_up(port):
            assert process.poll() is None, f"vLLM ended with {process.returncode}:\n{server.told()}"
            assert time.monotonic() < deadline, f"vLLM is not up after {START_S} s:\n{server.told()}"
            time.sleep(0.5)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _kill_session(process.pid)
            process.wait(STOP_S)


def _is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _kill_session(pid: int) -> None:
    """End what a process that led a session has left of it, its engine for one."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
