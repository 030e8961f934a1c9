"""The server that a model is behind: its connections, how much is asked of it at once, and what its failures mean.

Invariants: a process has at most the config's `concurrency` of requests out on an event loop; each ends by a deadline.
A failure is blamed on a question only if the server answers a plain one right afterwards, and fails at the first again.
A failure that a gateway passes on inside a reply of status 200 counts as the status that it names.
"""

import asyncio
import email.utils
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Protocol

import openai
from openai.types.chat import ChatCompletion

from configs.endpoint import EndpointConfig
from endpoint.reply import AnswerError
from storage.files import JsonObject

PLAIN = "This only asks whether you are there. Reply with any JSON object that fits the schema, as short as it can be."
"""Put to a server that failed at something else."""
MAX_BACKOFF_S = 8.0
"""Longest that the client waits between attempts at a server that fails, seconds."""
MAX_BUSY_BACKOFF_S = 30.0
"""Longest wait between attempts at a server that is busy and names no time, seconds."""


class EndpointError(RuntimeError):
    """The server, or the folder of answers, cannot be used; the message is one sentence."""


class Server:
    """The server of a config, with one client an event loop, as connections cannot move to another."""

    def __init__(self, config: EndpointConfig) -> None:
        """Read the key from the environment variable that the config names."""
        self._config = config
        self._key = os.environ.get(config.api_key_env) or "EMPTY"
        self._lines: dict[asyncio.AbstractEventLoop, _Line] = {}

    def turn(self) -> asyncio.Semaphore:
        """A semaphore to hold around `complete`, and around making what need not be in memory before it."""
        return self._line().turns

    async def complete(self, request: JsonObject, paid: Callable[[ChatCompletion], None]) -> ChatCompletion:
        """The completion of a chat, with at least one choice; `paid` is called with every reply that the server gave.

        Raises:
            AnswerError: the server cannot take this one, or fails at it while it answers others.
            EndpointError: it cannot be reached, refuses, or does not come round after all retries.
        """
        try:
            return await self._reply(request, paid)
        except _FAILURES as error:
            if not _may_be_the_questions(error):
                raise self._failure(error) from None
        try:
            plain = {**request, "messages": [{"role": "user", "content": PLAIN}]}
            await self._reply(plain, paid)
        except _FAILURES as error:
            raise self._failure(error) from None
        try:
            return await self._reply(request, paid, retries=0)
        except _FAILURES as error:
            raise (_blamed(error) if _may_be_the_questions(error) else self._failure(error)) from None

    async def close(self) -> None:
        """Close this event loop's connections."""
        line = self._lines.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await line.client.close()

    def error(self, what: str) -> EndpointError:
        """The error that says what is wrong with the server, after its address."""
        return EndpointError(f"{self._config.base_url}: {what}")

    async def _reply(
        self, request: JsonObject, paid: Callable[[ChatCompletion], None], retries: int | None = None
    ) -> ChatCompletion:
        """One reply, in as many attempts as `retries` allows, or else the config; a busy server is waited for."""
        deadline = time.monotonic() + self._config.busy_wait_s
        for number in itertools.count():
            try:
                return await self._attempt(request, paid, retries)
            except openai.APIStatusError as error:
                wait_s = busy_s(error, number)
                if wait_s is None or time.monotonic() + wait_s > deadline:
                    raise
            await asyncio.sleep(wait_s)
        raise AssertionError("there is always another number")

    async def _attempt(
        self, request: JsonObject, paid: Callable[[ChatCompletion], None], retries: int | None
    ) -> ChatCompletion:
        client = self._line().client
        if retries is not None:
            client = client.with_options(max_retries=retries)
        # A backstop over all attempts: the client's timeout bounds silence, not a byte now and then.
        async with asyncio.timeout((client.max_retries + 1) * (self._config.timeout_s + MAX_BACKOFF_S)):
            # Not `chat.completions.create`, which walks through all of the request for longer than sending takes.
            reply = await client.post("/chat/completions", body=request, cast_to=ChatCompletion)
        # Of another content type the client hands on the bare text, and of JSON it checks nothing.
        if not isinstance(reply, ChatCompletion) or not reply.choices or not reply.choices[0].message:
            raise self._no_completion()
        paid(reply)
        return reply

    def _failure(self, error: Exception) -> EndpointError:
        reason = _reason(error)
        if isinstance(error, json.JSONDecodeError | openai.APIResponseValidationError):
            return self._no_completion()
        if isinstance(error, openai.APITimeoutError | TimeoutError):
            return self.error(f"is silent ({reason}); start again when it answers, what was answered is kept")
        if isinstance(error, openai.APIConnectionError):
            return self.error(f"cannot be reached ({reason}); start again when it is up, what was answered is kept")
        if isinstance(error, openai.APIStatusError) and busy_s(error, 0) is not None:
            return self.error(f"is busy ({reason}) for longer than busy_wait_s = {self._config.busy_wait_s:g} s")
        return self.error(f"{'fails' if isinstance(error, openai.InternalServerError) else 'refuses'} ({reason})")

    def _no_completion(self) -> EndpointError:
        return self.error("replied with something that is no chat completion; is the address right, its /v1 too?")

    def _line(self) -> "_Line":
        loop = asyncio.get_running_loop()
        if loop not in self._lines:
            for over in [other for other in list(self._lines) if other.is_closed()]:
                self._lines.pop(over, None)
            self._lines[loop] = _Line(self._config, self._key)
        return self._lines[loop]


