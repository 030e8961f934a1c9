"""Files and folders that are whole or not there.

Invariant: what has its final name is complete. It is filled under another name, ending in `.partial`, and renamed;
where the block that fills it raises, or its process is killed, whatever was there before stays as it was.
"""

import json
import os
import shutil
import threading
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

JsonObject = dict[str, Any]
"""A JSON object, such as a row of a file of JSON lines; what its values are is its reader's to check."""
PARTIAL = ".partial"
"""Ending of what is not whole yet; never read."""


@contextmanager
def whole_file(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """A file to fill in the block; when the block ends it has the name `path`. Threads and processes may race for it.
    `durable` has it on disk first, so that a power cut leaves the old file or the new one. Raises OSError where the
    disk is full or the folder cannot be written to; what was there is untouched."""
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{PARTIAL}")
    try:
        yield partial
        if durable:
            flush(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    if durable:
        flush(path.parent)


@contextmanager
def whole_folder(path: str | Path, *, durable: bool = False) -> Iterator[Path]:
    """A new folder to fill in the block; when the block ends it has the name `path`, in place of one that was there.

    For one writer at a time: what a killed one left under the other name is removed first.
    """
    partial = begin_folder(path)
    yield partial
    commit_folder(partial, durable=durable)


def begin_folder(path: str | Path) -> Path:
    """An empty folder for `commit_folder` to rename to `path`; these are `whole_folder` in halves, for two threads."""
    partial = Path(f"{path}{PARTIAL}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def commit_folder(partial: Path, *, durable: bool = False) -> Path:
    """Give what `begin_folder` gave its final name; the new path."""
    final = partial.with_name(partial.name.removesuffix(PARTIAL))
    if durable:
        for item in [*partial.rglob("*"), partial]:
            flush(item)
    if final.exists():
        shutil.rmtree(final)
    partial.rename(final)
    if durable:
        flush(final.parent)
    return final


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_rows(path: str | Path, rows: Iterable[JsonObject]) -> None:
    """Write JSON lines, whole or not at all; one row is in memory at a time."""
    with whole_file(path) as partial, open(partial, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def read_rows(path: str | Path) -> Iterator[JsonObject]:
    """The rows of a file of JSON lines that is whole; see `numbered_rows`."""
    return (row for _, row in numbered_rows(path))


def numbered_rows(path: str | Path) -> Iterator[tuple[int, JsonObject]]:
    """The rows of a file of JSON lines, each with the number of its line, from 1; empty lines and a byte-order mark are
    passed over. Raises OSError where it cannot be read, ValueError, with file and line, where a line is no JSON."""
    return ((number, row) for number, _, row in placed_rows(path))


def placed_rows(path: str | Path) -> Iterator[tuple[int, int, JsonObject]]:
    """The same, with the place of each line's first byte between the two, for `row_at`."""
    place = 0
    with open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            mark = len(BOM_UTF8) if number == 1 and line.startswith(BOM_UTF8) else 0
            if not line[mark:].isspace():
                yield number, place + mark, _row(line[mark:], path, number)
            place += len(line)


def row_at(path: str | Path, file: BinaryIO, place: int) -> JsonObject:
    """The row of a line that begins there, of an open file; `path` is its name for errors. Not for two threads."""
    file.seek(place)
    return _row(file.readline(), path, None)


def _row(line: bytes, path: str | Path, number: int | None) -> JsonObject:
    try:
        return json.loads(line.decode())
    except (json.JSONDecodeError, RecursionError) as error:
        where = "it" if number is None else f"line {number}"
        raise ValueError(f"{path}: {where} is not JSON ({error})") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text") from None
    except ValueError as error:  # a number of too many digits
        raise ValueError(f"{path}: line {number} cannot be read ({error})") from None


def flush(path: str | Path) -> None:
    """Have a file or folder on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
