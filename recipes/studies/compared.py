"""What `videoseeker compare` says of two sets of episodes about the same questions: files of episodes, or the folders
of a benchmark's answers.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from env.task import load_tasks
from env.trajectory import Trajectory, stream_trajectories
from evals.answers import ENDING, TASKS, Answered, AnswerLog
from evals.compare import Comparison, Scored, compare
from evals.pages.browser import RunEpisodes, Source, page
from evals.score import accuracy_of
from storage.files import write_text

SHOWN = 20
"""Most flipped questions of each way that are printed."""


def print_comparison(
    first: str | Path, second: str | Path, console: Console, side_by_side: Path | None = None
) -> Comparison:
    """Compare two sets of episodes and print it; the flipped questions with their episodes to the page `side_by_side`.

    Raises:
        TrajectoryError, TaskError: a set cannot be used.
        ValueError: they have no question in common.
    """
    before, after = _by_task(Path(first)), _by_task(Path(second))
    found = compare(_scored(Path(first), before), _scored(Path(second), after))
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
    if side_by_side is not None:
        both = [*_sources(f"1: {first}", Path(first)), *_sources(f"2: {second}", Path(second))]
        flipped = RunEpisodes(both, {*found.gained, *found.lost})
        write_text(side_by_side, page(f"{first} and {second}", flipped, most=max(1, len(flipped.entries))))
        console.print(f"side by side: {side_by_side}", soft_wrap=True)
    return found


def _sources(name: str, path: Path) -> list[Source]:
    return [Source(name, file) for file in (sorted(path.glob(f"*{ENDING}")) if path.is_dir() else [path])]


def _by_task(path: Path) -> dict[str, list[Trajectory]]:
    by_task: defaultdict[str, list[Trajectory]] = defaultdict(list)
    of_benchmark = (one.episode for one in _answered(path)) if path.is_dir() else None
    for episode in of_benchmark or stream_trajectories(path):
        if episode is not None:
            by_task[episode.task_id].append(episode)
    return by_task


def _answered(folder: Path) -> Iterator[Answered]:
    """What became of a benchmark's questions."""
    return AnswerLog(folder).answered(load_tasks(folder.parent.parent / TASKS))


def _scored(path: Path, by_task: dict[str, list[Trajectory]]) -> dict[str, Scored]:
    failed = [one.task for one in _answered(path) if one.episode is None] if path.is_dir() else []
    return {task.id: Scored(0.0, task.video) for task in failed} | {
        name: Scored(fmean(map(accuracy_of, episodes)), next((f.path for f in episodes[0].prompt_frames), name))
        for name, episodes in by_task.items()
    }


def _flipped(
    title: str, names: Sequence[str], before: dict[str, list[Trajectory]], after: dict[str, list[Trajectory]]
) -> Table:
    rest = f", the first {SHOWN} of {len(names)}" if len(names) > SHOWN else ""
    table = Table("question", "right", "first", "second", title=f"{title}{rest}", title_justify="left")
    for name in names[:SHOWN]:
        one, other = (next(iter(episodes.get(name, ())), None) for episodes in (before, after))
        known = one or other
        assert known is not None, "what flipped was answered once"
        told = known.question.splitlines()[0] if known.question else name
        answers = (episode.answer or "-" if episode else "-" for episode in (one, other))
        table.add_row(f"{told} ({name})", known.expected, *answers)
    return table
