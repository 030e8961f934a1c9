"""The chat API of the served agent, asked by OpenAI's own client, in the shapes in which harnesses ask."""

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from actors.serving.chat_question import read_question
from actors.serving.chat_request import read_task
from actors.serving.question import RequestError
from env.task import Task
from tests.actors.serving.conftest import asked
from tests.films import movies
from tools.decoding.video import open_video

CHOICE = (
    "Select the best answer to the following multiple-choice question based on the video. Respond with only the letter "
    "(A, B, C, or D) of the correct option.\nWhat colour is the marked one?\nA. blue.\nB. red.\nC. green.\nD. white.\n"
    "The best answer is:"
)
"""As lmms-eval asks Video-MME's questions."""


@pytest.fixture
def agent(server: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0, timeout=30)


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def picture(index: int, kind: str = "JPEG") -> dict[str, Any]:
    held = io.BytesIO()
    Image.fromarray(movies.picture(index, 96, 64)).save(held, kind)
    url = f"data:image/{kind.lower()};base64,{base64.b64encode(held.getvalue()).decode()}"
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def film(path: str | Path) -> dict[str, Any]:
    url = f"data:video/mp4;base64,{base64.b64encode(Path(path).read_bytes()).decode()}"
    return {"type": "video_url", "video_url": {"url": url}}


def named(video: str = "clips/shapes.mp4") -> dict[str, Any]:
    return {"type": "video_url", "video_url": {"url": video}}


