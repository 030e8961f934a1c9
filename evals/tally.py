"""Sums over scored questions, however many, and the shares that they come to. Pure.

Invariants: every question that was added is in every denominator that it belongs to; what is kept of one are twenty
bytes; sums of parts of a set add up to the sums of the whole.
"""

import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from env.datasets.v2p_bench import duration_class
from env.task import Task
from evals.published_rules import PUBLISHED, PublishedScore
from evals.score import interval_over_films
from evals.stretches import StretchScores, stretch_scores
from storage.files import JsonObject

GROUPS = ("dimension", "duration", "domain", "sub_category", "task_type", "level", "kind")
"""What scores are told apart by."""


@dataclass(frozen=True)
class Share:
    """A share of questions that are right, with its uncertainty."""

    mean: float
    """0 to 1."""
    low: float
    high: float
    """Ends of the 95 % Wilson interval, as if questions were independent."""
    questions: int


@dataclass(frozen=True)
class SetScores:
    """What a set of questions says about a model."""

    accuracy: Share
    by_film: tuple[float, float]
    """Ends of the 95 % bootstrap interval of the accuracy, films resampled: questions about one film hang together."""
    films: int
    groups: dict[str, dict[str, Share]]
    """By key of `GROUPS` and its value."""
    published: dict[str, PublishedScore]
    """What published scripts would print about the choices."""
    stretches: StretchScores | None
    """Of the questions that ask for a stretch of the film; None if there are none."""


def _two() -> list[float]:
    return [0.0, 0.0]


def _three() -> list[float]:
    return [0.0, 0.0, 0.0]


@dataclass
class Tally:
    """Sums over rows."""

    ids: "array[int]" = field(default_factory=lambda: array("Q"))
    """A hash of each row's id."""
    films: "array[int]" = field(default_factory=lambda: array("Q"))
    """A hash of each question's film."""
    right: "array[float]" = field(default_factory=lambda: array("f"))
    """R_acc of each question."""
    groups: defaultdict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(_two))
    published: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(_three))
    """Right, counted and unread ones by each rule."""
    ious: "array[float]" = field(default_factory=lambda: array("f"))
    """Temporal IoU of each question that asks for a stretch."""
    untold: int = 0
    """Replies to those that told no stretch, or several."""
    unread: int = 0
    undecided: int = 0

    def add(self, task: Task, groups: Mapping[str, str], right: float) -> None:
        """Count a question."""
        self.films.append(key_of(task.video))
        self.right.append(right)
        for item in groups.items():
            self.groups[item][0] += 1
            self.groups[item][1] += right

    def merge(self, other: "Tally") -> None:
        """Add the sums of other rows."""
        for mine, theirs in ((self.groups, other.groups), (self.published, other.published)):
            for key, sums in theirs.items():
                mine[key] = [a + b for a, b in zip(mine[key], sums, strict=True)]  # type: ignore[index]
        for ours, others in (
            (self.ids, other.ids),
            (self.films, other.films),
            (self.right, other.right),
            (self.ious, other.ious),
        ):
            ours.extend(others)  # type: ignore[arg-type]
        self.unread += other.unread
        self.untold += other.untold
        self.undecided += other.undecided

    def publish(self, task: Task, reply: str, rules: Iterable[str]) -> None:
        """Count what published rules say of a reply to a choice."""
        for name in rules:
            sums, letter = self.published[name], PUBLISHED[name].read(reply)
            score = PUBLISHED[name].score(letter, task.answer, len(task.options or ()))
            sums[2] += letter is None
            if score is not None:
                sums[0] += score
                sums[1] += 1

    def scores(self, seed: int) -> SetScores:
        """The scores of what was added, at least one question; `seed` is of the bootstrap."""
        _, film = np.unique(np.frombuffer(self.films, dtype=np.uint64), return_inverse=True)
        right = np.frombuffer(self.right, dtype=np.float32)
        questions, sums = np.bincount(film), np.bincount(film, weights=right)
        return SetScores(
            accuracy=share_of(questions.sum(), sums.sum()),
            by_film=interval_over_films(questions, sums, seed),
            films=len(questions),
            groups={
                key: {value: share_of(*sums) for (group, value), sums in sorted(self.groups.items()) if group == key}
                for key in GROUPS
                if any(group == key for group, _ in self.groups)
            },
            published={
                name: PublishedScore(correct / counted if counted else None, int(counted), int(unread))
                for name, (correct, counted, unread) in self.published.items()
            },
            stretches=stretch_scores(self.ious, self.untold),
        )


def groups_of(task: Task, row: JsonObject | None = None) -> dict[str, str]:
    """What the scores of a question are told apart by: the task's words, before them those of a row of responses. A
    duration in seconds is put into one of V2P-Bench's classes."""
    row = row or {}
    found = {"dimension": task.dimension, "kind": task.kind, **task.labels}
    found |= {key: str(row[key]) for key in GROUPS if row.get(key) not in (None, "")}
    seconds = row.get("duration")
    if isinstance(seconds, int | float):
        found["duration"] = duration_class(seconds)
    return {key: value for key, value in found.items() if value}


def key_of(name: str) -> int:
    """Sixty-four bits that stand for a name."""
    return int.from_bytes(blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


def share_of(questions: float, right: float) -> Share:
    """The share with its Wilson interval."""
    n, z = float(questions), 1.959964
    mean = float(right) / n
    middle = (mean + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    return Share(mean, max(0.0, middle - half), min(1.0, middle + half), int(n))
