"""Questions to a model behind an OpenAI-compatible server, answered as JSON of a given schema.

Invariants: a question whose answer is kept is not paid again, by whatever process; only answers that fit their schema
are kept or handed out. What is wrong with one question is an `AnswerError`; all other errors are to stop the run, which
finds everything that was answered when it is started again.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

import jsonschema
from openai.types.chat import ChatCompletion
from openai.types.chat.chat_completion import Choice

from configs.endpoint import EndpointConfig
from configs.rules import check_endpoint
from endpoint.answers import Answers
from endpoint.parts import Clip, Part, fingerprint, wire
from endpoint.reply import AnswerError, ModelMessage, declined, message_of, parsed
from endpoint.schema import without_limits
from endpoint.server import EndpointError, Server
from endpoint.spending import Spending, Usage
from storage.files import JsonObject

__all__ = ["AnswerError", "BudgetError", "Endpoint", "EndpointError"]

Made = TypeVar("Made")
SPENDING = "spending"
"""Folder of the log, below the endpoint's."""
FORMAT = 1
"""Goes up when how questions are put changes, so that old answers no longer count."""
TRIES = 3
"""Times that a question is asked whose reply cannot be used."""
RETRY_TEMPERATURE = 0.7
"""Least sampling temperature from the second time on: a greedy model that guided decoding has brought into a loop of
blanks, or of one word, would run into it again."""


class BudgetError(RuntimeError):
    """The budget is spent."""


