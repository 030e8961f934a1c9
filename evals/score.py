"""Scores of finished episodes. Pure.

Invariant: every episode stays in every denominator. An episode without an answer scores 0, whatever its reward says,
and a question that was played several times weighs as much as one that was played once.
"""

from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from env.looks import SeekingScores, Sought
from env.trajectory import Trajectory


@dataclass(frozen=True)
class Accuracy:
    """The judge's mean R_acc with its uncertainty."""

    mean: float
    """0 to 1."""
    low: float
    """Lower end of the 95 % bootstrap interval, tasks resampled."""
    high: float
    """Upper end of that interval."""
    tasks: int
    """Questions it rests on, n."""


@dataclass(frozen=True)
class Scores:
    """What a set of episodes says about a policy."""

    accuracy: Accuracy
    dimensions: dict[str, Accuracy]
    """By V2P-Bench dimension, in alphabetical order."""
    kinds: dict[str, Accuracy]
    """By kind of question, in alphabetical order; those that have none are left out."""
    seeking: SeekingScores | None
    """How the questions were sought whose evidence is known; None if there are none."""
    seeking_by_kind: dict[str, SeekingScores]
    """The same by kind of question."""
    episodes: int
    tool_calls: float
    """Calls an episode."""
    tools: dict[str, float]
    """Calls an episode of each tool that was called."""
    tool_error_rate: float
    """Failed calls over calls; 0 if nothing was called."""
    parse_rate: float
    """Share of the episodes that ended with an answer."""
    reward: float
    """Mean total reward."""
    response_tokens: float
    """Sampled tokens an episode."""
    seconds: float
    """Wall time an episode."""


def accuracy_over(scores: Scores, kinds: Container[str]) -> float | None:
    """Accuracy on the questions of some kinds, 0 to 1; None if there are none."""
    parts = [part for kind, part in scores.kinds.items() if kind in kinds]
    return sum(part.mean * part.tasks for part in parts) / sum(part.tasks for part in parts) if parts else None


def accuracy_of(trajectory: Trajectory) -> float:
    """R_acc of one episode, 0 to 1; 0 without an answer."""
    return 0.0 if trajectory.answer is None else trajectory.rewards.accuracy


def gains(before: Iterable[Trajectory], after: Iterable[Trajectory]) -> np.ndarray:
    """How much more of each question the later episodes got right, -1 to 1 [questions]; of those that both played, in
    the order of their ids."""
    first, second = (_by_task((each.task_id, accuracy_of(each)) for each in episodes) for episodes in (before, after))
    both = sorted(first.keys() & second.keys())
    return np.array([np.mean(second[task]) - np.mean(first[task]) for task in both])


def accuracies(episodes: Iterable[Trajectory]) -> dict[str, float]:
    """Accuracy of each question, 0 to 1, by its id."""
    by_task = _by_task((each.task_id, accuracy_of(each)) for each in episodes)
    return {task: float(np.mean(found)) for task, found in by_task.items()}


def _by_task(accuracies: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    by_task: dict[str, list[float]] = {}
    for task, accuracy in accuracies:
        by_task.setdefault(task, []).append(accuracy)
    return by_task


@dataclass(frozen=True)
class _Episode:
    """What is scored of an episode."""

    task_id: str
    dimension: str
    kind: str
    sought: Sought | None
    accuracy: float
    answered: bool
    calls: tuple[tuple[str, bool], ...]
    """Tool and success of each."""
    reward: float
    tokens: int
    seconds: float

    @staticmethod
    def of(trajectory: Trajectory) -> "_Episode":
        return _Episode(
            trajectory.task_id,
            trajectory.dimension,
            trajectory.kind,
            Sought.of(trajectory),
            accuracy_of(trajectory),
            trajectory.answer is not None,
            tuple((call.name, call.ok) for call in trajectory.calls),
            trajectory.rewards.total,
            trajectory.transcript.sampled_tokens,
            trajectory.seconds,
        )


def score(trajectories: Iterable[Trajectory], seed: int = 0, resamples: int = 2000) -> Scores:
    """The scores of finished episodes.

    Args:
        trajectories: At least one, each looked at once and not kept; several of one task count as one question.
        seed: Of the bootstrap; the same episodes and seed give the same intervals.
        resamples: Bootstrap resamples of the tasks.

    Raises:
        ValueError: no episodes.
    """
    played = [_Episode.of(trajectory) for trajectory in trajectories]
    if not played:
        raise ValueError("no episodes to score; play at least one task")
    calls = [call for episode in played for call in episode.calls]
    episodes = len(played)
    kinds = {
        kind: [episode for episode in played if episode.kind == kind]
        for kind in sorted({episode.kind for episode in played if episode.kind})
    }
    return Scores(
        accuracy=_accuracy(played, seed, resamples),
        dimensions={
            name: _accuracy([episode for episode in played if episode.dimension == name], seed, resamples)
            for name in sorted({episode.dimension for episode in played})
        },
        kinds={kind: _accuracy(of_kind, seed, resamples) for kind, of_kind in kinds.items()},
        seeking=_seeking(played),
        seeking_by_kind={kind: found for kind, of_kind in kinds.items() if (found := _seeking(of_kind))},
        episodes=episodes,
        tool_calls=len(calls) / episodes,
        tools={name: n / episodes for name, n in sorted(Counter(name for name, _ in calls).items())},
        tool_error_rate=sum(not ok for _, ok in calls) / max(1, len(calls)),
        parse_rate=sum(episode.answered for episode in played) / episodes,
        reward=float(np.mean([episode.reward for episode in played])),
        response_tokens=sum(episode.tokens for episode in played) / episodes,
        seconds=float(np.mean([episode.seconds for episode in played])),
    )


def _seeking(episodes: Sequence[_Episode]) -> SeekingScores | None:
    return SeekingScores.of([episode.sought for episode in episodes if episode.sought])


def _accuracy(episodes: Sequence[_Episode], seed: int, resamples: int) -> Accuracy:
    by_task = _by_task((episode.task_id, episode.accuracy) for episode in episodes)
    means = np.array([np.mean(values) for values in by_task.values()])
    low, high = bootstrap_interval(means, seed, resamples)
    return Accuracy(float(means.mean()), low, high, len(means))


RESAMPLES, FEWEST_RESAMPLES, MOST_DRAWN = 2000, 200, 40_000_000
"""Of the bootstrap over films; with very many films fewer, so that no more are drawn in all."""


def interval_over_films(questions: np.ndarray, sums: np.ndarray, seed: int) -> tuple[float, float]:
    """The 95 % percentile-bootstrap interval of a mean over questions, films resampled, since questions about one film
    hang together; `questions` and `sums` [films] are how many each has, and what they come to."""
    random, films = np.random.default_rng(seed), len(questions)
    means = []
    for _ in range(max(FEWEST_RESAMPLES, min(RESAMPLES, MOST_DRAWN // films))):
        drawn = random.integers(0, films, films)
        means.append(sums[drawn].sum() / questions[drawn].sum())
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def bootstrap_interval(values: np.ndarray, seed: int, resamples: int = 2000) -> tuple[float, float]:
    """The 95 % percentile-bootstrap interval of the mean of `values` [n]."""
    random = np.random.default_rng(seed)
    means = [values[random.integers(0, len(values), len(values))].mean() for _ in range(resamples)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)
