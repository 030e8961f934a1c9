"""The rows of a source's file, whatever holds them: a JSON list, JSON lines, CSV, TSV or Parquet.

Invariants: a row that cannot be read costs itself only, and is reported with its place; JSON lines, CSV and Parquet are
read as they are needed. Bytes that are not UTF-8 reach the reader of the row as lone surrogates, so they cost it only.
"""

import csv
import json
import os
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO

from storage.files import JsonObject

PARQUET_MAGIC = b"PAR1"
HEAD_BYTES = 65536
"""Read to tell what a file holds."""
CONTAINERS = "a JSON list, JSON lines, CSV, TSV or Parquet"


class SourceError(ValueError):
    """A source cannot be used at all; the message is one sentence."""


class BadRow(ValueError):
    """A row that cannot be used; the message is a clause about it, e.g. `has no 'question'`."""


Row = tuple[str, JsonObject | BadRow]
"""Where a row is, `file:line` of its first line or `file[index]`, and what it holds or why it could not be read."""


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
        case ".tsv":
            return _csv(path, "\t")
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
                yield where, BadRow("is not JSON")


def _row(where: str, row: object) -> Row:
    return where, row if isinstance(row, dict) else BadRow("is not a JSON object")


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            batches = (batch.to_pylist() for batch in file.iter_batches(batch_size=1024))
            for i, row in enumerate(chain.from_iterable(batches)):
                yield f"{path}[{i}]", row
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise SourceError(f"{path}: is not readable as Parquet ({reason}); is it whole?") from None


def _csv(path: Path, delimiter: str = ",") -> Iterator[Row]:
    """A quote that is never closed swallows the lines after it: of a record that fails, all but the first line are read
    again."""
    number, names, again = 1, list[str](), deque[str]()
    with _open(path, "") as file:
        while True:
            taken: list[str] = []
            try:
                fields, wrong = next(csv.reader(_lines(file, again, taken), strict=True, delimiter=delimiter), None), ""
            except csv.Error as error:
                fields, wrong = [], f"is not CSV ({error})"
            if not names and (wrong or fields is None):
                raise SourceError(f"{path}: its header {wrong or 'is missing'}; it should name the columns")
            if fields is None:
                return
            if fields and names and len(fields) != len(names):
                wrong = f"has {len(fields)} columns where the header has {len(names)}"
            where = f"{path}:{number}"
            if wrong:
                again.extendleft(reversed(taken[1:]))
                del taken[1:]
                yield where, BadRow(wrong)
            elif fields and names:
                yield where, dict(zip(names, fields, strict=True))
            elif fields:
                names = [name.strip() for name in fields]
            number += len(taken)


def _lines(file: IO[str], again: deque[str], taken: list[str]) -> Iterator[str]:
    """The next lines, those to be read again first, each noted in `taken`."""
    while line := again.popleft() if again else next(file, ""):
        taken.append(line)
        yield line
