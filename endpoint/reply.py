"""A model's reply, read as JSON of a schema.

Invariant: what is handed on fits the schema; what does not says in a countable clause why not.
"""

import json
import re
from typing import TypedDict, cast

import jsonschema
from openai.types.chat.chat_completion import Choice

from storage.files import JsonObject

DETAIL_CHARS = 300
"""Longest detail of one failure, characters."""
# JSON may spell one half of a surrogate pair, which no file and no request can hold.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL | re.IGNORECASE)
_ALL_REASONING = "reply is all reasoning: turn the server's reasoning parser off, or raise max_tokens"
_DECODER = json.JSONDecoder()


class WrittenCall(TypedDict):
    """A tool call as a model wrote it."""

    name: str
    arguments: str
    """JSON, unless the model wrote something else."""


class ModelMessage(TypedDict):
    """What a model says next in a conversation."""

    content: str
    reasoning: str
    calls: list[WrittenCall]
    cut: bool
    """Whether it ends where it reached the limit."""


class AnswerError(ValueError):
    """One question has no usable answer. The message is a short clause without the question's or the reply's words, so
    that such failures can be counted."""

    def __init__(self, clause: str, detail: str = "") -> None:
        super().__init__(clause, detail)
        self.detail = detail[:DETAIL_CHARS]
        """What was wrong in this one case."""

    def __str__(self) -> str:
        return str(self.args[0])


def parsed(choice: Choice, validator: jsonschema.Draft202012Validator, max_tokens: int) -> JsonObject:
    """The one JSON object of a reply. A thought before it, a sentence or a fence around it, as models without guided
    decoding write, do not count; nor does it matter whether the server took it for reasoning.

    Raises:
        AnswerError: there is none that fits the schema.
    """
    text, thought = _said(choice)
    answer = _object(text) if text.strip() else _object(thought)
    if isinstance(answer, str):
        # A reply that reached the limit and is whole all the same counts.
        if choice.finish_reason == "length":
            raise AnswerError(f"reply cut off after {max_tokens} tokens")
        if not text.strip() and thought:
            raise AnswerError(_ALL_REASONING)
        raise AnswerError(answer)
    if _LONE_SURROGATE.search(json.dumps(answer, ensure_ascii=False)):
        raise AnswerError("reply holds half a character")
    wrong = next(validator.iter_errors(answer), None)
    if wrong is not None:
        raise AnswerError(f"reply does not fit the schema at {wrong.json_path}", wrong.message)
    return answer


def _said(choice: Choice) -> tuple[str, str]:
    """A reply's text and its reasoning, whichever way the server holds them."""
    message = choice.message
    # vLLM, SGLang and DeepSeek call it one or the other; the client's types know neither.
    thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    content = cast(object, message.content)
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    thoughts = [_text(part.get("thinking")) for part in parts if part.get("type") == "thinking"]
    return _text(parts or content), _text(thought) or "".join(thoughts)


def _text(content: object) -> str:
    """The text of a content, which may be a list of parts, as some providers give it."""
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _object(text: str) -> JsonObject | str:
    """The one JSON object of a text, or why there is none."""
    text = text.rpartition("</think>")[2].strip().lstrip("\ufeff")
    for written in (text, *(match[1] for match in _FENCE.finditer(text))):
        try:
            whole = json.loads(written)
        except ValueError:
            continue
        return whole if isinstance(whole, dict) else "reply is not a JSON object"
    found, at = [], text.find("{")
    while at >= 0:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            found.append(value)
        at = text.find("{", end)
    if len(found) != 1:
        return "reply holds several JSON objects" if found else "reply is not JSON"
    return dict(found[0])


def message_of(choice: Choice, max_tokens: int) -> ModelMessage:
    """The message of a reply in a conversation.

    Raises:
        AnswerError: it says nothing at all.
    """
    text, thought = _said(choice)
    # A server may leave the type out, and the client does not check it.
    made = [call.function for call in choice.message.tool_calls or () if call.type != "custom"]
    cut = choice.finish_reason == "length"
    if not text and not made:
        why = _ALL_REASONING if thought else "reply is empty"
        raise AnswerError(f"reply cut off after {max_tokens} tokens" if cut else why)
    calls: list[WrittenCall] = [{"name": call.name, "arguments": _written(call.arguments)} for call in made]
    return {"content": text, "reasoning": thought, "calls": calls, "cut": cut}


def _written(arguments: object) -> str:
    """A call's arguments as JSON, where a server gives the object itself, or JSON of its JSON."""
    if not isinstance(arguments, str):
        return json.dumps(arguments or {})
    try:
        inner = json.loads(arguments)
    except ValueError:
        return arguments
    return inner if isinstance(inner, str) else arguments


def declined(choice: Choice) -> bool:
    """Whether the model, or a filter behind it, would not answer; it would not a second time either."""
    return bool(choice.message.refusal) or choice.finish_reason == "content_filter"
