"""A server of chat completions, and endpoints on it."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from configs.endpoint import EndpointConfig
from endpoint.endpoint import Endpoint
from tests.servers.chat_server import ChatServer, chat_server, renewed


@pytest.fixture(scope="module")
def running() -> Iterator[ChatServer]:
    with chat_server() as server:
        yield server


@pytest.fixture
def server(running: ChatServer) -> ChatServer:
    return renewed(running)


@pytest.fixture
def endpoint(server: ChatServer, tmp_path: Path) -> Callable[..., Any]:
    """Makes an endpoint on the test's folder, of a config that differs as told."""
    return lambda **changes: Endpoint(
        dataclasses.replace(EndpointConfig(base_url=server.url, model="m", timeout_s=20, retries=4), **changes),
        tmp_path,
        "synth.text_model",
    )
