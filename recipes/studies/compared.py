"""What `videoseeker compare` prints of two files of episodes, or of scored responses, about the same questions."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from env.trajectory import Trajectory, stream_trajectories
from evals.compare import Comparison, Scored, compare
from evals.score import accuracy_of

SHOWN = 20
"""Most flipped questions of each way that are printed."""


def print_comparison(first: str | Path, second: str | Path, console: Console) -> Comparison:
    """Compare two files of episodes and print it.

    Raises:
        TrajectoryError: a file cannot be used.
        ValueError: they have no question in common.
    """
    before, after = _by_task(first), _by_task(second)
    found = compare(_scored(before), _scored(after))
    gain, low, high = (100 * points for points in (found.second - found.first, found.low, found.high))
    console.print(
        f"{found.questions:,} questions: {100 * found.first:.1f} % -> {100 * found.second:.1f} %, {gain:+.1f} points, "
        f"95 % interval {low:+.1f} to {high:+.1f} with films resampled; {len(found.gained)} better, {len(found.lost)} "
        f"worse, p = {found.p:.2g} by McNemar's exact test",
        soft_wrap=True,
    )
    if found.only_first or found.only_second:
        console.print(f"left aside: {found.only_first} questions of the first alone, {found.only_second} of the second")
    for title, names in (("better", found.gained), ("worse", found.lost)):
        if names:
            console.print(_flipped(title, names, before, after))
    return found


def _by_task(path: str | Path) -> dict[str, list[Trajectory]]:
    by_task: defaultdict[str, list[Trajectory]] = defaultdict(list)
    for episode in stream_trajectories(path):
        by_task[episode.task_id].append(episode)
    return by_task


def _scored(by_task: dict[str, list[Trajectory]]) -> dict[str, Scored]:
    return {
        name: Scored(fmean(map(accuracy_of, episodes)), next((f.path for f in episodes[0].prompt_frames), name))
        for name, episodes in by_task.items()
    }


def _flipped(
    title: str, names: Sequence[str], before: dict[str, list[Trajectory]], after: dict[str, list[Trajectory]]
) -> Table:
    rest = f", the first {SHOWN} of {len(names)}" if len(names) > SHOWN else ""
    table = Table("question", "right", "first", "second", title=f"{title}{rest}", title_justify="left")
    for name in names[:SHOWN]:
        one, other = before[name][0], after[name][0]
        told = one.question.splitlines()[0] if one.question else name
        table.add_row(f"{told} ({name})", one.expected, one.answer or "-", other.answer or "-")
    return table
