"""A chat model with tool calls of its own as the teacher, behind a real server."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.responses import JSONResponse

from actors.rollout.chat_policy import ChatPolicy, turn_text
from actors.rollout.loop import play
from configs.endpoint import EndpointConfig
from configs.episode import EpisodeConfig
from endpoint.endpoint import Endpoint
from env.chat import ChatFormat
from env.format import UnknownFormat
from env.task import Task
from env.trajectory import Trajectory
from env.turn import parse_turn
from tests.servers.chat_server import chat_server


def said(content: str = "", reasoning: str = "", *calls: tuple[str, str]) -> Any:
    return {
        "content": content,
        "reasoning": reasoning,
        "calls": [{"name": name, "arguments": arguments} for name, arguments in calls],
    }


@pytest.mark.parametrize(
    ("message", "thought", "call", "answer"),
    [
        (said("I look.", "", ("crop_video", '{"start_time": 1}')), "I look.", ("crop_video", {"start_time": 1}), None),
        (said("", "I reason.", ("view_visual_prompt", "")), "I reason.", ("view_visual_prompt", {}), None),
        (said("<think>A</think>", "B", ("view_visual_prompt", "{}")), "A", ("view_visual_prompt", {}), None),
        (said("It flashes blue. <answer>blue</answer>"), "It flashes blue.", None, "blue"),
        (said("<answer>blue</answer>", "I saw it."), "I saw it.", None, "blue"),
        (said("<think>Seen.</think><answer>blue</answer>"), "Seen.", None, "blue"),
        (said("blue", "I saw it."), "I saw it.", None, "blue"),
    ],
)
def test_a_message_becomes_a_turn_in_the_student_s_form(
    message: Any, thought: str, call: tuple[str, dict[str, int]] | None, answer: str | None
) -> None:
    parsed = parse_turn(turn_text(message))
    assert parsed.well_formed
    assert parsed.thought == thought
    assert parsed.answer == answer
    assert [(made.name, made.arguments) for made in parsed.calls] == ([call] if call else [])


def test_what_a_limit_cut_off_is_no_answer() -> None:
    for text, answer in (("It flashes blue and", None), ("<answer>blue</answer> and so", "blue")):
        message: Any = {**said(text), "cut": True}
        assert parse_turn(turn_text(message)).answer == answer


@pytest.mark.parametrize("arguments", ["{", "[1]", '{"a": NaN}'])
def test_arguments_that_cannot_be_read_are_left_for_the_environment_to_refuse(arguments: str) -> None:
    parsed = parse_turn(turn_text(said("I look.", "", ("crop_video", arguments))))
    assert not parsed.calls
    assert parsed.error


def completion(content: str, *calls: tuple[str, str]) -> JSONResponse:
    made = [
        {"id": f"c{i}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for i, (name, arguments) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": content, "tool_calls": made or None}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if made else "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return JSONResponse(
        {"id": "0", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    )


@pytest.mark.parametrize("known", [True, False])
def test_it_plays_the_one_loop_and_is_not_paid_twice(
    known: bool, task: Task, chat: ChatFormat, episode: EpisodeConfig, tmp_path: Path
) -> None:
    form = chat if known else UnknownFormat()
    start, end = 2.0, 4.5
    limits = dataclasses.replace(episode, max_turn_tokens=200, max_tokens=4000)
    turns = [
        completion("I look at the mark.", ("view_visual_prompt", "{}")),
        completion("Now the stretch.", ("crop_video", json.dumps({"start_time": start, "end_time": end}))),
        completion(f"That shows it. <answer>{task.answer}</answer>"),
    ]
    with chat_server() as server:
        server.script = lambda _: turns[sum(m["role"] == "assistant" for m in server.bodies[-1]["messages"])]

        def played_once() -> Trajectory:
            config_of_teacher = EndpointConfig(base_url=server.url, model="m")
            teacher = ChatPolicy(form, Endpoint(config_of_teacher, tmp_path / "answers", "teacher.model"))
            return asyncio.run(play(task, teacher, form, limits))

        played = played_once()
        assert played.rewards.accuracy == played.rewards.format == 1.0
        assert [(call.name, call.ok) for call in played.calls] == [("view_visual_prompt", True), ("crop_video", True)]
        assert played_once().transcript == played.transcript
        assert len(server.bodies) == 3
    last = server.bodies[-1]["messages"]
    assert [m["role"] for m in last] == ["system", "user", "assistant", "tool", "user", "assistant", "tool", "user"]
    pictures = [part for m in last if m["role"] == "user" for part in m["content"] if part["type"] == "image_url"]
    shown = len(played.prompt_frames) + sum(call.frames for call in played.calls)
    assert len(pictures) == shown
    assert len(played.transcript.media) == (shown if known else 0)
    assert {tool["function"]["name"] for tool in server.bodies[0]["tools"]} == set(episode.tools)
    assert "<tool_call>" not in json.dumps(last[0])
