"""The server that a model is behind: its connections, how much is asked of it at once, and what its failures mean.

Invariants: a process has at most the config's `concurrency` of requests out on an event loop; each ends by a deadline.
A failure is blamed on a question only if the server answers a plain one right afterwards, and fails at the first again.
"""

import asyncio
import json
import os
from collections.abc import Callable

import openai
from openai.types.chat import ChatCompletion

from configs.endpoint import EndpointConfig
from endpoint.reply import AnswerError
from storage.files import JsonObject

PLAIN = "This only asks whether you are there. Reply with any JSON object that fits the schema, as short as it can be."
"""Put to a server that failed at something else."""
MAX_BACKOFF_S = 8.0
"""Longest that the client waits between attempts unless the server names a time, seconds."""


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
        """One reply, in as many attempts as `retries` allows, or else the config."""
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
            base_url=config.base_url, api_key=key, timeout=config.timeout_s, max_retries=config.retries
        )


_FAILURES = (openai.OpenAIError, TimeoutError, UnicodeEncodeError, json.JSONDecodeError)


def _may_be_the_questions(error: Exception) -> bool:
    """Whether the server might do better with another question: not so if it refuses access or asks to wait."""
    if isinstance(error, openai.APIStatusError):
        return error.status_code in (400, 413, 422) or error.status_code >= 500
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