def user(*parts: dict[str, Any]) -> list[Any]:
    return [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": list(parts)}]


def test_the_answer_is_the_message_and_what_was_thought_and_called_is_its_reasoning(
    agent: openai.OpenAI, task: Task, requests_folder: Path
) -> None:
    reply = agent.chat.completions.create(
        model="videoseeker",
        messages=user(film(task.video), text("What colour is it?")),
        temperature=0,
        max_tokens=16,
        extra_body={"mark": "rectangle:t=1,x=0.3,y=0.3,w=0.3,h=0.3"},
    )
    [choice] = reply.choices
    assert (choice.message.content, choice.finish_reason) == ("red", "stop")
    thoughts = choice.message.model_dump()["reasoning_content"]
    assert thoughts.startswith("Look.\n[view_visual_prompt(")
    assert "\n[crop_video(" in thoughts
    assert reply.usage is not None
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 100
    assert asked[-1].question == "What colour is it?"
    assert asked[-1].visual_prompts[0].kind == "rectangle"
    assert list(requests_folder.glob("videoseeker-*")) == []
    assert [model.id for model in agent.models.list()] == ["videoseeker"]


def test_a_stream_gives_the_reasoning_as_it_comes_and_then_the_answer(agent: openai.OpenAI) -> None:
    stream = agent.chat.completions.create(
        model="any",
        messages=user(named(), text("What colour is it?")),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    deltas = [chunk.choices[0].delta.model_dump(exclude_none=True) for chunk in chunks if chunk.choices]
    assert deltas[0]["role"] == "assistant"
    kinds = ["".join(set(delta) & {"content", "reasoning_content"}) for delta in deltas[1:-1]]
    assert kinds == ["reasoning_content"] * (len(kinds) - 1) + ["content"]
    assert deltas[-2]["content"] == "red"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage is not None


def test_frames_are_a_film_and_options_in_the_text_make_it_a_choice_answered_by_its_letter(
    agent: openai.OpenAI,
) -> None:
    frames = [picture(i) for i in range(0, 160, 10)]
    reply = agent.chat.completions.create(model="any", messages=user(*frames, text(CHOICE)), extra_body={"fps": 2})
    assert reply.choices[0].message.content == "B", "the agent says red"
    assert asked[-1].options == ("blue.", "red.", "green.", "white.")
    assert asked[-1].question == "What colour is the marked one?"


def test_frames_last_as_long_as_their_rate_says(tmp_path: Path) -> None:
    frames = user(*[picture(i, "PNG") for i in range(8)], text("What is it?"))
    for fps, seconds in ((None, 8.0), (4, 2.0)):
        folder = tmp_path / str(fps)
        folder.mkdir()
        task = read_task({"messages": frames, "fps": fps or 1.0}, tmp_path, folder, 30.0)
        assert open_video(task.video).duration_s == pytest.approx(seconds)
        assert task.visual_prompts == ()


def test_pictures_beside_a_film_are_frames_on_which_the_target_is_marked(agent: openai.OpenAI) -> None:
    agent.chat.completions.create(
        model="any", messages=user(picture(1), named("file://clips/shapes.mp4"), picture(2, "PNG"), text("Who is it?"))
    )
    marked = asked[-1].visual_prompts
    assert [prompt.time_s for prompt in marked] == [None, None]
    assert [Path(prompt.image).suffix for prompt in marked] == [".jpg", ".png"]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"messages": []}, 422, "with a message of the user"),
        ({"messages": "Who?"}, 422, "with a message of the user"),
        ({"messages": [{"role": "user", "content": "Who?"}]}, 422, "neither a film"),
        ({"messages": user(named())}, 422, "no question"),
        ({"messages": user(named(), named(), text("Who?"))}, 422, "one film is asked about, not 2"),
        ({"messages": [*user(named(), text("Who?")), {"role": "assistant", "content": "He."}]}, 422, "'assistant'"),
        ({"messages": user(named("https://example.com/film.mp4"), text("Who?"))}, 422, "nothing is fetched"),
        ({"messages": user(named("../outside/secret.mp4"), text("Who?"))}, 403, "outside of the folder"),
        ({"messages": user(named("link.mp4"), text("Who?"))}, 403, "outside of the folder"),
        ({"messages": user(named("notes.mp4"), text("Who?"))}, 422, "video: "),
        ({"messages": user(named("file:///etc/passwd"), text("Who?"))}, 403, "outside of the folder"),
        ({"messages": user({"type": "input_audio"}, text("Who?"))}, 422, "no part of type 'input_audio'"),
        ({"messages": user({"type": "image_url"}, text("Who?"))}, 422, "has no url"),
        ({"messages": user({"type": "image_url", "image_url": "data:image/png;base64,!!"}, text("Q"))}, 422, "base64"),
        (
            {"messages": user({"type": "image_url", "image_url": "data:image/png;base64,AAAA"}, text("Q"))},
            422,
            "not a picture that can be read",
        ),
        ({"messages": user(named(), text("Who?")), "tools": [{"type": "function"}]}, 422, "tools: not supported"),
        ({"messages": user(named(), text("Who?")), "n": 2}, 422, "one answer is given"),
        ({"messages": user(named(), text("Who?")), "response_format": {"type": "json_object"}}, 422, "in text"),
        ({"messages": user(named(), text("Who?")), "mark": {"kind": "star", "t": 1}}, 422, "no kind 'star'"),
        ({"messages": user(named(), text("Who?")), "mark": 3}, 422, "neither a text nor an object"),
        ({"messages": user(picture(1), text("Who?")), "fps": 0}, 422, "fps: give"),
        ({"messages": user(named(), text("x" * 100_001))}, 422, "more than the 100000 allowed"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_the_api_s_own_form(
    server: str, body: Any, status: int, said: str, requests_folder: Path
) -> None:
    reply = httpx.post(f"{server}/v1/chat/completions", json={"model": "any", **body}, timeout=30)
    assert reply.status_code == status, reply.text
    refusal = reply.json()["error"]
    assert said in refusal["message"]
    assert refusal["type"] == "invalid_request_error"
    assert "\n" not in refusal["message"]
    assert str(requests_folder) not in refusal["message"]
    assert list(requests_folder.glob("videoseeker-*")) == []


@pytest.mark.parametrize("sent", [b"{", b"[]", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_object_is_refused(server: str, sent: bytes) -> None:
    reply = httpx.post(f"{server}/v1/chat/completions", content=sent, timeout=30)
    assert reply.status_code == 400
    assert "JSON" in reply.json()["error"]["message"]


def test_a_request_may_be_as_large_as_an_upload(server: str) -> None:
    """The server of these tests takes uploads of 1 MiB, and other JSON of as much."""
    url = f"{server}/v1/chat/completions"
    fits, large = ({"messages": user(named(), text("x" * size))} for size in (1_500_000, 2_200_000))
    assert httpx.post(url, json=fits, timeout=30).status_code == 422
    reply = httpx.post(url, json=large, timeout=30)
    assert reply.status_code == 413
    assert reply.json()["error"]["message"] == "a chat request may have at most 2 MiB"


def test_an_episode_that_does_not_end_in_time_is_an_error_whole_and_streamed(agent: openai.OpenAI) -> None:
    late = user(named(), text("slow?"))
    with pytest.raises(openai.APIStatusError, match="no answer within the deadline") as caught:
        agent.chat.completions.create(model="any", messages=late)
    assert caught.value.status_code == 504
    with pytest.raises(openai.APIError, match="no answer within the deadline"):
        list(agent.chat.completions.create(model="any", messages=late, stream=True))


@pytest.mark.parametrize(
    ("said", "question", "options"),
    [
        ("Who is it?\nA. he\nB. she\nAnswer: ", "Who is it?", ("he", "she")),
        ("Who is it?\nAnswer the question using a single word or phrase.", "Who is it?", None),
        (
            "Question: Who is it?\nOptions:\n(A) he\n(B) she\nPlease select the correct answer.",
            "Who is it?",
            ("he", "she"),
        ),
        ("Who is it?\nA. he\nC. she", "Who is it? A. he C. she", None),
        ("What is it?\nOption A: red\nOption B: blue", "What is it?", ("red", "blue")),
        ("What is it?\na) red\nb) blue", "What is it?", ("red", "blue")),
        ("What is it?\n**A.** red\n\n**B.** blue", "What is it?", ("red", "blue")),
        ("What?\nA. red\nB. blue\nThink step by step; the final letter in \\boxed{}.", "What?", ("red", "blue")),
        ("What?\nA. red\nB. blue\n\nSubtitles:\nhello", "What? Subtitles: hello", ("red", "blue")),
        ("Team A. plays team B. Who wins?", "Team A. plays team B. Who wins?", None),
        ("In part A) he runs and in part B) he walks; what next?", None, None),
        ("It says:\nA: Where are you?\nB: At home.\nQuestion: What does B hold?", None, None),
        ("What is the answer?", "What is the answer?", None),
        ("Answer:", "Answer:", None),
        ("A. red\nB. blue", "A. red\nB. blue", None),
    ],
)
def test_a_question_is_read_out_of_what_harnesses_write(said: str, question: str | None, options: Any) -> None:
    read = read_question(said)
    assert read[1] == options
    assert read[0] == (said if question is None else question)


@pytest.mark.parametrize(
    "said", ["q" + "\n" * 99_000 + "y", "A. x\n" * 20_000, "q\n" + " \n" * 40_000 + "y", "(a)" * 33_000]
)
def test_a_long_text_is_read_in_one_pass(said: str) -> None:
    """One that is read in the square of its length takes minutes, in which nobody else is answered."""
    assert read_question(said)[1] is None


def raw(image: Image.Image, kind: str, **options: Any) -> dict[str, Any]:
    held = io.BytesIO()
    image.save(held, kind, **options)
    encoded = base64.b64encode(held.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/x;base64,{encoded}"}}


def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    large = raw(Image.new("1", (9000, 9000)), "PNG")
    with pytest.raises(RequestError, match="a picture of 81,000,000 pixels is larger than the 33,177,600 allowed"):
        read_task({"messages": user(large, text("Q?"))}, tmp_path, tmp_path, 30.0)


def test_a_picture_with_a_bomb_in_its_text_is_refused(tmp_path: Path) -> None:
    note = PngInfo()
    note.add_text("note", "x" * 3_000_000, zip=True)
    odd = raw(Image.new("L", (8, 8)), "PNG", pnginfo=note)
    with pytest.raises(RequestError, match="not a picture that can be read"):
        read_task({"messages": user(odd, text("Q?"))}, tmp_path, tmp_path, 30.0)


def test_a_damaged_frame_is_told_without_its_place_on_the_machine(server: str, requests_folder: Path) -> None:
    whole = io.BytesIO()
    Image.fromarray(movies.picture(2, 96, 64)).save(whole, "PNG")
    half = base64.b64encode(whole.getvalue()[:-200]).decode()
    torn = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{half}"}}
    for parts in ((picture(1, "PNG"), torn), (torn, picture(1, "PNG")), (torn, named())):
        reply = httpx.post(f"{server}/v1/chat/completions", json={"messages": user(*parts, text("Q?"))}, timeout=30)
        assert reply.status_code == 422, reply.text
        assert str(requests_folder) not in reply.text
        assert "image" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"messages": [{"role": "\ud800", "content": "Q?"}]}, 422),
        ({"messages": user(named("\ud800.mp4"), text("Q?"))}, 422),
        ({"messages": user(named(), text("Q?")), "mark": {"kind": "point", "t": 10**400, "x": 1, "y": 1}}, 422),
        ({"messages": user(named(), text("Q?")), "mark": '{"a":' * 50_000}, 422),
        ({"messages": user(named(), text("Q?")), "mark": {"kind": "\ud800", "t": 1}}, 422),
        ({"messages": user(named(), text("Q?")), "mark": "[1]"}, 422),
        ({"messages": user(named(), text("Q?")), "n": "1"}, 422),
    ],
)
def test_what_is_hardly_text_is_refused_like_anything_else(server: str, body: Any, status: int) -> None:
    reply = httpx.post(f"{server}/v1/chat/completions", content=json.dumps(body), timeout=30)
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]["type"] == "invalid_request_error"


def test_small_differences_of_clients_are_taken(server: str, root: Path) -> None:
    body = {"messages": user(named(f"file://localhost{root}/clips/sh%61pes.mp4"), text("What colour?"))}
    reply = httpx.post(f"{server}/v1/chat/completions", json={**body, "fps": None, "stream": "false"}, timeout=30)
    assert reply.json()["choices"][0]["message"]["content"] == "red"
    assert httpx.get(f"{server}/v1/models/videoseeker", timeout=30).json()["object"] == "model"
    assert "no model 'gpt'" in httpx.get(f"{server}/v1/models/gpt", timeout=30).json()["error"]["message"]


def test_a_client_that_goes_leaves_nothing(server: str, requests_folder: Path) -> None:
    body = {"messages": user(named(), text("endless?"))}
    with pytest.raises(httpx.TimeoutException):
        httpx.post(f"{server}/v1/chat/completions", json=body, timeout=1.0)
    deadline = time.monotonic() + 20
    while list(requests_folder.glob("videoseeker-*")):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_film_that_is_named_lies_in_the_folder_alone(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no file"):
        read_task({"messages": user(named("missing.mp4"), text("Who?"))}, tmp_path, tmp_path, 30.0)
