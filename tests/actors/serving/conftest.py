"""An agent behind the web app, on a real server: it looks, crops and answers, or sleeps."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from actors.rollout.loop import Policy
from actors.serving.events import episode_events
from actors.serving.web import build_app
from configs.episode import EpisodeConfig
from configs.run import ServeConfig
from env.chat import ChatFormat
from env.task import Task
from tests.actors.conftest import ANSWER, CROP, VIEW, Script

DEADLINES_S = {"slow?": 1.0, "endless?": 100.0}
"""Questions that put the agent to sleep."""
asked: list[Task] = []
"""What the agent was asked, the newest last."""


class Sleeper:
    """A policy that does not answer in time, and says when it was cancelled."""

    cancelled = threading.Event()

    async def act(self, transcript: Any, env: Any, max_tokens: int) -> Any:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@pytest.fixture(scope="module")
def root(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video root with a video, a file that is none, and links that lead out."""
    folder = tmp_path_factory.mktemp("root")
    (folder / "clips").mkdir()
    (folder / "clips" / "shapes.mp4").write_bytes(Path(task.video).read_bytes())
    (folder / "notes.mp4").write_text("not a video")
    outside = tmp_path_factory.mktemp("outside") / "secret.mp4"
    outside.write_bytes(Path(task.video).read_bytes())
    (folder / "link.mp4").symlink_to(outside)
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    return folder


@pytest.fixture(scope="module")
def requests_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server lays down what its requests need."""
    return tmp_path_factory.mktemp("requests")


@pytest.fixture(scope="module")
def server(root: Path, chat: ChatFormat, requests_folder: Path) -> Iterator[str]:
    """Address of a server whose agent looks, crops and answers, or sleeps."""
    episode = EpisodeConfig(
        prompt_style="compact", prompt_max_frames=4, prompt_max_pixels=64 * 64, tool_max_pixels=96 * 96, max_tokens=2000
    )

    def play_events(task: Task, timeout_s: Any, thumbnails: Any) -> Any:
        asked.append(task)
        asleep = task.question in DEADLINES_S
        policy: Policy = Sleeper() if asleep else Script(chat, [VIEW, CROP, ANSWER])
        return episode_events(task, policy, chat, episode, DEADLINES_S.get(task.question, timeout_s), thumbnails)

    async def health() -> Any:
        return {"model": "scripted"}

    config = ServeConfig(video_root=str(root), max_upload_mib=1, request_timeout_s=30)
    with pytest.MonkeyPatch.context() as patch, socket.socket() as listener:
        patch.setattr("tempfile.tempdir", str(requests_folder))
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # from here on a client is not refused, however late the server comes
        running = uvicorn.Server(uvicorn.Config(build_app(play_events, health, config), log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        running.should_exit = True
        thread.join(timeout=20)


@pytest.fixture
def client(server: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server, timeout=30) as client:
        yield client
