"""The tools as a client of the Model Context Protocol finds them, over stdio and over HTTP."""

import asyncio
import base64
import io
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.client.stdio import stdio_client
from PIL import Image

from tests.films import walk
from tests.servers.processes import ROOT, Family, family, free_port, wait_for_line
from tools.registry import TOOLS

pytestmark = pytest.mark.process

MARK = "rectangle:t=2,x={:.0f},y={:.0f},w=30,h=30"
DEADLINE_S = 60


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> str:
    return walk.write(tmp_path_factory.mktemp("walk") / "walk.mp4")


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Family]:
    with family(tmp_path) as started:
        yield started


def mark() -> str:
    """The walker's, as the command line takes it."""
    corner = walk.place(2.0)
    assert corner is not None
    return MARK.format(*corner)


def arguments(film: str, *more: str) -> tuple[str, ...]:
    return "videoseeker.py", "tools", "serve", "--video", film, *more


def talk(transport: Any, asks: Callable[[Client], Awaitable[Any]]) -> Any:
    """What `asks(client)` gives, asked over a connection that is closed afterwards."""

    async def session() -> Any:
        async with Client(transport) as client:
            return await asyncio.wait_for(asks(client), DEADLINE_S)

    return asyncio.run(session())


async def look_around(client: Client) -> tuple[list[Any], Any, Any, Any]:
    tools = (await client.list_tools()).tools
    view = await client.call_tool("view_visual_prompt", {})
    crop = await client.call_tool("crop_video", {"start_time": 1, "end_time": 2})
    wrong = await client.call_tool("crop_video", {"start_time": 1, "end_time": 2, "video": "/etc/passwd"})
    return tools, view, crop, wrong


def check(seen: tuple[list[Any], Any, Any, Any]) -> None:
    tools, view, crop, wrong = seen
    assert [tool.name for tool in tools] == list(TOOLS)
    assert tools[1].input_schema["required"] == ["start_time", "end_time"]
    assert view.content[0].text == "marked frame at 2.0 s: "
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(view.content[1].data))))
    assert picture.shape[2] == 3
    assert [part.type for part in crop.content] == ["text", "text", "image", "text", "image"]
    assert wrong.is_error
    assert wrong.content[0].text == "error: there is no video '/etc/passwd'; the only one is video_1"


def test_a_client_over_stdio(film: str) -> None:
    command = [*arguments(film, "--mark", mark())]
    check(talk(stdio_client(StdioServerParameters(command=sys.executable, args=command, cwd=str(ROOT))), look_around))


def test_a_client_over_http(film: str, members: Family) -> None:
    server = members.start(*arguments(film, "--mark", mark(), "--http", str(free_port())))
    url = re.search(r"http://\S+", wait_for_line(server, "tools at"))
    assert url is not None
    check(talk(url.group(), look_around))
    server.send_signal(signal.SIGINT)
    assert server.wait(DEADLINE_S) in (0, 130)


def test_without_a_mark_the_tools_that_need_one_are_not_offered(film: str) -> None:
    async def names(client: Client) -> list[str]:
        return [tool.name for tool in (await client.list_tools()).tools]

    parameters = StdioServerParameters(command=sys.executable, args=[*arguments(film)], cwd=str(ROOT))
    assert talk(stdio_client(parameters), names) == ["crop_video", "view_frames", "zoom_region"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--video", "gone.mp4"), "gone.mp4: cannot be opened (no such file)"),
        (("--mark", "star:t=1,x=3,y=3"), "mark: no kind 'star'"),
    ],
)
def test_what_can_t_be_served_is_one_sentence(film: str, members: Family, more: tuple[str, str], message: str) -> None:
    done = members.run(*arguments(film, *more), timeout_s=DEADLINE_S)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_port_in_use_is_one_sentence(film: str, members: Family) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = members.run(*arguments(film, "--http", str(port)), timeout_s=DEADLINE_S)
    assert done.returncode == 2
    assert done.stderr == f"videoseeker: port {port} of 127.0.0.1 cannot be listened on (Address already in use)\n"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--http", "70000"), "port 70000 of"),
        (("--http", "0", "--host", "no.such.host.invalid"), "cannot be listened on ("),
    ],
)
def test_an_address_that_is_none_is_one_sentence(
    film: str, members: Family, more: tuple[str, ...], message: str
) -> None:
    done = members.run(*arguments(film, *more), timeout_s=DEADLINE_S)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stdio_server_ends_when_it_is_told_to_though_its_client_stays(
    film: str, members: Family, how: signal.Signals
) -> None:
    command = [sys.executable, *arguments(film, "--mark", mark())]
    server = subprocess.Popen(
        command,
        cwd=ROOT,
        env=members.environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + DEADLINE_S
    while len(members.members()) < 2 and time.monotonic() < deadline:  # it has its decode process, so it serves soon
        time.sleep(0.1)
    time.sleep(1.0)
    server.send_signal(how)
    assert server.wait(20) == 130
    assert server.stderr is not None
    assert "interrupted" in server.stderr.read()
    assert not members.gone(10)
