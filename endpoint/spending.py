"""What a run has asked and paid for: one line of a log for each reply, from which every total is made.

Invariant: a reply that was paid is a whole line before anything is done with it, so no kill makes it unpaid; each
process of a run reads the lines of all (see `storage.logs`).
"""

import dataclasses
import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.logs import AppendLog, LogReader, json_object, machine_log

LOG = ".jsonl"


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

    def __add__(self, other: "Usage") -> "Usage":
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Usage(*(a + b for a, b in zip(mine, theirs, strict=True)))

    def summary(self) -> str:
        """The totals in words; empty where nothing was asked."""
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
        """Join the log that is there, or start one; what is added was asked of `model`.

        Raises:
            OSError: the folder cannot be written to.
        """
        self._model = model
        self._log = AppendLog(machine_log(folder, LOG))
        self._reader = LogReader(folder, LOG)
        self._lock = threading.Lock()
        self._totals: defaultdict[str, Usage] = defaultdict(Usage)

    def add(self, what: str, usage: Usage, request_id: str = "") -> None:
        """Book what one question of a stage came to; `request_id` is the same for a request that is sent again.

        Raises:
            OSError: the disk is full or gone.
        """
        row = {"model": self._model, "request": request_id, **dataclasses.asdict(usage)}
        row = {name: value for name, value in row.items() if value}
        self._log.append(json.dumps({"what": what, **row}).encode())

    def usage(self) -> dict[str, Usage]:
        """Totals by stage, over all processes and all runs on this folder until now."""
        with self._lock:
            for entry in _news(self._reader):
                self._totals[entry.what] += entry.usage
            return dict(self._totals)

    def usd(self) -> float:
        """US dollars spent until now, on everything."""
        return sum(usage.usd for usage in self.usage().values())


def spent(folder: Path) -> Usage:
    """What all processes and runs on the log of a folder asked and paid, together."""
    return sum((entry.usage for entry in _news(LogReader(folder, LOG))), Usage())


def requests(folder: Path) -> dict[tuple[str, str], Usage]:
    """What the requests in the log of a folder took, by stage and model, without their price: each counts once, however
    often it was sent, so that neither kills nor restarts show."""
    last = {entry.request_id: entry for entry in _news(LogReader(folder, LOG)) if entry.request_id}
    totals: defaultdict[tuple[str, str], Usage] = defaultdict(Usage)
    for entry in last.values():
        totals[entry.what, entry.model] += dataclasses.replace(entry.usage, usd=0.0)
    return totals


@dataclass(frozen=True, slots=True)
class _Entry:
    what: str
    model: str
    request_id: str
    usage: Usage


def _news(reader: LogReader) -> Iterator[_Entry]:
    """The entries of a log that were added since it was last read; torn lines are passed over."""
    for _, _, line in reader.news():
        row = json_object(line)
        if row is None:
            continue
        try:
            yield _Entry(str(row.pop("what")), row.pop("model", ""), row.pop("request", ""), Usage(**row))
        except (TypeError, KeyError):
            continue
