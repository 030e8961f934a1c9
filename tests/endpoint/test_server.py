"""A server that fails, refuses, is busy, silent or another: what is tried again, waited for, blamed and told."""

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import httpx
import openai
import pytest
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse

from configs.endpoint import EndpointConfig
from endpoint import server as server_module
from endpoint.endpoint import AnswerError, Endpoint, EndpointError
from endpoint.server import PLAIN, busy_s
from endpoint.spending import Usage
from tests.endpoint.asking import ask
from tests.servers.chat_server import ChatServer
from tests.servers.processes import free_port


def test_passing_failures_are_retried_and_cost_nothing(server: ChatServer, endpoint: Callable[..., Any]) -> None:
    replies = iter([500, 429, 503, 409])
    server.script = lambda text: next(replies, '{"echo": "at last"}')
    asked = endpoint()
    assert ask(asked, "a") == ["at last"]
    assert len(server.bodies) == 5
    assert asked.usage() == {"text": Usage(paid=1, prompt_tokens=100, completion_tokens=10)}


@pytest.mark.parametrize(("status", "requests"), [(401, 1), (403, 1), (404, 1), (429, 1), (500, 4), (400, 2)])
def test_a_server_that_refuses_everything_stops_the_run_in_one_sentence(
    status: int, requests: int, server: ChatServer, endpoint: Callable[..., Any]
) -> None:
    server.script = lambda text: status
    with pytest.raises(EndpointError) as raised:
        ask(endpoint(retries=1, busy_wait_s=0.0), "a")
    assert len(server.bodies) == requests
    assert str(raised.value).startswith(f"{server.url}: ")
    assert f"({status}: no luck today)" in str(raised.value)


@pytest.mark.parametrize(
    ("status", "headers", "number", "seconds"),
    [
        (429, {"retry-after": "150"}, 0, 150.0),
        (429, {"retry-after-ms": "100", "retry-after": "1"}, 3, 0.1),
        (503, {"retry-after": "0.3"}, 0, 0.3),
        (503, {}, 0, None),
        (500, {"retry-after": "1"}, 0, None),
        (429, {}, 0, 0.5),
        (429, {}, 3, 4.0),
        (429, {"retry-after": "soon"}, 50, 30.0),
        (429, {"retry-after": "-1"}, 0, 0.5),
        (429, {"retry-after": "0"}, 2, 2.0),
        (429, {"retry-after": "nan"}, 0, 0.5),
        (429, {"retry-after": "inf"}, 0, 0.5),
        (429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0, 0.5),
        (503, {"retry-after": "0"}, 0, None),
    ],
)
def test_a_busy_server_is_waited_for_as_it_asks(
    status: int, headers: dict[str, str], number: int, seconds: float | None
) -> None:
    response = httpx.Response(status, headers=headers, request=httpx.Request("POST", "http://server"))
    assert busy_s(openai.APIStatusError("busy", response=cast(Any, response), body=None), number) == seconds


@pytest.mark.parametrize("headers", [{}, {"retry-after": "150"}, {"retry-after": "Wed, 21 Oct 2099 07:28:00 GMT"}])
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_for_too_long_is_told(
    status: int, headers: dict[str, str], server: ChatServer, endpoint: Callable[..., Any]
) -> None:
    server.script = lambda text: JSONResponse({"error": {"message": "slow down"}}, status, headers)
    said = "is busy" if status == 429 or headers else "fails"
    with pytest.raises(EndpointError, match=rf"{said} \({status}: slow down\)"):
        ask(endpoint(busy_wait_s=0.2, retries=0), "a")


def test_a_busy_server_that_comes_round_answers_without_a_retry_spent(
    server: ChatServer, endpoint: Callable[..., Any]
) -> None:
    replies = iter([JSONResponse({}, 429, {"retry-after-ms": "1"}) for _ in range(20)])
    server.script = lambda text: next(replies, '{"echo": "at last"}')
    assert ask(endpoint(retries=0), "a") == ["at last"]
    assert len(server.bodies) == 21


