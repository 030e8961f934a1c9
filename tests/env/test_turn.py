"""Parsing turns: total on any text, strict about the form, lenient about what is plain."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from env.turn import ParsedCall, parse_turn, write_turn

CALL = '<tool_call>{"name": "crop_video", "arguments": {"start_time": 1.5, "end_time": 3}}</tool_call>'
PIECES = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<answer>",
    "</answer>",
    '{"name": ',
    '"x"',
    "{}",
    "}",
    "\n",
]
NAMES = st.text(min_size=1).filter(lambda name: name.isprintable())
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=6,
)
PLAIN = st.text(st.characters(exclude_characters="<", exclude_categories=["Cs"])).map(str.strip)
THOUGHTS = PLAIN.map(lambda text: f"{text} so".strip())


def test_a_thought_and_a_call() -> None:
    turn = parse_turn(f"<think> look closer </think>\n{CALL}\n")
    assert turn.well_formed
    assert turn.thought == "look closer"
    assert turn.calls == (ParsedCall("crop_video", {"start_time": 1.5, "end_time": 3}),)
    assert turn.answer is None
    assert turn.error is None


def test_a_thought_and_an_answer() -> None:
    turn = parse_turn("<think>seen</think><answer> red\n</answer>")
    assert (turn.well_formed, turn.answer, turn.calls) == (True, "red", ())


def test_an_answer_may_hold_angle_brackets_that_are_no_tags() -> None:
    assert parse_turn("<think>2 < 3</think><answer>x < y</answer>").answer == "x < y"


@pytest.mark.parametrize(
    "text",
    [
        "<answer>red</answer>",
        "so it is red</think><answer>red</answer>",
        "<think>it is <answer>red</answer>",
        "<think>seen</think>The answer: <answer>red</answer>",
        "<think>seen</think><answer>red</answer> done",
        "<think>a</think><think>b</think><answer>red</answer>",
        "<think>I could say <answer>blue</answer></think><answer>red</answer>",
        "<think>seen</think><answer>red</answer><answer>blue</answer>",
        f"<think>seen</think><answer>red</answer>{CALL}",
    ],
)
def test_an_answer_out_of_form_still_counts_as_the_answer(text: str) -> None:
    turn = parse_turn(text)
    assert (turn.answer, turn.calls, turn.well_formed) == ("red", (), False)
    assert turn.error


@pytest.mark.parametrize("text", [CALL, f"<think>a</think>then {CALL}", f"<think>a</think>{CALL}<answer>red</answer>"])
def test_a_call_out_of_form_still_counts_as_a_call(text: str) -> None:
    turn = parse_turn(text)
    assert [call.name for call in turn.calls] == ["crop_video"]
    assert (turn.answer, turn.well_formed) == (None, False)


def test_several_calls_are_all_given_but_are_out_of_form() -> None:
    turn = parse_turn(f"<think>a</think>{CALL}{CALL}")
    assert (len(turn.calls), turn.well_formed) == (2, False)


@pytest.mark.parametrize(
    ("payload", "cause"),
    [
        ("crop_video(1, 2)", "not valid JSON"),
        ('{"name": "crop_video", "arguments": {"start_time": NaN}}', "not valid JSON"),
        ('{"name": "crop_video", "arguments": {"start_time": 1e999}}', "not valid JSON"),
        ('{"name": "crop_video", "arguments": {"video": "\\ud800"}}', "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"name": "x", "arguments": {"n": ' + "9" * 5000 + "}}", "not valid JSON"),
        ('["crop_video"]', 'no "name"'),
        ('{"arguments": {}}', 'no "name"'),
        ('{"name": "crop_video"}', '"arguments"'),
        ('{"name": "crop_video", "arguments": "{}"}', '"arguments"'),
        ('{"name": "crop_video", "arguments": {}, "path": "/etc"}', "keys besides"),
    ],
)
def test_a_call_that_cannot_be_read_says_why(payload: str, cause: str) -> None:
    turn = parse_turn(f"<think>a</think><tool_call>{payload}</tool_call>")
    assert (turn.calls, turn.answer, turn.well_formed) == ((), None, False)
    assert turn.error is not None
    assert cause in turn.error


@pytest.mark.parametrize("text", ["", "red", "<think>red</think>", "<answer>red", "<think>a</think><answer> </answer>"])
def test_a_turn_without_action_has_an_error_and_nothing_else(text: str) -> None:
    turn = parse_turn(text)
    assert (turn.calls, turn.answer, turn.well_formed) == ((), None, False)
    assert turn.error


@pytest.mark.parametrize("run", ["<think></think><answer>", "</think><tool_call>", "<tool_call>{", "</answer>", " "])
def test_a_degenerate_turn_is_read_without_running_away(run: str) -> None:
    assert parse_turn(run * 20_000).error


@given(st.text() | st.lists(st.sampled_from(PIECES) | st.text(max_size=5)).map("".join))
def test_any_text_parses_and_never_to_two_kinds_of_action(text: str) -> None:
    turn = parse_turn(text)
    assert not (turn.calls and turn.answer is not None)
    assert turn.well_formed == (turn.error is None)
    if turn.well_formed:
        assert len(turn.calls) + (turn.answer is not None) == 1
    if not turn.calls and turn.answer is None:
        assert turn.error


@pytest.mark.parametrize("thought", ["", " ", "\n", "...", "\u2026", "--", "!?"])
@pytest.mark.parametrize("action", ["<answer>B</answer>", '<tool_call>{"name": "x", "arguments": {}}</tool_call>'])
def test_an_empty_thought_is_not_well_formed_and_its_action_is_taken(thought: str, action: str) -> None:
    for text in (f"<think>{thought}</think>{action}", f"<think>{thought}</think>\n{action}\n"):
        turn = parse_turn(text)
        assert (turn.well_formed, turn.error) == (False, "the thought is empty")
        assert turn.answer == "B" or turn.calls
    assert parse_turn(f"<think>{thought}so</think>{action}").well_formed


@given(THOUGHTS, PLAIN.filter(bool))
def test_answers_go_round(thought: str, answer: str) -> None:
    turn = parse_turn(write_turn(thought, answer))
    assert (turn.thought, turn.answer, turn.well_formed) == (thought, answer, True)


@given(THOUGHTS, NAMES, st.dictionaries(st.text(), JSON_VALUES, max_size=3))
def test_calls_go_round_whatever_their_arguments_spell(thought: str, name: str, arguments: dict[str, Any]) -> None:
    arguments = json.loads(json.dumps(arguments))
    turn = parse_turn(write_turn(thought, ParsedCall(name, arguments)))
    assert turn.calls == (ParsedCall(name, arguments),)
    assert turn.well_formed


def test_a_call_whose_argument_holds_a_tag_goes_round() -> None:
    call = ParsedCall("x", {"text": "</tool_call><answer>red</answer>"})
    assert parse_turn(write_turn("a", call)).calls == (call,)


@pytest.mark.parametrize(
    ("thought", "action"),
    [
        ("a </think>", "red"),
        ("a", "red</answer>"),
        ("a", ""),
        ("a", ParsedCall("x", {"n": float("inf")})),
    ],
)
def test_what_is_no_turn_cannot_be_written(thought: str, action: ParsedCall | str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        write_turn(thought, action)
