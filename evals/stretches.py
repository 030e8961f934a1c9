"""Stretches of a film as answers: where a question asks from when to when something happens. Pure.

Scores are those of temporal grounding: the temporal IoU of the told stretch and the right one, and the share of the
questions in which it reaches 0.3, 0.5 and 0.7 (R1@IoU). A reply that tells no stretch, or several, has an IoU of 0.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Stretch = tuple[float, float]
"""Start and end, seconds."""
REACHED = (0.3, 0.5, 0.7)
RIGHT = 0.5
"""IoU from which an answer counts as right in the accuracy."""

_TIME = r"(?:(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2}(?:\.\d+)?)|(\d{1,7}(?:\.\d+)?))"
_UNIT = r"\s*(?:s\b|secs?\b|seconds?\b)?\.?"
_BETWEEN = r"\s*(?:to|and|until|till|through|bis|[-\u2013\u2014~,;])\s*"
_PAIR = re.compile(rf"(?<![\d.:]){_TIME}{_UNIT}{_BETWEEN}{_TIME}(?![\d:])", re.IGNORECASE)
_BLANK = re.compile(
    r"\bat\b|\b(?:start|end|from|between|time|seconds?|s)\b[\"']?\s*[:=]?|[\"'<>\[\](){}]", re.IGNORECASE
)
"""What is said around times."""


@dataclass(frozen=True)
class StretchScores:
    """What replies to questions for a stretch say about a model; shares of all such questions, 0 to 1."""

    questions: int
    iou: float
    """Mean temporal IoU."""
    reached: dict[float, float]
    """Share of the questions whose IoU is that or more, for each of `REACHED`."""


def stretch_of(value: object) -> Stretch | None:
    """The stretch that a row has as its answer: two numbers, the second larger; None if it is none."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    if any(isinstance(edge, bool) or not isinstance(edge, int | float) or not math.isfinite(edge) for edge in value):
        return None
    return (float(value[0]), float(value[1])) if value[0] < value[1] else None


def told_stretch(reply: str) -> Stretch | None:
    """The one stretch that a reply tells, in seconds or as minutes and seconds: `12.5 to 15 s`, `from 0:12 to 0:15`,
    `[12.5, 15]`; None where it tells none, several, or one that ends before it begins."""
    found = {
        (_seconds(pair.groups()[:4]), _seconds(pair.groups()[4:])) for pair in _PAIR.finditer(_BLANK.sub(" ", reply))
    }
    if len(found) != 1:
        return None
    [(start, end)] = found
    return (start, end) if start <= end else None


def iou(told: Stretch | None, right: Stretch) -> float:
    """Temporal IoU, 0 to 1."""
    if told is None:
        return 0.0
    shared = max(0.0, min(told[1], right[1]) - max(told[0], right[0]))
    return shared / (max(told[1], right[1]) - min(told[0], right[0]))


def stretch_scores(ious: Sequence[float]) -> StretchScores | None:
    """The scores of some questions by their IoU; None of none."""
    if not len(ious):
        return None
    values = np.asarray(ious)
    return StretchScores(len(values), float(values.mean()), {at: float((values >= at - 1e-6).mean()) for at in REACHED})


def _seconds(time: Sequence[str | None]) -> float:
    hours, minutes, seconds, plain = time
    return float(plain) if plain else 3600 * float(hours or 0) + 60 * float(minutes or 0) + float(seconds or 0)
