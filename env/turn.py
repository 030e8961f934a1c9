"""Parsing what the policy wrote in one turn.

Invariant: `parse_turn` is total: any text gives a `ParsedTurn`, and `error` says what it could not use.

A well-formed turn is `<think>…</think>` with a word in it, then one `<tool_call>{json}</tool_call>` or one
`<answer>…</answer>`, and nothing else but whitespace (paper, section 3.3). An action outside that form is still taken
where it is plain what was meant, so that a missing thought costs the format reward and not the answer.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from storage.files import JsonObject

STOP_STRINGS = ("</tool_call>", "</answer>")
"""Where sampling of a turn stops; the stop string is part of the turn."""

SPECIAL_TOKEN = re.compile(r"<\|[a-z_]+\|>")
_TAG = re.compile(r"(</?(?:think|tool_call|answer)>)")


@dataclass(frozen=True)
class ParsedCall:
    """A tool call as the policy asked for it; neither the name nor the arguments are checked against any tool."""

    name: str
    arguments: JsonObject


@dataclass(frozen=True)
class ParsedTurn:
    """What one turn says. At most one of `calls` and `answer` is there; with neither, `error` says why."""

    text: str
    """The turn as it was written."""
    thought: str | None
    calls: tuple[ParsedCall, ...]
    answer: str | None
    well_formed: bool
    """The whole text has the form that the format reward asks for."""
    error: str | None
    """What keeps the turn from being well formed, in a few words; None if it is."""


def parse_turn(text: str) -> ParsedTurn:
    """Thought, tool calls or answer of one turn. Never raises. The first complete action after the thought decides what
    kind of turn it is; several tool calls are all given."""
    pieces = _TAG.split(text)
    tags, texts = pieces[1::2], pieces[::2]
    if tags[:2] == ["<think>", "</think>"] and not any(texts[i].strip() for i in range(0, len(texts), 2)):
        if tags[2:] == ["<answer>", "</answer>"]:
            return _answered(text, texts[1].strip(), texts[3], None)
        if tags[2:] == ["<tool_call>", "</tool_call>"]:
            return _called(text, texts[1].strip(), [texts[3]], None)
    thought, body = _split_thought(pieces)
    actions = _actions(body)
    if not actions:
        return ParsedTurn(text, thought, (), None, False, "the turn holds neither a tool call nor an answer")
    kind, first = actions[0]
    if kind == "answer":
        return _answered(text, thought, first, "the turn is more than one thought and one answer")
    payloads = [payload for kind, payload in actions if kind == "tool_call"]
    return _called(text, thought, payloads, "the turn is more than one thought and one tool call")


def write_turn(thought: str, action: ParsedCall | str) -> str:
    """The well-formed turn of a thought and a tool call, or a thought and an answer: the inverse of `parse_turn`.

    Raises:
        ValueError: the thought or the answer holds a tag of the form or is empty, or the arguments are not JSON.
    """
    if isinstance(action, str):
        end = f"<answer>{action.strip()}</answer>"
    else:
        call = json.dumps({"name": action.name, "arguments": action.arguments}, allow_nan=False)
        escaped = call.replace("<", "\\u003c")
        end = f"<tool_call>{escaped}</tool_call>"
    text = f"<think>{thought}</think>{end}"
    parsed = parse_turn(text)
    if not parsed.well_formed:
        raise ValueError(f"not a turn, {parsed.error}: {text!r}")
    return text


def _answered(text: str, thought: str | None, answer: str, error: str | None) -> ParsedTurn:
    answer, error = answer.strip(), error or _thoughtless(thought)
    if not answer:
        return ParsedTurn(text, thought, (), None, False, "the answer is empty")
    return ParsedTurn(text, thought, (), answer, error is None, error)


def _thoughtless(thought: str | None) -> str | None:
    return None if thought and re.search(r"\w", thought) else "the thought is empty"


def _called(text: str, thought: str | None, payloads: Sequence[str], error: str | None) -> ParsedTurn:
    calls = [_parse_call(payload) for payload in payloads]
    unreadable = next((call for call in calls if isinstance(call, str)), None)
    if unreadable:
        return ParsedTurn(text, thought, (), None, False, unreadable)
    readable, error = tuple(call for call in calls if isinstance(call, ParsedCall)), error or _thoughtless(thought)
    return ParsedTurn(text, thought, readable, None, error is None, error)


def _split_thought(pieces: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The thought, and the pieces after it. A thought that is never closed ends at the first action."""
    if "</think>" in pieces:
        end = pieces.index("</think>")
        return "".join(pieces[:end]).replace("<think>", "", 1).strip(), pieces[end + 1 :]
    if "<think>" not in pieces:
        return None, pieces
    start = pieces.index("<think>") + 1
    opened = (i for i in range(start, len(pieces)) if pieces[i] in ("<tool_call>", "<answer>"))
    return "".join(pieces[start : next(opened, len(pieces))]).strip(), pieces


def _actions(pieces: Sequence[str]) -> list[tuple[str, str]]:
    """(kind, payload) of every closed action, in order; one that is opened inside another takes its place."""
    actions = []
    kind, start = "", 0
    for i, piece in enumerate(pieces):
        if piece in ("<tool_call>", "<answer>"):
            kind, start = piece[1:-1], i + 1
        elif kind and piece == f"</{kind}>":
            actions.append((kind, "".join(pieces[start:i])))
            kind = ""
    return actions


def _parse_call(payload: str) -> ParsedCall | str:
    """The call, or in a few words what is wrong with it."""
    try:
        call = json.loads(payload)
        # Python reads NaN, numbers past the largest float and halves of surrogate pairs, of which no JSON can be made.
        json.dumps(call, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return "the tool call is not valid JSON"
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return 'the tool call has no "name"'
    if not isinstance(call.get("arguments"), dict):
        return 'the tool call has no object "arguments"'
    if len(call) > 2:
        return 'the tool call has keys besides "name" and "arguments"'
    return ParsedCall(call["name"], call["arguments"])
