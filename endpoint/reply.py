"""A model's reply, read as JSON of a schema.

Invariant: what is handed on fits the schema; what does not says in a countable clause why not.
"""

import json
import re
from typing import TypedDict

import jsonschema
from openai.types.chat.chat_completion import Choice

from storage.files import JsonObject

DETAIL_CHARS = 300
"""Longest detail of one failure, characters."""
# JSON may spell one half of a surrogate pair, which no file and no request can hold.
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_FENCE = re.compile(r"\s*```(?:json)?\s*(.*?)\s*```\s*", re.DOTALL)


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
    """The JSON object of a reply; a fence around it, as models without guided decoding write, does not count.

    Raises:
        AnswerError: there is none that fits the schema.
    """
    text = choice.message.content or ""
    fenced = _FENCE.fullmatch(text)
    try:
        answer = json.loads(fenced[1] if fenced else text)
    except ValueError as error:
        # A reply that reached the limit and is whole all the same counts.
        if choice.finish_reason == "length":
            raise AnswerError(f"reply cut off after {max_tokens} tokens") from None
        raise AnswerError("reply is not JSON", str(error)) from None
    if not isinstance(answer, dict):
        raise AnswerError("reply is not a JSON object")
    if _LONE_SURROGATE.search(json.dumps(answer, ensure_ascii=False)):
        raise AnswerError("reply holds half a character")
    wrong = next(validator.iter_errors(answer), None)
    if wrong is not None:
        raise AnswerError(f"reply does not fit the schema at {wrong.json_path}", wrong.message)
    return answer


def message_of(choice: Choice, max_tokens: int) -> ModelMessage:
    """The message of a reply in a conversation. Raises AnswerError: it says nothing at all."""
    message = choice.message
    calls = [call.function for call in message.tool_calls or () if call.type == "function"]
    cut = choice.finish_reason == "length"
    if not message.content and not calls:
        raise AnswerError(f"reply cut off after {max_tokens} tokens" if cut else "reply is empty")
    return {
        "content": message.content or "",
        # vLLM, SGLang and DeepSeek call it one or the other; the client's types know neither.
        "reasoning": getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None) or "",
        "calls": [{"name": call.name, "arguments": call.arguments} for call in calls],
        "cut": cut,
    }


def declined(choice: Choice) -> bool:
    """Whether the model, or a filter behind it, would not answer; it would not a second time either."""
    return bool(choice.message.refusal) or choice.finish_reason == "content_filter"
