"""A server of chat completions for tests: it counts what it is asked, and replies as a test says."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

Reply = str | tuple[str, str] | int | Response | None
"""A text; a text and why it ended; an error status; any other response; or silence, until the client goes."""


class ChatServer:
    """Replies with `script(text)`, `text` being the last text of the request."""

    def __init__(self) -> None:
        self.script: Callable[[str], Reply] = lambda text: json.dumps({"echo": text})
        self.bodies: list[dict[str, Any]] = []
        """Every request, in order."""
        self.answered: list[dict[str, Any]] = []
        """Those that were given a text."""
        self.held: Callable[[dict[str, Any]], bool] | None = None
        """Whether a request is kept waiting; asked again and again until it is not, or its client is gone. Nothing is
        then answered to a client that was gone before."""
        self.waiting: list[dict[str, Any]] = []
        """Those that are kept waiting now."""
        self.keys: set[str] = set()
        """What was sent as authorization."""
        self.most_at_once = 0
        self.tokens: tuple[int, int] | None = 100, 10
        """Prompt and completion tokens that each reply is said to take."""
        self.think_s = 0.0
        self.url = ""
        self._at_once = 0

    @property
    def texts(self) -> list[str]:
        """The last text of every request."""
        return [_last_text(body) for body in self.bodies]

    async def complete(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.keys.add(request.headers["authorization"])
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if not await self._let_go(request, body):
                return Response()
            await asyncio.sleep(self.think_s)
            return await self._response(request, body, self.script(_last_text(body)))
        finally:
            self._at_once -= 1

    async def _let_go(self, request: Request, body: dict[str, Any]) -> bool:
        """Wait as long as the request is held; whether its client is still there."""
        if self.held is None:
            return True
        await asyncio.sleep(0.02)  # meanwhile the end of a connection is read, if it came before
        if await request.is_disconnected():
            return False
        if not self.held(body):
            return True
        self.waiting.append(body)
        try:
            while not (gone := await request.is_disconnected()) and self.held(body):
                await asyncio.sleep(0.02)
            return not gone
        finally:
            self.waiting.remove(body)

    async def _response(self, request: Request, body: dict[str, Any], reply: Reply) -> Response:
        match reply:
            case Response():
                return reply
            case int():
                error = {"error": {"message": f"no luck today\nwith {reply}"}}
                return JSONResponse(error, reply, {"retry-after-ms": "5"})
            case None:
                while not await request.is_disconnected():
                    await asyncio.sleep(0.02)
                return Response()
            case str():
                reply = reply, "stop"
        self.answered.append(body)
        message = {"role": "assistant", "content": reply[0]}
        completion: dict[str, Any] = {
            "id": "0",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": reply[1]}],
        }
        if self.tokens:
            prompt, written = self.tokens
            completion["usage"] = {
                "prompt_tokens": prompt,
                "completion_tokens": written,
                "total_tokens": prompt + written,
            }
        return JSONResponse(completion)


def renewed(server: ChatServer) -> ChatServer:
    """A server that goes on listening, as it was before anyone asked."""
    server.__dict__.update({**ChatServer().__dict__, "url": server.url})
    return server


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    """A server that listens on the loopback interface, at its `url`."""
    server, app = ChatServer(), FastAPI()
    app.add_api_route("/v1/chat/completions", server.complete, methods=["POST"], response_model=None)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)  # from here on a client is not refused, however late the server comes
        server.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        running = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield server
        running.should_exit = True
        thread.join(timeout=20)


def _last_text(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else [part["text"] for part in content if part["type"] == "text"][-1]
