"""The endpoint against a real server: what it asks, what it keeps, what it pays."""

import asyncio
import io
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from configs.endpoint import EndpointConfig
from endpoint.endpoint import TRIES, AnswerError, BudgetError, Endpoint, EndpointError
from endpoint.parts import Clip, Image, PartError
from endpoint.spending import Usage, requests, spent
from tests.endpoint.asking import SCHEMA, ask, ask_parts
from tests.servers.chat_server import ChatServer
from tests.servers.processes import ROOT

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


def jpeg(pixels: np.ndarray) -> Image:
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, "JPEG")
    return Image(buffer.getvalue())


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
