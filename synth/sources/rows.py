"""The rows of a source's file, whatever holds them: a JSON list, JSON lines, CSV or Parquet.

Invariants: a row that cannot be read costs itself only, and is reported with its place; JSON lines, CSV and Parquet are
read as they are needed. Bytes that are not UTF-8 reach the reader of the row as lone surrogates, so they cost it only.
"""

import csv
import json
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

from storage.files import JsonObject

PARQUET_MAGIC = b"PAR1"
HEAD_BYTES = 65536
"""Read to tell what a file holds."""
CONTAINERS = "a JSON list, JSON lines, CSV or Parquet"


class SourceError(ValueError):
    """A source cannot be used at all; the message is one sentence."""


@dataclass(frozen=True)
class Row:
    """One row, or why it is none."""

    where: str
    """`file:line` of its first line, or `file[index]`."""
    values: JsonObject
    wrong: str = ""
    """Why it could not be read; empty if it could."""


def source_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, in order. Blank lines are none.

    Raises:
        SourceError: missing, not a file, empty, or none of the four containers.
    """
    if not os.path.isfile(path):
        raise SourceError(f"{path}: no such file; name a file of questions or a folder of videos")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read ({error.strerror}); name a file that can be") from None
    text = head.decode("utf-8-sig", errors="replace").lstrip()
    if not text:
        raise SourceError(f"{path}: is empty; it should hold {CONTAINERS}")
    if head.startswith(PARQUET_MAGIC):
        return _parquet(path)
    if "\0" in text:
        raise SourceError(f"{path}: is binary; it should hold {CONTAINERS}, as UTF-8 text where it is text")
    match path.suffix.lower():
        case ".csv":
            return _csv(path)
        case ".jsonl":
            return _json_lines(path)
    if text.startswith("["):
        return _json_list(path)
    if text.startswith("{"):
        return _json_lines(path)
    if {"video", "question"} <= set(text.splitlines()[0].split(",")):
        return _csv(path)
    raise SourceError(f"{path}: is of no known form; it should hold {CONTAINERS}")


def _open(path: Path, newline: str) -> IO[str]:
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline=newline)


def _json_list(path: Path) -> Iterator[Row]:
    try:
        with _open(path, "\n") as file:
            rows = json.load(file)
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: is not JSON ({error}); is it whole?") from None
    if not isinstance(rows, list):
        raise SourceError(f"{path}: is not a list of rows; it should hold {CONTAINERS}")
    return (_row(f"{path}[{i}]", row) for i, row in enumerate(rows))


def _json_lines(path: Path) -> Iterator[Row]:
    with _open(path, "\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                yield _row(where, json.loads(line))
            except (ValueError, RecursionError):
                yield Row(where, {}, "is not JSON")


def _row(where: str, row: object) -> Row:
    return Row(where, row) if isinstance(row, dict) else Row(where, {}, "is not a JSON object")


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            batches = (batch.to_pylist() for batch in file.iter_batches(batch_size=1024))
            for i, row in enumerate(chain.from_iterable(batches)):
                yield Row(f"{path}[{i}]", row)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise SourceError(f"{path}: is not readable as Parquet ({reason}); is it whole?") from None


def _csv(path: Path) -> Iterator[Row]:
    with _open(path, "") as file:
        lines = _Lines(file)
        _, header = next(_csv_records(lines, 0), (1, ""))
        if isinstance(header, str):
            raise SourceError(f"{path}: its header {header or 'is missing'}; it should name the columns")
        names = [name.strip() for name in header]
        for number, fields in _csv_records(lines, len(names)):
            where = f"{path}:{number}"
            if isinstance(fields, str):
                yield Row(where, {}, fields)
            else:
                yield Row(where, dict(zip(names, fields, strict=True)))


def _csv_records(lines: "_Lines", columns: int) -> Iterator[tuple[int, list[str] | str]]:
    """(first line, fields or what is wrong) of each record; with 0 columns any number of them is right.

    A quote that is never closed swallows the lines after it: of a record that fails, all but the first line are read
    again.
    """
    while True:
        lines.taken.clear()
        reader = csv.reader(lines, strict=True)
        while True:
            try:
                fields = next(reader, None)
                wrong = ""
            except csv.Error as error:
                fields, wrong = [], f"is not CSV ({error})"
            if fields is None:
                return
            if not wrong and columns and fields and len(fields) != columns:
                wrong = f"has {len(fields)} columns where the header has {columns}"
            number = lines.number - len(lines.taken) + 1
            if wrong:
                lines.give_back()
                yield number, wrong
                break
            lines.taken.clear()
            if fields:
                yield number, fields


class _Lines:
    """Lines of a file, with a note of those taken since the last record."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._again: deque[str] = deque()
        self.taken: list[str] = []
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._file)
        self.taken.append(line)
        self.number += 1
        return line

    def give_back(self) -> None:
        """Have all but the first of the lines taken read again."""
        self._again.extendleft(reversed(self.taken[1:]))
        self.number -= len(self.taken[1:])
        self.taken.clear()
