"""An episode as OpenAI's chat API tells it: the answer as the message's content, the thoughts and calls before it as
its reasoning, whole or streamed.

Invariant: an episode that failed is an error in the API's form, never a message.
"""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import Response
from fastapi.responses import JSONResponse

from actors.serving.events import Event
from env.judging.rules import parse_choice
from env.task import Task
from storage.files import JsonObject

CLIENT_IS_GONE = 499
"""Status of what nobody reads any more, as proxies log it."""
MODEL = "videoseeker"
"""The name under which the agent goes."""


@dataclass(frozen=True)
class Reply:
    """How the episode of a task is told."""

    task: Task
    created_s: int

    @staticmethod
    def to(task: Task) -> "Reply":
        """The reply to a task that is asked now."""
        return Reply(task, int(time.time()))

    async def whole(self, events: AsyncIterator[Event]) -> Response:
        """One JSON object when the episode has ended."""
        thoughts: list[str] = []
        last: Event = {"type": ""}
        async for event in events:
            if event["type"] == "error":
                return JSONResponse(error(event["error"], event["status"]), event["status"])
            thoughts += reasoning(event)
            last = event
        if last["type"] != "answer":
            return Response(status_code=CLIENT_IS_GONE)
        message = {"role": "assistant", "content": self._answer(last), "reasoning_content": "".join(thoughts)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finished(last)}
        return JSONResponse({**self._head("chat.completion"), "choices": [choice], "usage": _usage(last)})

    async def streamed(self, events: AsyncIterator[Event], with_usage: bool) -> AsyncIterator[str]:
        """Server-sent events: the reasoning as it comes, then the answer. With `with_usage` the tokens follow."""
        yield self._chunk({"role": "assistant", "content": ""})
        last: Event = {"type": ""}
        async for event in events:
            if event["type"] == "error":
                yield _sent(error(event["error"], event["status"]))
                return
            for thought in reasoning(event):
                yield self._chunk({"reasoning_content": thought})
            last = event
        if last["type"] != "answer":
            return
        yield self._chunk({"content": self._answer(last)})
        yield self._chunk({}, _finished(last))
        if with_usage:
            yield _sent({**self._head("chat.completion.chunk"), "choices": [], "usage": _usage(last)})
        yield "data: [DONE]\n\n"

    def _answer(self, last: Event) -> str:
        """A choice's letter, where the rules find it in the answer, else the answer."""
        answer = last["answer"] or ""
        return (parse_choice(answer, self.task.options) if self.task.options else None) or answer

    def _head(self, kind: str) -> JsonObject:
        return {"id": f"chatcmpl-{self.task.id}", "object": kind, "created": self.created_s, "model": MODEL}

    def _chunk(self, delta: JsonObject, finished: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished}
        return _sent({**self._head("chat.completion.chunk"), "choices": [choice]})


def error(sentence: str, status: int) -> JsonObject:
    """A refusal or failure as the API has it."""
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": sentence, "type": kind, "param": None, "code": status}}


def reasoning(event: Event) -> list[str]:
    """The lines that an event adds to the reasoning: what was thought, and what was called."""
    if event["type"] == "observation":
        times = ", ".join(f"{frame['time_s']:g} s" for frame in event["frames"] if frame["time_s"] is not None)
        return [f"[frames at {times}]\n" if event["frames"] else f"[{event['text'].strip()}]\n"]
    if event["type"] != "turn":
        return []
    calls = [f"[{call['name']}({json.dumps(call['arguments'])})]\n" for call in event["calls"]]
    return [*([f"{event['thought']}\n"] if event["thought"] else []), *calls]


def _finished(last: Event) -> str:
    return "length" if last["stop"] == "length" else "stop"


def _usage(last: Event) -> JsonObject:
    prompt, sampled = last["prompt_tokens"], last["sampled_tokens"]
    return {"prompt_tokens": prompt, "completion_tokens": sampled, "total_tokens": prompt + sampled}


def _sent(data: JsonObject) -> str:
    return f"data: {json.dumps(data)}\n\n"
