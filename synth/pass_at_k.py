"""How hard tasks are for a policy, and which of them teach it something: the filter of the RL set by pass@k.

Invariant: pure functions of the outcomes; every task is counted once, and none is kept whose attempts are all right or
all wrong, for in such a group no attempt has an advantage.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Difficulty:
    """Which tasks were kept, and what became of the others."""

    kept: tuple[str, ...]
    """Ids, in the order of the outcomes."""
    counts: dict[str, int]
    """Number of tasks that are always right, always wrong, too easy (right now and then wrong, but with a mean accuracy
    not below the band), too hard, or kept, by these words."""


def by_difficulty(outcomes: Mapping[str, Sequence[float]], low: float = 0.0, high: float = 1.0) -> Difficulty:
    """Keep the tasks whose mean accuracy lies inside the band, `low < mean < high`.

    Args:
        outcomes: by task id, the accuracies of its k attempts, each 0 to 1.

    Raises:
        ValueError: not a band, a task without an attempt, or an accuracy outside 0 to 1.
    """
    if not 0.0 <= low < high <= 1.0:
        raise ValueError(f"a band of difficulty needs 0 <= low < high <= 1, not low {low} and high {high}")
    kept = []
    counts = dict.fromkeys(("always right", "always wrong", "too easy", "too hard", "kept"), 0)
    for task_id, accuracies in outcomes.items():
        if not accuracies:
            raise ValueError(f"task {task_id}: was never attempted, so its difficulty is unknown")
        if not all(0.0 <= accuracy <= 1.0 for accuracy in accuracies):
            raise ValueError(f"task {task_id}: an accuracy lies between 0 and 1; got {list(accuracies)}")
        mean = math.fsum(accuracies) / len(accuracies)
        if min(accuracies) == 1.0:
            found = "always right"
        elif max(accuracies) == 0.0:
            found = "always wrong"
        elif mean >= high:
            found = "too easy"
        elif mean <= low:
            found = "too hard"
        else:
            found = "kept"
            kept.append(task_id)
        counts[found] += 1
    return Difficulty(tuple(kept), counts)


def pass_at_k(right: int, attempts: int, k: int) -> float:
    """The chance that at least one of k attempts is right, estimated without bias from more of them.

    1 - C(attempts - right, k) / C(attempts, k) (Chen et al. 2021, "Evaluating Large Language Models Trained on Code",
    equation 1).

    Raises:
        ValueError: not 0 <= right <= attempts, or not 1 <= k <= attempts.
    """
    if not (0 <= right <= attempts and 1 <= k <= attempts):
        raise ValueError(f"no pass@{k} of {right} right in {attempts} attempts; 1 <= k <= attempts >= right >= 0")
    return 1.0 - math.comb(attempts - right, k) / math.comb(attempts, k)