def test_a_spent_quota_is_not_waited_for(server: ChatServer, endpoint: Callable[..., Any]) -> None:
    error = {"message": "You exceeded your quota", "code": "insufficient_quota"}
    server.script = lambda text: JSONResponse({"error": error}, 429)
    with pytest.raises(EndpointError, match=r"refuses \(429: You exceeded your quota\)"):
        ask(endpoint(), "a")
    assert len(server.bodies) == 1


CHOICE = {"index": 0, "finish_reason": "error", "message": {"role": "assistant", "content": ""}}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"message": "Provider returned error", "code": 502}}, 502),
        ({"error": {"message": "Rate limited upstream", "code": "529"}}, 529),
        ({"error": {"message": "it broke", "code": "server_error"}}, 502),
        ({"error": "it broke"}, 502),
        ({"error": {"message": "odd", "code": "\u00b2"}}, 502),
        ({"error": None, "choices": []}, 502),
        ({"choices": [{**CHOICE, "error": {"code": 504, "message": "Upstream error"}}]}, 504),
        ({"choices": [CHOICE]}, 502),
    ],
)
def test_a_failure_inside_a_reply_is_one_like_any_other(
    body: dict[str, Any], status: int, server: ChatServer, endpoint: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    replies = iter([JSONResponse(body), JSONResponse(body)])
    server.script = lambda text: next(replies, '{"echo": "good"}')
    asked = endpoint(retries=2)
    assert ask(asked, "a") == ["good"]
    assert asked.usage()["text"].paid == 1
    server.script = lambda text: JSONResponse(body)
    with pytest.raises(EndpointError, match=rf"fails \({status}: "):
        ask(endpoint(retries=0, busy_wait_s=0.0), "b")


def test_a_server_that_is_not_there_stops_the_run(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(EndpointError, match=rf"^{url}: cannot be reached \(.+\)"):
        ask(Endpoint(EndpointConfig(base_url=url, model="m", retries=0), tmp_path, "m"), "a")


def test_a_silent_server_stops_the_run_at_the_deadline(server: ChatServer, endpoint: Callable[..., Any]) -> None:
    server.script = lambda text: None
    with pytest.raises(EndpointError, match="is silent"):
        ask(endpoint(timeout_s=0.2, retries=0), "a")


def test_a_server_that_only_drips_does_too(
    server: ChatServer, endpoint: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "MAX_BACKOFF_S", 0.1)

    async def drops() -> AsyncIterator[Any]:
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    server.script = lambda text: StreamingResponse(drops(), media_type="application/json")
    with pytest.raises(EndpointError, match="is silent"):
        ask(endpoint(timeout_s=0.3, retries=0), "a")


@pytest.mark.parametrize("page", [HTMLResponse("<h1>Welcome</h1>"), HTMLResponse("{", media_type="application/json")])
def test_an_address_where_something_else_lives_is_told(
    page: HTMLResponse, server: ChatServer, endpoint: Callable[..., Any]
) -> None:
    server.script = lambda text: page
    with pytest.raises(EndpointError, match="no chat completion; is the address right"):
        ask(endpoint(), "a")


@pytest.mark.parametrize(
    ("reply", "said"),
    [(400, "turned down by the server"), (500, "failed by the server"), (None, "not answered in time")],
)
def test_a_question_that_the_server_cannot_take_is_given_up_alone(
    reply: int | None, said: str, server: ChatServer, endpoint: Callable[..., Any]
) -> None:
    server.script = lambda text: reply if text == "poison" else json.dumps({"echo": text})
    asked = endpoint(timeout_s=1.0, retries=0)
    assert ask(asked, "a") == ["a"]
    with pytest.raises(AnswerError, match=f"^{said}$") as raised:
        ask(asked, "poison")
    assert raised.value.detail
    assert pickle.loads(pickle.dumps(raised.value)).detail == raised.value.detail
    assert server.texts.count(PLAIN) == 1
    assert ask(asked, "b") == ["b"]


def test_text_that_no_request_can_carry_is_given_up_alone(endpoint: Callable[..., Any]) -> None:
    with pytest.raises(AnswerError, match=r"^turned down by the server$"):
        ask(endpoint(), "half a pair: \ud83d")
