"""The demo's last act: the agent is served as a user would serve it, and asked over HTTP."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
from rich.console import Console

from actors.serving.ask import ask
from configs import Config, to_yaml
from env.task import Task
from recipes.progress import phase
from storage.files import write_text

ROOT = Path(__file__).resolve().parents[2]
START_S = 240.0
"""Deadline for the server to come up, seconds."""
STOP_S = 60.0
"""Deadline for it to go away, seconds."""


class DemoError(RuntimeError):
    """The served agent could not be asked, said in one sentence."""


def ask_served(config: Config, model_dir: Path, task: Task) -> str | None:
    """Serve the model in a process of its own, ask it a held-out question about its marked instance, stop it. Raises
    DemoError where the server did not come up, AskError where it did not answer."""
    settings = model_dir.parent / "serve.yaml"
    write_text(settings, to_yaml(config))
    with socket.socket() as probe:
        probe.bind((config.serve.host, 0))
        port = probe.getsockname()[1]
    log = model_dir.parent / "serve.log"
    command = [sys.executable, str(ROOT / "videoseeker.py"), "serve", str(model_dir), str(settings)]
    command += [f"serve.port={port}"]
    with log.open("w") as output, phase("serve: the agent comes up"):
        server = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, start_new_session=True)
        try:
            url = f"http://{config.serve.host}:{port}"
            _wait(url, server, log)
            return ask(url, task.video, _mark(task), task.question, (), Console())
        finally:
            _stop(server)


def _mark(task: Task) -> str:
    """The task's mark as a user would say it: a box around what was drawn."""
    prompt = task.visual_prompts[0]
    geometry = prompt.geometry or {}
    if "box" in geometry:
        x, y, width, height = geometry["box"]
        return f"rectangle:t={prompt.time_s},x={x},y={y},w={width},h={height}"
    x, y = geometry["points"][-1]
    return f"point:t={prompt.time_s},x={x},y={y}"


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            *_, last = ["it said nothing", *log.read_text(errors="replace").splitlines()]
            raise DemoError(f"the server ended with status {server.returncode}: {last}; see {log}")
        try:
            if httpx.get(f"{url}/healthz", timeout=5.0).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise DemoError(f"the agent did not come up at {url} within {START_S:.0f} s; see {log}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Asked to end; past the deadline its whole session is killed."""
    if server.poll() is None:
        server.terminate()
    try:
        server.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
