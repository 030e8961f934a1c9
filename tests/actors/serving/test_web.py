"""The HTTP face of the agent on a real server, with a scripted policy and a real video."""

import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from actors.serving.ask import AskError, ask
from env.task import Task
from tests.actors.serving.conftest import Sleeper

MARK = "rectangle:t=1,x=0.3,y=0.3,w=0.3,h=0.3"


def question(**changes: Any) -> dict[str, Any]:
    body = {"video": "clips/shapes.mp4", "mark": MARK, "question": "What colour is it?", **changes}
    return {name: value for name, value in body.items() if value is not None}


def test_the_episode_streams_as_json_lines_to_its_answer(client: httpx.Client) -> None:
    with client.stream("POST", "/v1/ask", json=question()) as response:
        assert response.status_code == 200
        events = [json.loads(line) for line in response.iter_lines()]
    kinds = [event["type"] for event in events]
    assert kinds == ["start", "look", "turn", "observation", "turn", "observation", "turn", "answer"]
    assert events[-1]["answer"] == "red"
    assert events[2]["calls"][0]["name"] == "view_visual_prompt"
    assert events[2]["thought"] == "Look."
    times = [frame["time_s"] for frame in events[5]["frames"]]
    assert times == sorted(times)
    assert all(2.0 <= time_s <= 4.5 for time_s in times)


def test_thumbnails_are_small_pictures(client: httpx.Client) -> None:
    body = client.post("/v1/ask?stream=false&thumbnails=true", json=question()).json()
    pictures = [body["events"][0]["image"], *(frame["image"] for frame in body["events"][1]["frames"])]
    assert all(picture.startswith("data:image/jpeg;base64,") for picture in pictures)
    assert max(map(len, pictures)) < 100_000


def test_without_a_stream_the_answer_is_one_object(client: httpx.Client) -> None:
    body = client.post("/v1/ask?stream=false", json=question()).json()
    assert (body["answer"], body["stop"]) == ("red", "answer")
    assert [event["type"] for event in body["events"]][-1] == "answer"


def test_an_uploaded_video_is_answered_and_removed(client: httpx.Client, task: Task, requests_folder: Path) -> None:
    fields = {"mark": MARK, "question": "What colour is it?"}
    with open(task.video, "rb") as video:
        response = client.post("/v1/ask?stream=false", data=fields, files={"video": ("mine.mp4", video)})
    assert response.json()["answer"] == "red"
    assert list(requests_folder.glob("videoseeker-*")) == []


def test_a_choice_question_carries_its_options(client: httpx.Client) -> None:
    response = client.post("/v1/ask?stream=false", json=question(options=["red", "blue"]))
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"video": "../outside/secret.mp4"}, 403, "outside of the folder"),
        ({"video": "/etc/passwd"}, 403, "outside of the folder"),
        ({"video": "link.mp4"}, 403, "outside of the folder"),
        ({"video": "missing.mp4"}, 404, "no file 'missing.mp4'"),
        ({"video": "clips"}, 404, "no file 'clips'"),
        ({"video": "a\0b"}, 422, "not a path"),
        ({"video": "loop.mp4"}, 422, "not a path"),
        ({"video": "notes.mp4"}, 422, "video: "),
        ({"video": None}, 422, "name a file"),
        ({"video": 7}, 422, "name a file"),
        ({"mark": None}, 422, "mark: missing"),
        ({"mark": "rectangle:t=900,x=1,y=1,w=2,h=2"}, 422, "outside of the video"),
        ({"mark": "blob:t=1,x=1,y=1"}, 422, "no kind 'blob'"),
        ({"question": "  "}, 422, "question: "),
        ({"question": "x" * 5000}, 422, "more than the 2000 allowed"),
        ({"options": ["one"]}, 422, "give 2 to 26"),
        ({"options": "red or blue"}, 422, "not a list of texts"),
        ({"temperature": 1}, 422, "unknown field 'temperature'"),
    ],
)
def test_a_bad_question_is_one_sentence(
    client: httpx.Client, changes: dict[str, Any], status: int, said: str, requests_folder: Path
) -> None:
    response = client.post("/v1/ask", json=question(**changes))
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert said in response.json()["error"]
    assert "\n" not in response.json()["error"]
    assert list(requests_folder.glob("videoseeker-*")) == []


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "not valid JSON"),
        ({"content": b"[]", "headers": {"content-type": "application/json"}}, 400, "not a JSON object"),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "neither application/json nor"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, ""),
        ({"json": {"question": "x" * 2_000_000}}, 413, "at most 1 MiB"),
        ({"files": {"video": ("big.mp4", b"\0" * 1_500_000)}}, 413, "an uploaded video may have at most 1 MiB"),
        ({"files": {"video": ("no.mp4", b"no video")}, "data": {"mark": MARK, "question": "?"}}, 422, "video: "),
        ({"data": {"mark": MARK}, "files": {"question": ("a.txt", b"x")}}, 422, "video: missing"),
    ],
)
def test_a_bad_request_is_one_sentence(client: httpx.Client, request_: dict[str, Any], status: int, said: str) -> None:
    response = client.post("/v1/ask", **request_)
    assert response.status_code == status
    assert said in response.json()["error"]


