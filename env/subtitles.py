"""Subtitles of a video: SRT, WebVTT, and the two JSON schemas of LongVideoBench.

Invariant: lines come by rising start, in the video's own time; a line without an end lasts until the next begins.
"""

import bisect
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from storage.files import JsonObject
from tools.decoding.frame import VideoError

_CUE = re.compile(r"(?P<start>[\d:.,]+)\s*-->\s*(?P<end>[\d:.,]+)")
_TAG = re.compile(r"<[^>]*>|\{\\[^}]*\}")


@dataclass(frozen=True)
class Line:
    """What is said at a time."""

    start_s: float
    end_s: float
    """Infinite where it is not known and no line follows."""
    text: str

    def __str__(self) -> str:
        return f"{max(0.0, self.start_s):.1f} s: {self.text}"


@lru_cache(maxsize=64)
def read_subtitles(path: str, from_s: float = 0.0) -> tuple[Line, ...]:
    """The lines of a file that end after `from_s`, the time of the file at which the video begins, which is 0 in what
    comes back. Raises VideoError: it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise VideoError(f"{path}: subtitles cannot be read ({error.strerror})") from None
    try:
        found = list(_of_json(json.loads(text)) if text.lstrip()[:1] in ("[", "{") else _of_cues(text))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise VideoError(f"{path}: subtitles cannot be read ({type(error).__name__}: {error})") from None
    found.sort(key=lambda line: line[0])
    starts = [start for start, _, _ in found]
    lines = []
    for start, end, said in found:
        after = bisect.bisect_right(starts, start)
        until = end if end is not None else starts[after] if after < len(starts) else math.inf
        if said and until > from_s:
            lines.append(Line(start - from_s, until - from_s, said))
    return tuple(lines)


def lines_at(lines: Sequence[Line], times: Sequence[float]) -> list[Line]:
    """The lines that are on show at any of some times, seconds, each once."""
    return [line for line in lines if any(line.start_s <= time <= line.end_s for time in times)]


def within(lines: Sequence[Line], most_chars: int) -> list[Line]:
    """As many lines as have so many characters together, spread evenly over all of them."""
    for step in range(1, len(lines) + 1):
        kept = list(lines[::step])
        if sum(len(str(line)) + 1 for line in kept) <= most_chars:
            return kept
    return []


def _of_cues(text: str) -> Iterator[tuple[float, float | None, str]]:
    if text.strip() and not text.startswith("WEBVTT") and not _CUE.search(text):
        raise ValueError("holds none; they are SRT, WebVTT, or JSON with start, end and line")
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip().split("\n")
        for i, line in enumerate(lines):
            if cue := _CUE.search(line):
                said = " ".join(_TAG.sub("", " ".join(lines[i + 1 :])).split())
                yield _seconds(cue["start"]), _seconds(cue["end"]), said
                break


def _of_json(rows: object) -> Iterator[tuple[float, float | None, str]]:
    if not isinstance(rows, list):
        raise ValueError("not a list of lines")
    for row in rows:
        start, end, said = _timed(row)
        if start is not None:
            yield _seconds(start), None if end is None else _seconds(end), " ".join(_TAG.sub("", said).split())


def _timed(row: JsonObject) -> tuple[str | float | None, str | float | None, str]:
    if "timestamp" in row:
        start, end = row["timestamp"]
        return start, end, str(row["text"])
    return row["start"], row.get("end"), str(row["line"])


def _seconds(time: str | float) -> float:
    """Seconds of `1:02:03.5`, `02:03,500` or a number."""
    if not isinstance(time, str):
        return float(time)
    total = 0.0
    for part in time.replace(",", ".").split(":"):
        total = 60 * total + float(part)
    return total
