"""What a row of a data set asks, whichever it is: unchecked, its files by the names that the data set gives them."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from env.datasets.choices import answer_letter
from env.datasets.rows import BadRow
from env.task import MAX_OPTIONS
from storage.files import JsonObject

MAX_OWN_ID = 80
"""Characters kept of a data set's own id."""


@dataclass(frozen=True)
class Region:
    """A target in a picture of a video that is a folder of pictures."""

    picture: int
    """Which picture, from 0."""
    rle: JsonObject
    """COCO run-length encoding of the target's mask."""


@dataclass(frozen=True)
class Question:
    """One question of a data set."""

    id: str
    """The data set's own; empty if it has none."""
    source: str
    """The data set and its part, e.g. `Video-MME/short`."""
    video: str
    question: str
    answer: str
    """A letter or a text where there are options."""
    options: tuple[str, ...] | None = None
    """Texts of the options, without letters."""
    dimension: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What else the data set's scores are told apart by, e.g. `{"duration": "short"}`."""
    marked: tuple[str, ...] = ()
    """Pictures on which the target is marked."""
    regions: tuple[Region, ...] = ()
    """Targets that are still to be marked, one for each picture that the question speaks of."""
    subtitles: str = ""
    subtitles_from_s: float = 0.0
    """Time of the subtitles at which the video begins, seconds."""


Reader = Callable[[Mapping[str, object]], Iterator[Question | BadRow]]
"""The questions of a row, each found or bad. Raises `BadRow` if the whole row is."""


def checked(found: Question) -> Question:
    """The question with its texts on one line each and a letter as its answer where it has options. Raises BadRow:
    question, options and answer do not agree."""
    question = _line(found.question)
    if not question:
        raise BadRow("has an empty question")
    options = None if found.options is None else tuple(map(_line, found.options))
    answer = _line(found.answer) if options is None else _letter(_line(found.answer), options)
    if not answer:
        raise BadRow("has an empty answer")
    return dataclasses.replace(found, question=question, answer=answer, options=options)


def digest(video: str, question: str, options: tuple[str, ...] | None) -> str:
    """Hexadecimal digits that differ where what is asked does. `video` is a path that is not yet joined to a root:
    moving the videos changes nothing."""
    asked = json.dumps([str(PurePosixPath(video)), question, options])
    return hashlib.blake2b(asked.encode(), digest_size=8).hexdigest()


def file_name(own_id: str) -> str:
    """A data set's own id in the characters of a file name."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", own_id)[:MAX_OWN_ID].lstrip(".-")


def _letter(answer: str, options: tuple[str, ...]) -> str:
    if not 2 <= len(options) <= MAX_OPTIONS:
        raise BadRow(f"has {len(options)} options; a choice has 2 to {MAX_OPTIONS}")
    if not all(options):
        raise BadRow("has an empty option")
    letter = answer_letter(answer, options)
    if letter is None:
        raise BadRow("has an answer that is none of its options, or several")
    if options.count(options[ord(letter) - ord("A")]) > 1:
        raise BadRow("has its answer twice among its options")
    return letter


def _line(text: str) -> str:
    return " ".join(text.split())