class Endpoint:
    """The model of a config, with its answers and its spending in a folder. For one process, with any number of event
    loops and threads."""

    def __init__(self, config: EndpointConfig, folder: str | Path, key: str) -> None:
        """`folder` is shared by the processes and the restarts of a run.

        Args:
            key: of `config` in the whole configuration, e.g. `synth.video_model`, for errors about its settings.

        Raises:
            ValueError: a setting that makes no sense.
            EndpointError: the folder cannot be written to.
        """
        check_endpoint(config, key)
        self._config = config
        self._name = key
        self._folder = Path(folder)
        self._server = Server(config)
        with self._disk():
            self._answers = Answers(self._folder / "answers")
            self._spending = Spending(self._folder / SPENDING, config.model)
        self._asked: dict[str, Future[JsonObject | None]] = {}

    async def ask(self, what: str, system: str, content: Sequence[Part], schema: JsonObject) -> JsonObject:
        """The model's answer, which fits the schema; from the folder where it was asked before. Not to be changed.

        Args:
            what: the stage that asks, under which it is booked; it does not reach the model.
            schema: of a JSON object, with `additionalProperties: false` where the server wants strict schemas.

        Raises:
            AnswerError: this question was not answered as asked, or the server cannot take it.
            PartError: a video of the content cannot be read.
            EndpointError: the server cannot be reached, refuses, or does not come round after all retries.
            BudgetError: the budget is spent; nothing was sent.
        """
        validator = _validator(json.dumps(schema))
        parts = await _off_loop(content, lambda: [fingerprint(part) for part in content])
        key = self._hash(system, parts, schema)
        return await self._once(what, key, lambda: self._ask_until_valid(what, key, system, content, validator))

    async def chat(self, what: str, messages: list[JsonObject], tools: list[JsonObject]) -> ModelMessage:
        """The model's next message in a conversation with tool calls; from the folder where it was asked before.

        Args:
            messages: in the API's own form, pictures as data URLs.
            tools: schemas in the API's own form.

        Raises:
            AnswerError, EndpointError, BudgetError: as `ask`.
        """
        key = self._hash(messages, tools)

        async def reply() -> JsonObject:
            offered = {"tools": tools, "parallel_tool_calls": False} if tools else {}
            request = {**self._settings(), "messages": messages, **offered}
            choice = await self._send(what, _request_id(key, 0), lambda: _off_loop((), lambda: request))
            if declined(choice):
                raise AnswerError("declined by the model", choice.message.refusal or choice.finish_reason)
            return dict(message_of(choice, self._config.max_tokens))

        return cast(ModelMessage, await self._once(what, key, reply))

    async def _once(self, what: str, key: str, make: Callable[[], Awaitable[JsonObject]]) -> JsonObject:
        """What is kept under the key, or what is made of it now, once at a time in this process."""
        while True:
            mine: Future[JsonObject | None] = Future()
            mine.set_running_or_notify_cancel()
            first = self._asked.setdefault(key, mine)
            if first is mine:
                break
            if (answer := await asyncio.wrap_future(first)) is not None:
                self._book(what, Usage(cached=1))
                return answer
        try:
            answer = await self._kept_or_made(what, key, make)
        except BaseException as error:
            del self._asked[key]
            # If this one is cancelled, those that wait for its answer ask for themselves.
            if isinstance(error, Exception):
                mine.set_exception(error)
            else:
                mine.set_result(None)
            raise
        del self._asked[key]
        mine.set_result(answer)
        return answer

    def usage(self) -> dict[str, Usage]:
        """What was asked and paid, by stage: totals of all processes and runs on the folder until now."""
        return self._spending.usage()

    async def close(self) -> None:
        """Close this event loop's connections."""
        await self._server.close()

    async def _kept_or_made(self, what: str, key: str, make: Callable[[], Awaitable[JsonObject]]) -> JsonObject:
        with self._disk():
            answer = self._answers.get(key)
        if answer is not None:
            self._book(what, Usage(cached=1))
            return answer
        answer = await make()
        with self._disk():
            self._answers.put(key, answer)
        return answer

    async def _ask_until_valid(
        self, what: str, key: str, system: str, content: Sequence[Part], validator: jsonschema.Draft202012Validator
    ) -> JsonObject:
        parts = list(content)
        for tried in range(TRIES):
            choice = await self._try(what, key, tried, system, parts, validator.schema)
            if declined(choice):
                raise AnswerError("declined by the model", choice.message.refusal or choice.finish_reason)
            try:
                return parsed(choice, validator, self._config.max_tokens)
            except AnswerError as error:
                if tried + 1 == TRIES:
                    raise
                fault = f"{error} ({error.detail})" if error.detail else str(error)
                parts = [*content, f"An earlier reply was of no use, {fault}. Reply with the JSON object alone."]
        raise AssertionError("no try is left")

    async def _try(
        self, what: str, key: str, tried: int, system: str, parts: Sequence[Part], schema: JsonObject
    ) -> Choice:
        sent_schema = schema if self._config.schema_limits else without_limits(schema)

        def request() -> JsonObject:
            wired = [wire(part) for part in parts]
            return {
                **self._settings(tried),
                "messages": [{"role": "system", "content": system}, {"role": "user", "content": wired}],
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": sent_schema, "strict": True},
                },
            }

        return await self._send(what, _request_id(key, tried), lambda: _off_loop(parts, request))

    async def _send(self, what: str, request_id: str, request: Callable[[], Awaitable[JsonObject]]) -> Choice:
        """One paid reply, booked. The request is made when its turn comes, so that only what is in flight is held."""

        def paid(reply: ChatCompletion) -> None:
            self._book(what, self._price(reply), request_id)

        async with self._server.turn():
            self._require_budget()
            reply = await self._server.complete(await request(), paid)
        return reply.choices[0]

    def _settings(self, tried: int = 0) -> JsonObject:
        """The part that all requests share. A further attempt draws anew: with the same draws a model would run into
        the same loop again."""
        config = self._config
        settings = {"model": config.model, "seed": config.seed + tried, config.max_tokens_as: config.max_tokens}
        if config.temperature is not None:
            settings["temperature"] = max(config.temperature, RETRY_TEMPERATURE) if tried else config.temperature
        return settings

    def _price(self, reply: ChatCompletion) -> Usage:
        config, used = self._config, reply.usage
        if used is None and config.budget_usd is not None:
            key = f"{self._name}.budget_usd"
            raise self._server.error(f"does not say how many tokens a reply took, so {key} cannot be kept")
        if used is None:
            return Usage(paid=1)
        tokens = used.prompt_tokens or 0, used.completion_tokens or 0
        return Usage(1, 0, *tokens, config.usd(*tokens))

    @contextmanager
    def _disk(self) -> Iterator[None]:
        """Say in one sentence what goes wrong with the folder in the block."""
        try:
            yield
        except OSError as error:
            raise EndpointError(f"{self._folder}: answers cannot be kept there ({error.strerror or error})") from None

    def _require_budget(self) -> None:
        budget = self._config.budget_usd
        if budget is not None and (spent := self._spending.usd()) >= budget:
            raise BudgetError(
                f"{self._name}.budget_usd: {spent:.2f} of {budget:.2f} US dollars are spent; raise it to go on, "
                f"what was answered is kept in {self._folder}"
            )

    def _book(self, what: str, usage: Usage, request_id: str = "") -> None:
        with self._disk():
            self._spending.add(what, usage, request_id)

    def _hash(self, *asked: object) -> str:
        """Changes with all that decides the answer, and with nothing else."""
        return hashlib.sha256(json.dumps([FORMAT, *deciding(self._config).values(), *asked]).encode()).hexdigest()


@cache
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(json.loads(schema))
    return jsonschema.Draft202012Validator(json.loads(schema))


async def _off_loop(parts: Sequence[Part], read: Callable[[], Made]) -> Made:
    """What `read` makes of the parts; read in a thread where one is a file."""
    if any(isinstance(part, Clip) for part in parts):
        return await asyncio.to_thread(read)
    return read()


def deciding(config: EndpointConfig) -> JsonObject:
    """The settings that decide an answer, by name."""
    return {name: getattr(config, name) for name in ("model", "temperature", "seed", "max_tokens")}


def _request_id(key: str, tried: int) -> str:
    """The same whenever a request is sent, however often that is."""
    return f"{key[:32]}-{tried}"
