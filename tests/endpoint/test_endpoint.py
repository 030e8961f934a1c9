"""The endpoint against a real server: what it asks, what it keeps, what it pays, how it fails."""

import asyncio
import dataclasses
import io
import json
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import httpx
import numpy as np
import openai
import pytest
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from PIL import Image as Picture

from configs.endpoint import EndpointConfig
from endpoint import server as server_module
from endpoint.endpoint import TRIES, AnswerError, BudgetError, Endpoint, EndpointError
from endpoint.parts import Clip, Image, Part, PartError
from endpoint.server import PLAIN, busy_s
from endpoint.spending import Usage, requests, spent
from tests.servers.chat_server import ChatServer, chat_server
from tests.servers.processes import ROOT, free_port

SCHEMA = {
    "type": "object",
    "properties": {"echo": {"type": "string"}},
    "required": ["echo"],
    "additionalProperties": False,
}
PRICES = {"usd_per_million_input": 1000.0, "usd_per_million_output": 10_000.0}
"""Of the test server's replies, each costs 0.2 US dollars."""
PROCESS = """
import asyncio, json, sys
from configs.synth import EndpointConfig
from endpoint.endpoint import Endpoint

url, folder, schema, *texts = sys.argv[1:]

async def main():
    endpoint = Endpoint(EndpointConfig(base_url=url, model="m", usd_per_million_input=1000.0), folder, "m")
    for text in texts:
        await endpoint.ask("text", "You repeat.", [text], json.loads(schema))
        print(text, flush=True)

asyncio.run(main())
"""


def completion(message: dict[str, Any]) -> JSONResponse:
    """A reply whose message is this, however odd."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    return JSONResponse({"id": "0", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]})


def jpeg(pixels: np.ndarray) -> Image:
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, "JPEG")
    return Image(buffer.getvalue())


@pytest.fixture(scope="module")
def running() -> Iterator[ChatServer]:
    with chat_server() as server:
        yield server


@pytest.fixture
def server(running: ChatServer) -> ChatServer:
    fresh = type(running)()
    running.__dict__.update({**fresh.__dict__, "url": running.url})
    return running


@pytest.fixture
def endpoint(server: ChatServer, tmp_path: Path) -> Callable[..., Any]:
    """Makes an endpoint on the test's folder, of a config that differs as told."""
    return lambda **changes: Endpoint(
        dataclasses.replace(EndpointConfig(base_url=server.url, model="m", timeout_s=20, retries=4), **changes),
        tmp_path,
        "synth.text_model",
    )


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


def test_a_question_is_put_with_all_that_the_config_says(
    server: ChatServer, endpoint: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", "sesame")
    png = BytesIO()
    Picture.fromarray(np.zeros((4, 6, 3), np.uint8)).save(png, "png")
    asked = endpoint(api_key_env="THE_KEY", seed=3, max_tokens=77, max_tokens_as="max_completion_tokens")
    assert ask_parts(asked, Image(png.getvalue()), jpeg(np.zeros((4, 6, 3), np.uint8)), "What?") == {"echo": "What?"}
    [body] = server.bodies
    system, user = body.pop("messages")
    assert system == {"role": "system", "content": "You repeat."}
    assert [part["type"] for part in user["content"]] == ["image_url", "image_url", "text"]
    urls = [part["image_url"]["url"].split(",")[0] for part in user["content"][:2]]
    assert urls == ["data:image/png;base64", "data:image/jpeg;base64"]
    assert body == {
        "model": "m",
        "temperature": 0.0,
        "seed": 3,
        "max_completion_tokens": 77,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
        },
    }
    assert server.keys == {"Bearer sesame"}


def test_without_a_key_the_one_that_local_servers_take_is_sent(
    server: ChatServer, endpoint: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    ask(endpoint(temperature=None), "a")
    assert server.keys == {"Bearer EMPTY"}
    assert "temperature" not in server.bodies[0]


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
        (429, {"retry-after": "-1"}, 0, 0.0),
        (429, {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0, 0.0),
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


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (("no", "stop"), "reply is not JSON"),
        (('{"echo": "and so', "length"), "reply cut off after 2048 tokens"),
        (("{" + "\n" * 99, "length"), "reply cut off after 2048 tokens"),
        (('{"echo": "\\ud800"}', "stop"), "reply holds half a character"),
        (('["a"]', "stop"), "reply is not a JSON object"),
        (('{"echo": "a", "more": 1}', "stop"), r"reply does not fit the schema at \$"),
    ],
)
def test_an_answer_that_never_fits_is_an_error_that_can_be_counted_and_is_never_kept(
    reply: tuple[str, str], said: str, server: ChatServer, endpoint: Callable[..., Any]
) -> None:
    server.script = lambda text: reply
    for times in (1, 2):
        with pytest.raises(AnswerError, match=f"^{said}$"):
            ask(endpoint(), "a")
        assert len(server.bodies) == times * TRIES
    server.script = lambda text: '{"echo": "fits"}'
    assert ask(endpoint(), "a") == ["fits"]


