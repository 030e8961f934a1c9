"""What a run has asked and paid for: one line of a log for each reply, from which every total is made.

Invariant: a reply that was paid is a whole line before anything is done with it, so no kill makes it unpaid; each
process of a run reads the lines of all. There is one file a machine, as only within one no append overwrites another.
"""

import dataclasses
import json
import os
import platform
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Usage:
    """Totals of one stage."""

    paid: int = 0
    """Replies of the server, those included that were of no use."""
    cached: int = 0
    """Questions that were answered without a request of their own."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    """US dollars."""

    def plus(self, other: "Usage") -> "Usage":
        """The sum of both."""
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Usage(*(a + b for a, b in zip(mine, theirs, strict=True)))

    def told(self) -> str:
        """In words; empty where nothing was asked."""
        if not (self.paid or self.cached):
            return ""
        price = f", {self.usd:,.2f} US dollars" if self.usd else ""
        return (
            f"over all starts the models gave {self.paid:,} replies ({self.prompt_tokens:,} tokens read, "
            f"{self.completion_tokens:,} written{price}), and {self.cached:,} questions were answered by replies that "
            "were kept"
        )


class Spending:
    """The log of a folder. Thread-safe."""

    def __init__(self, folder: Path, model: str) -> None:
        """Joins the log that is there, or starts one; what is added was asked of `model`.

        Raises:
            OSError: the folder cannot be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._model = model
        machine = re.sub(r"[^\w.-]", "-", platform.node()) or "machine"
        self._log = os.open(folder / f"{machine}.jsonl", os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._lock = threading.Lock()
        self._news = _News(folder)
        self._totals: dict[str, Usage] = {}
        self._end_torn_line()

    def add(self, what: str, usage: Usage, request_id: str = "") -> None:
        """Book what one question of a stage came to.

        Args:
            request_id: the same for a request that is sent again because its answer was lost.

        Raises:
            OSError: the disk is full or gone.
        """
        said = {"model": self._model, "request": request_id, **dataclasses.asdict(usage)}
        row = {name: value for name, value in said.items() if value}
        line = json.dumps({"what": what, **row}).encode() + b"\n"
        if os.write(self._log, line) != len(line):
            raise OSError(f"{self._folder}: no space left for the log of what is spent")

    def usage(self) -> dict[str, Usage]:
        """Totals by stage, over all processes and all runs on this folder until now."""
        with self._lock:
            for line in self._news.lines():
                self._totals[line.what] = self._totals.get(line.what, Usage()).plus(line.usage)
            return dict(self._totals)

    def usd(self) -> float:
        """US dollars spent until now, on everything."""
        return sum(usage.usd for usage in self.usage().values())

    def _end_torn_line(self) -> None:
        size = os.fstat(self._log).st_size
        if size and os.pread(self._log, 1, size - 1) != b"\n":
            os.write(self._log, b"\n")

    def __del__(self) -> None:
        if hasattr(self, "_log"):
            os.close(self._log)


def spent(folder: Path) -> Usage:
    """What all processes and runs on the log of a folder asked and paid, together."""
    total = Usage()
    for line in _News(folder).lines():
        total = total.plus(line.usage)
    return total


def requests(folder: Path) -> dict[tuple[str, str], Usage]:
    """What the requests in the log of a folder took, by stage and model, without their price: each counts once, however
    often it was sent, so that neither kills nor restarts show."""
    last = {line.request_id: line for line in _News(folder).lines() if line.request_id}
    totals: dict[tuple[str, str], Usage] = {}
    for line in last.values():
        once = dataclasses.replace(line.usage, usd=0.0)
        totals[line.what, line.model] = totals.get((line.what, line.model), Usage()).plus(once)
    return totals


@dataclass(frozen=True, slots=True)
class _Line:
    what: str
    model: str
    request_id: str
    usage: Usage


class _News:
    """The lines of a folder's log, each once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}

    def lines(self) -> Iterator[_Line]:
        """Those that were added since the last call."""
        for entry in os.scandir(self._folder) if self._folder.exists() else ():
            start = self._read.get(entry.name, 0)
            if not entry.name.endswith(".jsonl") or entry.stat().st_size <= start:
                continue
            with open(entry.path, "rb") as log:
                log.seek(start)
                new = log.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read[entry.name] = start + len(whole)
            yield from filter(None, map(_parsed, whole.splitlines()))


def _parsed(line: bytes) -> _Line | None:
    """None for a line that a full disk or a power cut has torn."""
    try:
        row: dict[str, Any] = json.loads(line)
        return _Line(str(row.pop("what")), row.pop("model", ""), row.pop("request", ""), Usage(**row))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