class _Line:
    """The connections of one event loop."""

    def __init__(self, config: EndpointConfig, key: str) -> None:
        self.turns = asyncio.Semaphore(config.concurrency)
        self.client = openai.AsyncOpenAI(
            base_url=config.base_url,
            api_key=key,
            timeout=config.timeout_s,
            max_retries=config.retries,
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [_give_true_status]}),
        )


_FAILURES = (openai.OpenAIError, TimeoutError, UnicodeEncodeError, json.JSONDecodeError)


class _Response(Protocol):
    """The client's own response, whose library it may change."""

    status_code: int
    headers: MutableMapping[str, str]

    @property
    def content(self) -> bytes: ...

    async def aread(self) -> bytes: ...


async def _give_true_status(response: _Response) -> None:
    """Have the client see what a response means, and not try again where `_reply` waits for longer."""
    if response.status_code == 200:
        await response.aread()
        response.status_code = _status_inside(response.content) or 200
    if response.status_code == 429 or (response.status_code == 503 and _named_s(response.headers) is not None):
        response.headers["x-should-retry"] = "false"


def _status_inside(content: bytes) -> int | None:
    """The status of a failure that a reply tells of in its text; 502 where it names none."""
    try:
        body = json.loads(content)
        choices = body.get("choices")
        first = choices[0] if choices else {}
        fault = body.get("error") or first.get("error")
        code = fault.get("code") if isinstance(fault, dict) else None
    except (ValueError, AttributeError, TypeError, LookupError):
        return None
    if not fault and choices != [] and first.get("finish_reason") != "error":
        return None
    named = int(code) if code is not None and str(code).isdecimal() else 0
    return named if 400 <= named < 600 else 502


def busy_s(error: openai.APIStatusError, number: int) -> float | None:
    """Seconds to wait for a server that is busy, before the attempt after this `number`; None if it is not, or will
    not come round."""
    if error.status_code not in (429, 503) or error.code == "insufficient_quota":
        return None
    named_s = _named_s(error.response.headers)
    if named_s is None and error.status_code == 429:
        return float(min(MAX_BUSY_BACKOFF_S, 0.5 * 2**number))
    return named_s


def _named_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, above 0, that the headers of a response ask to wait for; None if they name no such time."""
    told = headers.get("retry-after", "")
    try:
        if "retry-after-ms" in headers:
            named_s = float(headers["retry-after-ms"]) / 1000
        elif told[:1].isalpha():
            named_s = email.utils.parsedate_to_datetime(told).timestamp() - time.time()
        else:
            named_s = float(told)
    except ValueError:
        return None
    return named_s if 0 < named_s < math.inf else None


def _may_be_the_questions(error: Exception) -> bool:
    """Whether the server might do better with another question: not so if it refuses access or asks to wait."""
    if isinstance(error, openai.APIStatusError):
        return busy_s(error, 0) is None and (error.status_code in (400, 413, 422) or error.status_code >= 500)
    return isinstance(error, openai.APIConnectionError | TimeoutError | UnicodeEncodeError)


def _blamed(error: Exception) -> AnswerError:
    if isinstance(error, openai.APITimeoutError | TimeoutError):
        return AnswerError("not answered in time", _reason(error))
    failed = isinstance(error, openai.APIConnectionError | openai.InternalServerError)
    return AnswerError("failed by the server" if failed else "turned down by the server", _reason(error))


def _reason(error: Exception) -> str:
    """One line of what the client says."""
    if isinstance(error, openai.APIStatusError):
        body = error.body
        message = body.get("message") if isinstance(body, dict) else None
        text = f"{error.status_code}: {message or error.response.reason_phrase or error.message}"
    elif isinstance(error, openai.APITimeoutError | TimeoutError):
        text = "no reply within the deadline"
    else:
        text = str(error.__cause__ or error) or type(error).__name__
    return text.strip().split("\n")[0][:200]
