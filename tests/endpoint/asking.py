"""Asking an endpoint that is under test, and replies however odd."""

import asyncio
from typing import Any

from fastapi.responses import JSONResponse

from endpoint.endpoint import Endpoint
from endpoint.parts import Part

SCHEMA = {
    "type": "object",
    "properties": {"echo": {"type": "string"}},
    "required": ["echo"],
    "additionalProperties": False,
}


def completion(message: dict[str, Any]) -> JSONResponse:
    """A reply whose message is this, however odd."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    return JSONResponse({"id": "0", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})


def ask(endpoint: Endpoint, *texts: str, what: str = "text") -> list[str]:
    """The echoes of each text, asked at the same time."""

    async def all_of_them() -> Any:
        try:
            return await asyncio.gather(*(endpoint.ask(what, "You repeat.", [text], SCHEMA) for text in texts))
        finally:
            await endpoint.close()

    return [answer["echo"] for answer in asyncio.run(all_of_them())]


def ask_parts(
    endpoint: Endpoint,
    *content: Part,
    schema: dict[str, Any] = SCHEMA,
    system: str = "You repeat.",
) -> dict[str, str]:
    return asyncio.run(endpoint.ask("text", system, content, schema))
