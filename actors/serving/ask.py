"""Asking a running server from the terminal, and showing its episode as it streams in.

Invariant: a server that is away, full or refuses is one sentence (`AskError`), as is a stream that ends too early.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from actors.serving.mark import parse_mark
from storage.files import JsonObject

CONNECT_TIMEOUT_S = 5.0
SILENCE_TIMEOUT_S = 600.0
"""Longest wait for the next event, seconds."""


class AskError(RuntimeError):
    """A question that got no answer; the message is one sentence."""


def ask(server: str, video: str, mark: str, question: str, options: Sequence[str], console: Console) -> str | None:
    """Ask, print the episode, and return the answer; None if the agent gave none. A `video` that is a file here is
    uploaded; otherwise it names one of the server's.

    Raises:
        MarkError: the mark is not well formed.
        AskError: the server is away or refused, or the episode failed.
    """
    parse_mark(mark)
    for event in _events(server, video, mark, question, options):
        print_event(event, console)
        if event["type"] == "error":
            raise AskError(event["error"])
        if event["type"] == "answer":
            return event["answer"]
    raise AskError(f"{server}: the connection ended before the answer")


def print_event(event: JsonObject, console: Console) -> None:
    """One event of `actors.serving.events`, for people."""
    match event["type"]:
        case "start":
            console.print(Rule(Text(event["question"], style="bold"), align="left", style="dim"))
            mark = event["mark"]
            console.print(Text(f"{mark['kind']} drawn on the frame at {mark['time_s']:.2f} s", style="dim"))
        case "look":
            console.print(Text(f"first look: {_times(event['frames'])}", style="dim"))
        case "turn":
            if event["thought"]:
                console.print(Text(event["thought"], style="italic"))
            for call in event["calls"]:
                arguments = ", ".join(f"{name}={value!r}" for name, value in call["arguments"].items())
                console.print(Text.assemble(("→ ", "dim"), (f"{call['name']}({arguments})", "yellow")))
            if "problem" in event:
                console.print(Text(f"malformed: {event['problem']}", style="red"))
                console.print(Text(event["text"], style="dim"))
        case "observation":
            console.print(
                Text(f"frames: {_times(event['frames'])}" if event["frames"] else event["text"], style="cyan")
            )
        case "answer":
            given = f"no answer ({event['stop']})" if event["answer"] is None else event["answer"]
            console.print(Text.assemble(("answer  ", "dim"), (given, "bold green"), (f"  {event['seconds']} s", "dim")))


def _events(server: str, video: str, mark: str, question: str, options: Sequence[str]) -> Iterator[JsonObject]:
    timeout = httpx.Timeout(SILENCE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    url = f"{server.rstrip('/')}/v1/ask"
    try:
        with (
            httpx.Client(timeout=timeout) as client,
            _request_body(video, mark, question, options) as body,
            client.stream("POST", url, **body) as response,
        ):
            if response.status_code != 200:
                raise AskError(_refusal(response))
            for line in response.iter_lines():
                yield json.loads(line)
    except httpx.UnsupportedProtocol:
        raise AskError(f"{server}: not an address; write it with http:// before it") from None
    except httpx.InvalidURL as error:
        raise AskError(f"{server}: not an address ({error})") from None
    except httpx.ConnectError:
        raise AskError(f"{server}: no server answers there; start one with `videoseeker serve CHECKPOINT`") from None
    except httpx.HTTPError as error:
        raise AskError(f"{server}: the connection failed ({type(error).__name__})") from None


@contextmanager
def _request_body(video: str, mark: str, question: str, options: Sequence[str]) -> Iterator[JsonObject]:
    """What httpx is given of the question; an uploaded file is open while it is sent."""
    fields = {"mark": mark, "question": question, "options": list(options)}
    path = Path(video)
    if not path.is_file():
        yield {"json": {**fields, "video": video}}
        return
    with path.open("rb") as file:
        yield {"data": fields, "files": {"video": (path.name, file)}}


def _refusal(response: httpx.Response) -> str:
    try:
        return str(json.loads(response.read())["error"])
    except (ValueError, KeyError, TypeError):
        full = response.status_code == 503
        return "the server is full; try again in a while" if full else f"the server answered {response.status_code}"


def _times(frames: Sequence[JsonObject]) -> str:
    return ", ".join(f"{frame['time_s']:.2f} s" for frame in frames)