def test_the_other_ways_to_ask_wrongly(client: httpx.Client) -> None:
    assert client.get("/v1/ask").status_code == 405
    assert "error" in client.get("/nowhere").json()
    assert client.post("/v1/ask?stream=maybe", json=question()).json()["error"].startswith("stream: ")


def test_a_missed_deadline_is_told_and_ends_the_episode(client: httpx.Client) -> None:
    Sleeper.cancelled.clear()
    body = question(question="slow?")
    assert client.post("/v1/ask?stream=false", json=body).status_code == 504
    assert Sleeper.cancelled.wait(10)
    last = client.post("/v1/ask", json=body).text.splitlines()[-1]
    assert json.loads(last)["type"] == "error"
    assert "deadline" in json.loads(last)["error"]


def test_a_client_that_leaves_ends_its_episode(client: httpx.Client, requests_folder: Path) -> None:
    Sleeper.cancelled.clear()
    with client.stream("POST", "/v1/ask", json=question(question="endless?")) as response:
        next(line for line in response.iter_lines() if json.loads(line)["type"] == "look")
    assert Sleeper.cancelled.wait(20)
    for _ in range(100):
        if not list(requests_folder.glob("videoseeker-*")):
            return
        time.sleep(0.1)
    raise AssertionError("the request's folder was left behind")


def test_videos_under_the_root_are_listed_and_played_in_ranges(client: httpx.Client) -> None:
    listed = client.get("/v1/videos").json()["videos"]
    assert "clips/shapes.mp4" in listed
    response = client.get("/v1/videos/clips/shapes.mp4", headers={"range": "bytes=0-99"})
    assert (response.status_code, len(response.content)) == (206, 100)
    assert client.get("/v1/videos/link.mp4").status_code == 403
    assert client.get("/v1/videos/..%2f..%2fetc%2fpasswd").status_code in (403, 404)


def test_the_page_is_self_contained(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text.replace("http://www.w3.org/", "")
    assert "https://" not in page.text


def test_health_names_the_model(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "model": "scripted"}


def printed(server: str, video: str, mark: str = MARK, text: str = "What colour is it?") -> tuple[str | None, str]:
    console = Console(record=True, width=100, force_terminal=False)
    with console.capture() as capture:
        answer = ask(server, video, mark, text, (), console)
    return answer, capture.get()


@pytest.mark.parametrize("upload", [True, False])
def test_ask_prints_the_episode(server: str, task: Task, upload: bool) -> None:
    answer, text = printed(server, task.video if upload else "clips/shapes.mp4")
    assert answer == "red"
    assert "view_visual_prompt(frame='frame_1')" in text
    assert "answer  red" in text


@pytest.mark.parametrize(
    ("video", "text", "said"),
    [("missing.mp4", "?", "no file 'missing.mp4'"), ("clips/shapes.mp4", "slow?", "deadline")],
)
def test_ask_says_why_there_is_no_answer(server: str, video: str, text: str, said: str) -> None:
    with pytest.raises(AskError, match=said):
        printed(server, video, text=text)


def test_ask_says_that_no_server_is_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(AskError, match="no server answers there"):
            printed(f"http://127.0.0.1:{free.getsockname()[1]}", "x.mp4")
