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

from storage.files import JsonObject, read_rows, write_rows
from storage.logs import AppendLog, whole_rows
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
    return [Record.from_dict(row) for row in read_rows(path)]


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON lines, whole or not at all."""
    write_rows(path, (record.to_dict() for record in records))


class Journal:
    """A worker's work on one shard. It is open from its making to `finish` or `close`."""

    def __init__(self, folder: Path, index: int, run: str) -> None:
        """Take up the shard, where the workers before left it.

        Args:
            run: whatever tells this start of the run from those before it.
        """
        self._file = shard_file(folder, index)
        self._path = self._file.with_suffix(".journal")
        self.done: dict[str, list[Record]] = {}
        """What records of the input became, by id."""
        self._with: Counter[str] = Counter()
        self._alone: Counter[str] = Counter()
        self._log = AppendLog(self._path)
        self._append({"worker": os.getpid(), "run": run})
        self._replay(whole_rows(self._path))

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
        self._log.close()

    def _append(self, row: JsonObject) -> None:
        self._log.append(json.dumps(row).encode())

    def _replay(self, rows: Iterable[JsonObject]) -> None:
        run, in_work = "", dict[str, bool]()
        for row in rows:
            if "worker" in row:
                if row.get("run") == run:
                    self._with.update(in_work.keys())
                    self._alone.update(record for record, alone in in_work.items() if alone)
                run, in_work = row.get("run", ""), {}
            elif "begin" in row:
                in_work[row["begin"]] = row.get("alone", False)
            else:
                in_work.pop(row["end"], None)
                self.done[row["end"]] = [Record.from_dict(made) for made in row["made"]]