def test_limits_of_texts_are_told_to_the_server_unless_it_takes_none_and_hold_either_way(
    server: ChatServer, endpoint: Callable[..., Any]
) -> None:
    schema = {**SCHEMA, "properties": {"echo": {"type": "string", "maxLength": 9}}}
    server.script = lambda text: json.dumps({"echo": "short" if text == "a" else "far too long"})
    for limits in (True, False):
        asked = endpoint(schema_limits=limits, seed=int(limits))
        assert ask_parts(asked, "a", schema=schema) == {"echo": "short"}
        told = server.bodies[-1]["response_format"]["json_schema"]["schema"]
        assert told["properties"]["echo"] == ({"type": "string", "maxLength": 9} if limits else {"type": "string"})
        with pytest.raises(AnswerError, match=r"does not fit the schema at \$\.echo"):
            ask_parts(asked, "b", schema=schema)


def test_who_declines_is_not_asked_again(server: ChatServer, endpoint: Callable[..., Any]) -> None:
    server.script = lambda text: ("", "content_filter")
    with pytest.raises(AnswerError, match=r"^declined by the model$"):
        ask(endpoint(), "a")
    assert len(server.bodies) == 1


def test_an_answer_is_found_again_by_another_endpoint(server: ChatServer, endpoint: Callable[..., Any]) -> None:
    assert ask(endpoint(), "a", "b") == ["a", "b"]
    again = endpoint()
    assert ask(again, "b", "a") == ["b", "a"]
    assert len(server.bodies) == 2
    assert again.usage()["text"] == Usage(paid=2, cached=2, prompt_tokens=200, completion_tokens=20)


@pytest.mark.process
def test_a_killed_process_leaves_its_answers_and_its_bill(
    server: ChatServer, endpoint: Callable[..., Any], tmp_path: Path
) -> None:
    server.script = lambda text: None if text == "never" else json.dumps({"echo": text})
    command = [sys.executable, "-c", PROCESS, server.url, str(tmp_path), json.dumps(SCHEMA), "a", "b", "never"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["a\n", "b\n"]
        process.send_signal(signal.SIGKILL)
    server.bodies.clear()
    asked = endpoint()
    assert ask(asked, "a", "b") == ["a", "b"]
    assert not server.bodies
    assert asked.usage()["text"].paid == 2


def test_a_request_whose_answer_was_lost_is_spent_twice_and_counts_once(
    server: ChatServer, endpoint: Callable[..., Any], tmp_path: Path
) -> None:
    for _ in range(2):
        replies = iter(["Sure!"])
        server.script = lambda text, replies=replies: next(replies, '{"echo": "a"}')  # type: ignore[misc]
        ask(endpoint(**PRICES), "a")
        shutil.rmtree(tmp_path / "answers")
    assert requests(tmp_path / "spending") == {("text", "m"): Usage(paid=2, prompt_tokens=200, completion_tokens=20)}
    assert spent(tmp_path / "spending") == Usage(paid=4, prompt_tokens=400, completion_tokens=40, usd=0.8)


def test_who_asked_no_model_spent_nothing(tmp_path: Path) -> None:
    assert spent(tmp_path / "spending") == Usage()
    assert not requests(tmp_path / "spending")


@pytest.mark.process
def test_processes_share_one_bill(server: ChatServer, endpoint: Callable[..., Any], tmp_path: Path) -> None:
    watching = endpoint(usd_per_million_input=1000.0, budget_usd=1.0)
    sets = [[f"{name}{i}" for i in range(6)] for name in "xy"]
    commands = [
        [sys.executable, "-c", PROCESS, server.url, str(tmp_path), json.dumps(SCHEMA), *texts] for texts in sets
    ]
    processes = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for command in commands]
    assert [process.wait(300) for process in processes] == [0, 0]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    total = watching.usage()["text"]
    assert (total.paid, total.prompt_tokens, total.usd) == (12, 1200, pytest.approx(1.2))
    with pytest.raises(BudgetError):
        ask(watching, "one more")
    assert ask(watching, "x3", "y5") == ["x3", "y5"]
    assert len(server.bodies) == 12


def test_a_spent_budget_stops_before_the_request(server: ChatServer, endpoint: Callable[..., Any]) -> None:
    asked = endpoint(budget_usd=0.5, **PRICES)
    assert ask(asked, "a", what="text") == ["a"]
    assert ask(asked, "b", what="video") == ["b"]
    assert ask(asked, "c", what="video") == ["c"]
    for late in (asked, endpoint(budget_usd=0.5, **PRICES)):
        with pytest.raises(BudgetError, match=r"0\.60 of 0\.50 US dollars are spent") as raised:
            ask(late, "d")
        assert "\n" not in str(raised.value)
    assert len(server.bodies) == 3
    assert {what: usage.usd for what, usage in asked.usage().items()} == pytest.approx({"text": 0.2, "video": 0.4})
    assert ask(endpoint(budget_usd=1.0, **PRICES), "d") == ["d"]


def test_a_budget_needs_a_server_that_counts_tokens(server: ChatServer, endpoint: Callable[..., Any]) -> None:
    server.tokens = None
    assert ask(endpoint(), "a") == ["a"]
    with pytest.raises(EndpointError, match="how many tokens"):
        ask(endpoint(budget_usd=1.0, **PRICES), "b")


