"""What the agent is told: short where asked, true times, and no word of tools that are not on offer."""

import dataclasses
import json
import re
from typing import Any

import numpy as np
import pytest

from configs.episode import EpisodeConfig
from env.prompt import readable, system_prompt, user_content
from env.task import Task
from tools.decoding.frame import Frame, FrameRef
from tools.marks.visual_prompt import VisualPrompt
from tools.registry import schemas

MARK = VisualPrompt("mark.png", 12.345, "rectangle")
TASK = Task("t", "v.mp4", "What colour is it?", "red", "OA", (MARK,), facts={"secret": "never shown"})
CHOICE = dataclasses.replace(TASK, form="choice", options=("blue", "red"), answer="B")
BOTH = ["view_visual_prompt", "crop_video"]


def frame(time_s: float) -> Frame:
    return Frame(FrameRef("v.mp4", time_s, 32, 32), np.zeros((32, 32, 3), np.uint8), time_s)


COARSE = (frame(1.04), frame(3.0))


def config(style: Any, tools: list[str]) -> EpisodeConfig:
    return EpisodeConfig(prompt_style=style, tools=tools)


def test_compact_is_the_labelled_frames_and_the_question() -> None:
    content = user_content(TASK, config("compact", BOTH), COARSE, None)
    assert content == ("1.0 s ", COARSE[0], "3.0 s ", COARSE[1], "What colour is it?")
    assert readable(content) == "1.0 s [frame 1.0 s]3.0 s [frame 3.0 s]What colour is it?"


def test_the_marked_frame_stands_in_the_prompt_when_no_tool_shows_it() -> None:
    marked = frame(12.345)
    content = user_content(TASK, config("compact", ["crop_video"]), COARSE, [marked])
    assert content[-3:] == ("marked frame at 12.3 s: ", marked, "What colour is it?")


def test_several_marked_frames_are_all_named() -> None:
    two = dataclasses.replace(TASK, visual_prompts=(MARK, MARK))
    assert "frame_1, frame_2" in readable(user_content(two, config("compact", BOTH), COARSE, None))
    shown = user_content(two, config("compact", []), COARSE, [frame(1.0), frame(2.0)])
    assert "marked frame_1 at 1.0 s: " in readable(shown)
    assert "marked frame_2 at 2.0 s: " in readable(shown)


@pytest.mark.parametrize("style", ["compact", "full"])
def test_choice_questions_list_lettered_options_and_ask_for_the_letter(style: str) -> None:
    shown = readable(user_content(CHOICE, config(style, BOTH), COARSE, None))
    assert "A. blue\nB. red\n" in shown
    assert "letter" in shown


@pytest.mark.parametrize("style", ["compact", "full"])
@pytest.mark.parametrize("task", [TASK, CHOICE])
def test_answers_and_facts_are_never_shown(style: str, task: Task) -> None:
    shown = readable(user_content(task, config(style, []), COARSE, [frame(12.3)]))
    assert "never shown" not in shown
    assert "red" not in shown.replace("B. red", "")


@pytest.mark.parametrize("style", ["compact", "full"])
@pytest.mark.parametrize("task", [TASK, CHOICE])
def test_without_tools_nothing_speaks_of_tools(style: str, task: Task) -> None:
    bare = config(style, [])
    told = system_prompt(bare) + readable(user_content(task, bare, COARSE, [frame(12.3)]))
    assert not re.search(r"tool|function|call|crop|view_visual", told, re.IGNORECASE)


def test_compact_names_the_tools_in_one_short_sentence() -> None:
    assert system_prompt(config("compact", BOTH)) == "Answer with the tools view_visual_prompt, crop_video."
    assert "view_visual_prompt" not in system_prompt(config("compact", ["crop_video"]))


@pytest.mark.parametrize("tools", [BOTH, ["crop_video"], ["view_visual_prompt"]])
def test_full_gives_the_schemas_of_the_tools_on_offer_and_the_form(tools: list[str]) -> None:
    told = system_prompt(config("full", tools))
    listed = told.partition("<tools>\n")[2].partition("\n</tools>")[0]
    assert [json.loads(line) for line in listed.splitlines()] == schemas(tools)
    assert all(tag in told for tag in ("<think>", "<tool_call>", "<answer>"))
    assert ("frame_1" in told.partition("</tools>")[2]) == ("view_visual_prompt" in tools)
    assert "at most 5 turns" in told


def test_full_without_tools_still_gives_the_form() -> None:
    told = system_prompt(config("full", []))
    assert "<think>" in told
    assert "<answer>" in told
