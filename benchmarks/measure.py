"""What all benchmarks share: timing side by side, tables for people, and one line for machines."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from rich.console import Console
from rich.table import Table

CONSOLE = Console()


Ratio = dict[str, float]
"""Median, and the middle half's ends: `median`, `from`, `to`."""


def seconds(run: Callable[[], object]) -> float:
    """Take the wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def side_by_side(
    rivals: Mapping[str, Callable[[int], object]], repeats: int, *, first: int = 0
) -> dict[str, list[float]]:
    """Take the seconds of every rival's every repeat, run by turns, so that a noisy moment meets all of them.

    Each is called with the number of the repeat, from `first`; the order rotates.
    """
    names = list(rivals)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for repeat in range(first, first + repeats):
        for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
            taken[name].append(seconds(partial(rivals[name], repeat)))
    return taken


def ratio(first: Sequence[float], second: Sequence[float]) -> Ratio:
    """Divide the first by the second, repeat by repeat."""
    ratios = sorted(a / b for a, b in zip(first, second, strict=True))
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {"median": round(middle, 3), "from": round(low, 3), "to": round(high, 3)}


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table."""
    shown = Table(title=title, title_justify="left")
    for i, column in enumerate(columns):
        shown.add_column(column, justify="right" if i else "left")
    for row in rows:
        shown.add_row(*(f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    CONSOLE.print(shown)


def finish(name: str, ratios: Mapping[str, object], figures: Mapping[str, object]) -> None:
    """Print the last line: the benchmark as one JSON object."""
    cpus = len(os.sched_getaffinity(0))
    machine = {"cpus": cpus, "platform": platform.platform(), "python": platform.python_version()}
    print(json.dumps({"benchmark": name, "machine": machine, "ratios": ratios, "figures": figures}))
