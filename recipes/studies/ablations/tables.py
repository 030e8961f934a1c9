"""Markdown tables of figures over several seeds. Pure."""

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

import numpy as np

from evals.score import bootstrap_interval

MISSING = "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    return [_line(head), "|---" * len(head) + "|", *map(_line, rows)]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"


def percent(share: float | None) -> str:
    """A share of 0 to 1 in percent."""
    return MISSING if share is None else f"{100 * share:.1f}"


def spread(values: Iterable[float | None], times: float = 100.0, digits: int = 1) -> str:
    """The mean of a figure over the seeds that have it, `times` as much, with its standard deviation where there are
    several."""
    found = [times * value for value in values if value is not None]
    if not found:
        return MISSING
    deviation = f" ± {stdev(found):.{digits}f}" if len(found) > 1 else ""
    return f"{fmean(found):.{digits}f}{deviation}"


def interval(gains: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """The mean gain in points over the questions of all seeds, and the ends of its 95 % interval; `gains` [seeds] of
    [questions], -1 to 1."""
    every = np.concatenate(gains)
    low, high = bootstrap_interval(every, seed=0)
    return 100 * float(every.mean()), 100 * low, 100 * high


def points(gains: Sequence[np.ndarray]) -> str:
    """The same in words: `+3.0 (+1.0 to +5.0)`."""
    mean, low, high = interval(gains)
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f})"
