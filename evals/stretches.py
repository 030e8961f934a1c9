"""Stretches of a film as answers: where a question asks from when to when something happens. Pure.

Scores are those of temporal grounding: the temporal IoU of the told stretch and the right one, and the share of the
questions in which it reaches 0.3, 0.5 and 0.7 (R1@IoU). A reply that tells no stretch, or several, has an IoU of 0 and
is counted as unread beside that.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from env.judging.vocabulary import typed

Stretch = tuple[float, float]
"""Start and end, seconds."""
REACHED = (0.3, 0.5, 0.7)
RIGHT = 0.5
"""IoU from which an answer counts as right in the accuracy."""
LONGEST = 4000
"""Characters at the end of a reply that are read."""

_N = r"\d{1,7}(?:\.\d{1,9})?"
_TIME = (
    rf"(?:(?:(\d{{1,3}}):)?(\d{{1,3}}):(\d{{1,2}}(?:\.\d+)?)(?:\s*s\b)?"
    rf"|({_N})\s*(?:mins?|minutes?|m)(?![a-z])(?:\s*(?:and\s+)?({_N})\s*(?:s|secs?|seconds?|sekunden)\b)?"
    rf"|({_N})(?:\s*(s|secs?|seconds?|sekunden)\b)?)"
)
_BETWEEN = r"\s*\.?\s*(?:to|and|until|till|through|bis|-|,|;|\n)\s*"
_PAIR = re.compile(rf"(?<![\d.:-]){_TIME}{_BETWEEN}{_TIME}(?!\d|[:.-]\d|\s*-\s*\d)", re.IGNORECASE)
_TWO = re.compile(rf"\s*({_N})\s*(?:s\b)?\s+({_N})\s*(?:s\b)?\s*")
_MARKUP = re.compile(r"</?\w+>|[*_`\"'\[\](){}<>]")
_ARROW = re.compile(r"\s*(?:-{1,3}>|=>|->|\.{2,3}|-{2,3})\s*")
_DECIMAL_COMMA = re.compile(r"(?<![\d.,])(\d+),(\d+)(\s*(?:to|bis|-)\s*)(\d+),(\d+)(?![\d.,])")
_AROUND = re.compile(
    r"\b(?:about|around|approximately|roughly|circa|from|between|at|time|t|it|the|is"
    r"|(?:start|end|begin|finish)(?:s|es|ing|ed|ning)?)\b(?:[ _]*(?:times?\b)?\s*[:=]?)|[~=]",
    re.IGNORECASE,
)
_NOT_THESE = re.compile(r"(?:\bnot|\bframes?|\bpersons?|\bnumbers?)\s*$", re.IGNORECASE)
_CHARACTERS = str.maketrans(
    {"\u2013": "-", "\u2014": "-", "\u2192": " - ", "\u5230": " to ", "\u81f3": " to ", "\u79d2": "s "}
)


@dataclass(frozen=True)
class StretchScores:
    """What replies to questions for a stretch say about a model; shares of all such questions, 0 to 1."""

    questions: int
    iou: float
    """Mean temporal IoU."""
    reached: dict[float, float]
    """Share of the questions whose IoU is that or more, for each of `REACHED`."""
    unread: int
    """Replies that told no stretch, or several."""


def stretch_of(value: object) -> Stretch | None:
    """The stretch that a row has as its answer: two numbers, or a text such as `[12.5, 15]`, the second larger; None if
    it is something else."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    if any(isinstance(edge, bool) or not isinstance(edge, int | float) or not math.isfinite(edge) for edge in value):
        return None
    return (float(value[0]), float(value[1])) if value[0] < value[1] else None


def told_stretch(reply: str) -> Stretch | None:
    """The one stretch that a reply tells, in seconds or minutes: `12.5 to 15 s`, `It starts at 0:12 and ends at 0:15`,
    `[12.5, 15]`; None where it tells none, several, or one that ends before it begins. Where some have units, the
    numbers beside them are something else."""
    text = _DECIMAL_COMMA.sub(r"\1.\2\3\4.\5", _plain(reply))
    if (two := _TWO.fullmatch(text)) is not None:
        found = [((float(two[1]), float(two[2])), False)]
    else:
        found = [
            _read(match.groups())
            for match in _PAIR.finditer(text)
            if not _NOT_THESE.search(text[: match.start()][-12:])
        ]
    told = {stretch for stretch, sure in found if sure} or {stretch for stretch, _ in found}
    if len(told) != 1:
        return None
    [(start, end)] = told
    return (start, end) if start <= end else None


def iou(told: Stretch | None, right: Stretch) -> float:
    """Temporal IoU, 0 to 1."""
    if told is None:
        return 0.0
    shared = max(0.0, min(told[1], right[1]) - max(told[0], right[0]))
    return shared / (max(told[1], right[1]) - min(told[0], right[0]))


def stretch_scores(ious: Sequence[float], unread: int = 0) -> StretchScores | None:
    """The scores of some questions by their IoU; None of none."""
    if not len(ious):
        return None
    values = np.asarray(ious)
    reached = {at: float((values >= at - 1e-6).mean()) for at in REACHED}
    return StretchScores(len(values), float(values.mean()), reached, unread)


def _plain(reply: str) -> str:
    """The reply's end without markup, and without the words around times."""
    text = typed(reply[-LONGEST:]).translate(_CHARACTERS)
    text = _ARROW.sub(" - ", _MARKUP.sub(" ", text))
    return re.sub(r"[ \t]+", " ", _AROUND.sub(" ", text)).strip()


def _read(groups: Sequence[str | None]) -> tuple[Stretch, bool]:
    """A pair of times, and whether it is told in a unit or as a clock does."""
    half = len(groups) // 2
    first, second = groups[:half], groups[half:]
    (start, start_unit), (end, end_unit) = _seconds(first), _seconds(second)
    if start_unit is None and end_unit == "minutes":
        start *= 60
    return (start, end), bool(start_unit or end_unit)


def _seconds(time: Sequence[str | None]) -> tuple[float, str | None]:
    hours, minutes, clock, whole_minutes, and_seconds, plain, unit = time
    if clock is not None:
        return 3600 * float(hours or 0) + 60 * float(minutes or 0) + float(clock), "clock"
    if whole_minutes is not None:
        return 60 * float(whole_minutes) + float(and_seconds or 0), "minutes"
    return float(plain or 0), unit
