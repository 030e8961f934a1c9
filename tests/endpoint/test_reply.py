"""Replies in each form that servers and models give: what is read of them, and what is asked again."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from endpoint.endpoint import AnswerError
from tests.endpoint.asking import ask, completion
from tests.servers.chat_server import ChatServer

FITS = '{"echo": "fits"}'
THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}


@pytest.mark.parametrize(
    "message",
    [
        {"content": f"```json\n{FITS}\n```"},
        {"content": f"```JSON\n{FITS}```"},
        {"content": f"```\n{FITS}\n```\nI hope it helps."},
        {"content": f"Here it is:\n```json\n{FITS}\n```"},
        {"content": f"Here it is: {FITS}. A brace {{ too."},
        {"content": f"<think>\nIs it {{}}?\n</think>\n\n{FITS}"},
        {"content": f"It is so.\n</think>\n{FITS}"},
        {"content": "\ufeff" + FITS},
        {"content": f"\n \ufeff{FITS}\n"},
        {"content": None, "reasoning_content": FITS},
        {"content": "", "reasoning": f"So:\n{FITS}"},
        {"content": FITS, "reasoning_content": '{"echo": "no"}'},
        {"content": [{"type": "text", "text": FITS}]},
        {"content": [THINKING, {"type": "text", "text": FITS[:5]}, {"type": "text", "text": FITS[5:]}]},
        {"content": [{"type": "thinking", "thinking": FITS}]},
    ],
)
def test_the_one_object_of_a_reply_is_read_wherever_it_stands(
    message: dict[str, Any], server: ChatServer, endpoint: Callable[..., Any]
) -> None:
    server.script = lambda text: completion(message)
    assert ask(endpoint(), "a") == ["fits"]
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"content": f"{FITS} or {FITS}"}, "reply holds several JSON objects"),
        ({"content": "[1]"}, "reply is not a JSON object"),
        ({"content": "<think>{}</think>"}, "reply is not JSON"),
        ({"content": None}, "reply is not JSON"),
        ({"content": None, "reasoning_content": "I wonder"}, "reply is all reasoning: turn the server's .* off"),
        ({"content": [{"type": "image_url"}]}, "reply is not JSON"),
        ({"content": {"text": FITS}}, "reply is not JSON"),
        ({"content": "{" * 20_000}, "reply is not JSON"),
    ],
)
def test_a_reply_without_one_object_is_told(
    message: dict[str, Any], why: str, server: ChatServer, endpoint: Callable[..., Any]
) -> None:
    server.script = lambda text: completion(message)
    with pytest.raises(AnswerError, match=f"^{why}"):
        ask(endpoint(), "a")


@pytest.mark.parametrize("kind", [{"type": "function"}, {}, {"type": None}])
@pytest.mark.parametrize(
    ("arguments", "read"),
    [
        ('{"a": 1}', {"a": 1}),
        ({"a": 1}, {"a": 1}),
        (json.dumps('{"a": 1}'), {"a": 1}),
        ({}, {}),
        ("{}", {}),
        (None, {}),
    ],
)
def test_a_tool_call_is_read_in_each_form_that_servers_write(
    kind: dict[str, Any], arguments: Any, read: dict[str, Any], server: ChatServer, endpoint: Callable[..., Any]
) -> None:
    call = {"id": "c", **kind, "function": {"name": "crop_video", "arguments": arguments}}
    content = [THINKING, {"type": "text", "text": "I look."}]
    server.script = lambda text: completion({"content": content, "tool_calls": [call]})
    message = asyncio.run(endpoint().chat("teacher", [{"role": "user", "content": "?"}], []))
    assert [(call["name"], json.loads(call["arguments"])) for call in message["calls"]] == [("crop_video", read)]
    assert (message["content"], message["reasoning"]) == ("I look.", "Hm.")


def test_a_reply_that_does_not_fit_is_asked_for_again_with_what_was_wrong(
    server: ChatServer, endpoint: Callable[..., Any]
) -> None:
    replies = iter(["Sure!", '{"echo": 5}'])
    server.script = lambda text: next(replies, '```json\n{"echo": "fits"}\n```')
    asked = endpoint()
    assert ask(asked, "a") == ["fits"]
    assert server.texts[0] == "a"
    assert "reply is not JSON" in server.texts[1]
    assert "$.echo" in server.texts[2]
    assert "5 is not of type 'string'" in server.texts[2]
    assert [(body["temperature"], body["seed"]) for body in server.bodies] == [(0.0, 0), (0.7, 1), (0.7, 2)]
    assert asked.usage()["text"].paid == 3
    assert ask(asked, "a") == ["fits"]
    assert len(server.bodies) == 3
