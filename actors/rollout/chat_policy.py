"""A model behind an OpenAI-compatible endpoint, with tool calls of its own, as a policy: a teacher, or a baseline.

Invariant: a student sees the same words, frames and observations as its teacher did; only the markup of a call differs,
and a turn of the model's is written down in the form that the student is to learn.
"""

import json
import re

from endpoint.endpoint import Endpoint
from endpoint.parts import jpeg, wire
from endpoint.reply import ModelMessage
from env.environment import VideoEnv
from env.format import Format
from env.prompt import native_system_prompt
from env.transcript import Transcript, Turn
from env.turn import ParsedCall, parse_turn, write_turn
from storage.files import JsonObject
from tools.decoding.frame import Content, Frame
from tools.registry import schemas

UNTOLD = "I see."
"""Stands for the thought of a model that tells none: a turn without one is not well formed."""
_TAG = re.compile(r"</?(?:think|tool_call|answer)>")


class ChatPolicy:
    """A `actors.rollout.loop.Policy` that asks a model for each turn."""

    def __init__(self, chat: Format, endpoint: Endpoint, what: str = "teacher") -> None:
        """`what` is the name under which what it is asked is booked."""
        self._chat, self._endpoint, self._what = chat, endpoint, what

    async def act(self, transcript: Transcript, env: VideoEnv, max_tokens: int) -> Turn:
        """The model's next turn, as the student would have written it.

        Raises:
            AnswerError, EndpointError, BudgetError: see `endpoint.endpoint`.
        """
        offered = [] if env.rounds_left == 0 else schemas(env.config.tools)
        message = await self._endpoint.chat(self._what, conversation(env), offered)
        text = turn_text(message) if env.config.reasoning else _direct_text(message)
        ids = self._chat.encode(text)
        kept = ids[:max_tokens]
        return Turn(kept, (0.0,) * len(kept), text, "stop" if len(kept) == len(ids) else "length")


def conversation(env: VideoEnv) -> list[JsonObject]:
    """The episode so far, in the API's form. Pictures that a tool gave come in a user's message after its text, since
    most servers take none from a tool."""
    messages: list[JsonObject] = [
        {"role": "system", "content": native_system_prompt(env.config, env.marked)},
        {"role": "user", "content": _wired(env.contents[0])},
    ]
    for i, (turn, shown) in enumerate(zip(env.turns, env.contents[1:], strict=True)):
        parsed = turn.parsed
        if not parsed.calls:
            messages += [{"role": "assistant", "content": turn.text}, {"role": "user", "content": _wired(shown)}]
            continue
        call = parsed.calls[0]
        function = {"name": call.name, "arguments": json.dumps(call.arguments)}
        made = {"id": f"call_{i}", "type": "function", "function": function}
        messages.append({"role": "assistant", "content": parsed.thought or "", "tool_calls": [made]})
        pictures = [part for part in shown if isinstance(part, Frame)]
        text = "".join(part for part in shown if isinstance(part, str)).strip()
        reply = "The frames follow." if pictures else text
        messages.append({"role": "tool", "tool_call_id": made["id"], "content": reply})
        if pictures:
            messages.append({"role": "user", "content": _wired(shown)})
    return messages


def turn_text(message: ModelMessage) -> str:
    """A message of `Endpoint.chat` as a turn in the student's form. What cannot be read as one stays as it was written,
    for the environment to say what is wrong with it."""
    content = parse_turn(message["content"])
    if message.get("cut") and not message["calls"] and not content.answer:
        # What a limit cut off is no answer, though there is nothing else in it.
        return message["content"]
    if message["calls"]:
        call = message["calls"][0]
        thought = _plain(content.thought or message["content"] or message["reasoning"]) or UNTOLD
        try:
            return write_turn(thought, ParsedCall(call["name"], json.loads(call["arguments"] or "{}")))
        except (ValueError, TypeError):
            return f'<think>{thought}</think><tool_call>{{"name": "{call["name"]}", {call["arguments"]}</tool_call>'
    if content.calls:
        return message["content"]
    before, _, _ = message["content"].partition("<answer>")
    answer = content.answer or _plain(message["content"])
    thought = _plain(content.thought or (before if content.answer else "") or message["reasoning"]) or UNTOLD
    try:
        return write_turn(thought, _plain(answer))
    except ValueError:
        return message["content"]


def _direct_text(message: ModelMessage) -> str:
    """A message of a model that is to answer directly, as it was written; a call that nobody offered it is none."""
    return "" if message["calls"] else message["content"]


def _plain(text: str) -> str:
    return _TAG.sub("", text).strip()


def _wired(content: Content) -> list[JsonObject]:
    return [wire(jpeg(part.pixels) if isinstance(part, Frame) else part) for part in content]