def test_a_torn_line_of_the_bill_spoils_no_other(endpoint: Callable[..., Any], tmp_path: Path) -> None:
    ask(endpoint(), "a")
    [log] = (tmp_path / "spending").glob("*.jsonl")
    log.write_bytes(log.read_bytes() + b'{"what": "te')
    asked = endpoint()
    ask(asked, "b")
    assert asked.usage()["text"].paid == 2


def test_a_torn_answer_is_asked_for_again(server: ChatServer, endpoint: Callable[..., Any], tmp_path: Path) -> None:
    ask(endpoint(), "a")
    [log] = (tmp_path / "answers").iterdir()
    whole = log.read_bytes()
    for torn in (whole[:-3], whole[:70], whole[:30], b"", b"\0" * len(whole)):
        log.write_bytes(torn)
        before = len(server.bodies)
        assert ask(endpoint(), "a") == ["a"]
        assert len(server.bodies) == before + 1
        assert log.read_bytes().endswith(whole)
        assert ask(endpoint(), "a") == ["a"]
        assert len(server.bodies) == before + 1


def test_equal_questions_in_flight_are_asked_once(server: ChatServer, endpoint: Callable[..., Any]) -> None:
    server.think_s = 0.1
    asked = endpoint()
    assert ask(asked, *"aabaab") == list("aabaab")
    assert Counter(server.texts) == {"a": 1, "b": 1}
    assert asked.usage()["text"] == Usage(paid=2, cached=4, prompt_tokens=200, completion_tokens=20)


def test_equal_questions_of_several_threads_are_asked_once(server: ChatServer, endpoint: Callable[..., Any]) -> None:
    server.think_s = 0.2
    asked, answers = endpoint(), []
    threads = [threading.Thread(target=lambda: answers.extend(ask(asked, "a"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (answers, server.texts) == (["a", "a", "a"], ["a"])


def test_who_waits_for_another_s_answer_outlives_it(server: ChatServer, endpoint: Callable[..., Any]) -> None:
    replies = iter([None])
    server.script = lambda text: next(replies, json.dumps({"echo": text}))
    asked = endpoint()

    async def first_is_cancelled() -> Any:
        questions = [asyncio.create_task(asked.ask("text", "You repeat.", ["a"], SCHEMA)) for _ in range(3)]
        while not server.bodies:
            await asyncio.sleep(0.01)
        questions[0].cancel()
        return await asyncio.gather(*questions, return_exceptions=True)

    cancelled, *answers = asyncio.run(first_is_cancelled())
    assert isinstance(cancelled, asyncio.CancelledError)
    assert answers == [{"echo": "a"}] * 2
    assert len(server.bodies) == 2


def test_no_more_requests_are_out_at_once_than_allowed(server: ChatServer, endpoint: Callable[..., Any]) -> None:
    server.think_s = 0.02
    replies = iter([500, 429] * 4)
    server.script = lambda text: next(replies, json.dumps({"echo": text}))
    texts = [str(i) for i in range(30)]
    assert ask(endpoint(concurrency=3), *texts) == texts
    assert 1 < server.most_at_once <= 3


def test_all_that_decides_an_answer_asks_anew(server: ChatServer, endpoint: Callable[..., Any]) -> None:
    dark, light = (jpeg(np.full((8, 8, 3), value, np.uint8)) for value in (0, 200))
    for _ in range(2):
        ask_parts(endpoint(), dark, "a")
        ask_parts(endpoint(), light, "a")
        ask_parts(endpoint(), "a", dark)
        ask_parts(endpoint(), dark, "a", system="You echo.")
        ask_parts(endpoint(), dark, "a", schema={**SCHEMA, "description": "another"})
        for change in ({"model": "n"}, {"seed": 1}, {"temperature": 0.5}, {"max_tokens": 9}):
            ask_parts(endpoint(**change), dark, "a")
        assert len(server.bodies) == 9


def test_a_clip_that_is_gone_is_the_video_s_fault(
    server: ChatServer, endpoint: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(PartError, match=r"gone\.mp4: cannot be read"):
        ask_parts(endpoint(), Clip(str(tmp_path / "gone.mp4")), "a")
    assert not server.bodies


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": ""}, "synth.text_model.model: is empty"),
        ({"base_url": "localhost:8000"}, "synth.text_model.base_url: 'localhost:8000'"),
        ({"concurrency": 0}, "synth.text_model.concurrency must be at least 1, not 0"),
        ({"timeout_s": 0.0}, "synth.text_model.timeout_s must be more than 0"),
        ({"budget_usd": 1.0}, "synth.text_model.budget_usd"),
    ],
)
def test_settings_that_make_no_sense_are_told_by_name(
    changes: dict[str, Any], said: str, endpoint: Callable[..., Any]
) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        endpoint(**changes)


def test_a_folder_that_cannot_be_one_is_told(server: ChatServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EndpointError, match="file: answers cannot be kept there"):
        Endpoint(EndpointConfig(base_url=server.url, model="m"), tmp_path / "file", "m")
