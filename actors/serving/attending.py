"""What every request to the agent goes through: the size of its body, and the events of its episode for as long as the
client listens.

Invariant: what a request laid down is removed when it ends, however it ends.
"""

import asyncio
import tempfile
from collections.abc import AsyncGenerator

from fastapi import HTTPException, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.serving.events import Event

MIB = 2**20
MAX_JSON_MIB = 1
CHAT = "/v1/chat/completions"
"""Its JSON has films and frames in it, so that it may be as large as an upload, four bytes for three."""


class BodyLimit:
    """Refuses a request body past its limit while it comes in, whatever length its header claims."""

    def __init__(self, app: ASGIApp, max_upload_mib: int) -> None:
        self._app = app
        self._max_upload_mib = max_upload_mib

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        content_type = dict(scope["headers"]).get(b"content-type", b"")
        if content_type.lower().startswith(b"multipart/"):
            limit_mib, what = self._max_upload_mib, "an uploaded video"
        elif scope["path"] == CHAT:
            limit_mib, what = -(-4 * self._max_upload_mib // 3), "a chat request"
        else:
            limit_mib, what = MAX_JSON_MIB, "a JSON request"
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit_mib * MIB:
                raise HTTPException(413, f"{what} may have at most {limit_mib} MiB")
            return message

        return await self._app(scope, limited, send)


async def attended(
    request: Request, folder: "tempfile.TemporaryDirectory[str]", events: AsyncGenerator[Event]
) -> AsyncGenerator[Event]:
    """The events for as long as the client listens; after them the request's folder is removed."""
    gone = asyncio.create_task(_disconnected(request))
    coming: asyncio.Future[Event | None] = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            await asyncio.wait((coming, gone), return_when=asyncio.FIRST_COMPLETED)
            if gone.done():
                return
            event = coming.result()
            if event is None:
                return
            yield event
            coming = asyncio.ensure_future(anext(events, None))
    finally:
        gone.cancel()
        coming.cancel()
        try:
            await asyncio.wait((coming,))
            await events.aclose()
        finally:
            folder.cleanup()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
