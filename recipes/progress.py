"""What a person sees of a phase: a bar in a terminal; in a log a line as it begins, one at its end, a few between."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINES = 10
"""Lines between its first and its last that a phase of many steps prints where there is no terminal."""
FIRST_SIGN_S = 60.0
"""When a phase of one step first says there that it goes on, seconds; then after twice as long each time."""


_seconds: dict[str, float] = {}


def seconds_by_phase() -> dict[str, float]:
    """How long each phase took that ended in this process, seconds."""
    return {name: round(seconds, 1) for name, seconds in _seconds.items()}


class PhaseBar:
    """Progress of one phase."""

    def __init__(self, name: str, total: int, console: Console, progress: Progress | None) -> None:
        self._name, self._total, self._console, self._progress = name, total, console, progress
        self._task = progress.add_task(name, total=total, figures="") if progress else None
        self._started, self._printed = time.monotonic(), 0

    def step(self, done: int, figures: Mapping[str, float]) -> None:
        """So many of the total are done; `figures` are shown beside."""
        text = "  ".join(f"{name} {value:.3g}" for name, value in figures.items())
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, figures=text)
        elif done == self._total or done * LINES // self._total > self._printed:
            self._printed = done * LINES // self._total
            seconds = time.monotonic() - self._started
            self._console.print(f"{self._name} {done}/{self._total}  {text}  {seconds:.0f} s", highlight=False)


@contextmanager
def phase(name: str, total: int = 1, console: Console | None = None) -> Iterator[PhaseBar]:
    """A bar for the block; when the block ends, one line says how long it took."""
    console = console or Console()
    started = time.monotonic()
    if console.is_terminal:
        columns = (TextColumn("{task.description:24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        more = (TimeRemainingColumn(), TextColumn("{task.fields[figures]}"))
        with Progress(*columns, *more, console=console, transient=True) as progress:
            yield PhaseBar(name, total, console, progress)
    else:
        console.print(f"… {name}", highlight=False)
        with _signs_of_life(name, console) if total == 1 else nullcontext():
            yield PhaseBar(name, total, console, None)
    _seconds[name] = _seconds.get(name, 0.0) + time.monotonic() - started
    console.print(f"[green]✓[/] {name}  [dim]{time.monotonic() - started:.0f} s[/]", highlight=False)


@contextmanager
def _signs_of_life(name: str, console: Console) -> Iterator[None]:
    """Lines that say how long the block has taken so far, ever more seldom."""
    ended, started = threading.Event(), time.monotonic()

    def watch() -> None:
        wait_s = FIRST_SIGN_S
        while not ended.wait(wait_s):
            console.print(f"{name}: {time.monotonic() - started:.0f} s so far", highlight=False)
            wait_s *= 2

    thread = threading.Thread(target=watch, name="signs-of-life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
