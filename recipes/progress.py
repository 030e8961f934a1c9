"""What a person sees while a stage runs: a bar in a terminal, a line now and then in a log."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINES = 10
"""Lines that a stage prints where there is no terminal."""


class StageBar:
    """Progress of one stage."""

    def __init__(self, name: str, total: int, console: Console, progress: Progress | None) -> None:
        self._name = name
        self._total = total
        self._console = console
        self._progress = progress
        self._task = progress.add_task(name, total=total, figures="") if progress else None
        self._started = time.monotonic()

    def step(self, done: int, figures: Mapping[str, float]) -> None:
        """So many of the total are done; `figures` are shown beside."""
        text = "  ".join(f"{name} {value:.3g}" for name, value in figures.items())
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, figures=text)
        elif done == self._total or done * LINES // self._total > (done - 1) * LINES // self._total:
            seconds = time.monotonic() - self._started
            self._console.print(f"{self._name} {done}/{self._total}  {text}  {seconds:.0f} s", highlight=False)


@contextmanager
def stage(name: str, total: int = 1, console: Console | None = None) -> Iterator[StageBar]:
    """A bar for the block; when the block ends, one line says how long it took."""
    console = console or Console()
    started = time.monotonic()
    if console.is_terminal:
        columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        more = (TimeRemainingColumn(), TextColumn("{task.fields[figures]}"))
        with Progress(*columns, *more, console=console, transient=True) as progress:
            yield StageBar(name, total, console, progress)
    else:
        yield StageBar(name, total, console, None)
    console.print(f"[green]✓[/] {name}  [dim]{time.monotonic() - started:.0f} s[/]", highlight=False)
