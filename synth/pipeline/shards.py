"""What a stage has done of one shard of records, on disk, so that a run killed at any moment loses what was in flight.

A stage reads the shard that the stage before it wrote, and journals each record as it ends. The journal becomes the
shard's file, whole and in the order of the input, when all have ended.

Invariants: a shard's file is complete and never changes; it is a function of its input and of what the stage answers,
not of the order in which records ended or of how often the run was stopped or killed; a record that keeps killing its
worker is found by trying it alone, and not tried for ever. A worker that ended with its run died of that, and of none
of its records.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from synth.record import Record

SUSPECT_DEATHS = 2
"""Deaths of a worker with a record in work after which it is tried alone."""
ALONE_DEATHS = 2
"""Deaths of a worker that was trying a record alone after which the record is given up."""


def shard_file(folder: Path, index: int) -> Path:
    """Where a stage whose folder this is keeps a shard; it is there only when complete."""
    return folder / f"{index:06d}.jsonl"


def read_records(path: Path) -> list[Record]:
    """The records of a file of JSON lines."""
    with open(path, encoding="utf-8") as lines:
        return [Record.from_dict(json.loads(line)) for line in lines]


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON lines, whole or not at all."""
    partial = path.with_suffix(f".{os.getpid()}.partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(record.to_dict()) + "\n" for record in records)
    partial.replace(path)


class Journal:
    """A worker's work on one shard. It is open from its making to `finish` or `close`."""

    def __init__(self, folder: Path, index: int, run: str) -> None:
        """Take up the shard, where the workers before left it.

        Args:
            run: whatever tells this start of the run from those before it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._file = shard_file(folder, index)
        self._path = self._file.with_suffix(".journal")
        self.done: dict[str, list[Record]] = {}
        """What records of the input became, by id."""
        self._with: Counter[str] = Counter()
        self._alone: Counter[str] = Counter()
        text = self._path.read_bytes() if self._path.exists() else b""
        worker = {"worker": os.getpid(), "run": run}
        self._read([*text.split(b"\n"), json.dumps(worker).encode()])
        self._lines = open(self._path, "ab")  # noqa: SIM115 - held for the shard's time
        # A kill may have cut the last line short.
        self._lines.write(b"\n" if text and not text.endswith(b"\n") else b"")
        self._append(worker)

    def suspected(self, record: Record) -> bool:
        """Whether workers died with the record in work, so that it must be tried alone."""
        return self._with[record.id] >= SUSPECT_DEATHS

    def hopeless(self, record: Record) -> bool:
        """Whether workers died that tried the record alone."""
        return self._alone[record.id] >= ALONE_DEATHS

    def begin(self, record: Record, alone: bool = False) -> None:
        """A record is in work; `alone` if its worker has no other, of whatever shard."""
        self._append({"begin": record.id, "alone": alone})

    def end(self, record: Record, made: Sequence[Record]) -> None:
        """What a record became."""
        self._append({"end": record.id, "made": [each.to_dict() for each in made]})
        self.done[record.id] = list(made)

    def finish(self, order: Iterable[Record]) -> None:
        """Write the shard's file, in the order of the input, when all of its records have ended."""
        write_records(self._file, (made for record in order for made in self.done[record.id]))
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Leave the shard as it is."""
        self._lines.close()

    def _append(self, row: dict[str, Any]) -> None:
        self._lines.write(json.dumps(row).encode() + b"\n")
        self._lines.flush()

    def _read(self, lines: Iterable[bytes]) -> None:
        run, in_work = "", dict[str, bool]()
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if "worker" in row:
                if row.get("run") == run:
                    self._with.update(in_work.keys())
                    self._alone.update(record for record, alone in in_work.items() if alone)
                run, in_work = row.get("run"), {}
            elif "begin" in row:
                in_work[row["begin"]] = row.get("alone", False)
            else:
                in_work.pop(row["end"], None)
                self.done[row["end"]] = [Record.from_dict(made) for made in row["made"]]
