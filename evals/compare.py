"""Two policies on the same questions. Pure.

Invariant: what is compared are the questions that both have; how many only one has is told.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evals.score import interval_over_films


@dataclass(frozen=True)
class Scored:
    """One question as one policy answered it."""

    accuracy: float
    """0 to 1."""
    film: str
    """What the question is about: questions about one film hang together."""


@dataclass(frozen=True)
class Comparison:
    """What the second is better or worse at than the first."""

    questions: int
    """That both have."""
    only_first: int
    only_second: int
    first: float
    """Accuracy of the first on the questions that both have, 0 to 1."""
    second: float
    low: float
    high: float
    """Ends of the 95 % bootstrap interval of second less first, films resampled."""
    p: float
    """Of McNemar's exact test (a sign test where answers are right in part): how likely it is that as many questions or
    more would flip one way rather than the other if both were as good."""
    gained: tuple[str, ...]
    """Ids of the questions that the second answers better, in alphabetical order."""
    lost: tuple[str, ...]
    """Of those that it answers worse."""


def compare(first: Mapping[str, Scored], second: Mapping[str, Scored], seed: int = 0) -> Comparison:
    """Compare two policies by the ids of questions. Raises ValueError: they have no question in common."""
    both = sorted(first.keys() & second.keys())
    if not both:
        raise ValueError("the two have no question in common")
    differences = np.array([second[name].accuracy - first[name].accuracy for name in both])
    gained = tuple(name for name, more in zip(both, differences, strict=True) if more > 0)
    lost = tuple(name for name, more in zip(both, differences, strict=True) if more < 0)
    _, film = np.unique([first[name].film for name in both], return_inverse=True)
    low, high = interval_over_films(np.bincount(film), np.bincount(film, weights=differences), seed)
    return Comparison(
        questions=len(both),
        only_first=len(first) - len(both),
        only_second=len(second) - len(both),
        first=float(np.mean([first[name].accuracy for name in both])),
        second=float(np.mean([second[name].accuracy for name in both])),
        low=low,
        high=high,
        p=sign_test(len(gained), len(lost)),
        gained=gained,
        lost=lost,
    )


def sign_test(more: int, less: int) -> float:
    """The two-sided exact probability of a split at least as uneven, were both ways as likely."""
    flips, fewer = more + less, min(more, less)
    tail = sum(math.comb(flips, k) for k in range(fewer + 1))
    return min(1.0, 2 * tail / 2**flips)
