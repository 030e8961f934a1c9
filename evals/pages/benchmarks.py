"""The page of published benchmarks as pictures: accuracy beside what others published, by dimension and length, against
calls and frames, where the time goes, and questions that were answered wrongly. One HTML file that needs no other.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from env.trajectory import Trajectory
from evals.benchmark import BenchmarkScores, Results
from evals.pages.curves import Point, number, scatter_chart
from evals.pages.filmstrip import Film, errors_shown_by_calls, film
from evals.pages.report import DIMENSIONS, percent
from evals.published_results import PUBLISHED_RESULTS
from evals.tally import GROUPS, Share
from pages.rendering import render
from storage.files import write_text

TEMPLATE = Path(__file__).with_name("benchmarks.html")
EFFORTS = {"calls": "tool calls", "frames": "frames", "seconds": "seconds"}
"""What accuracy is set against: a field of the scores, and its name on the page."""


@dataclass(frozen=True)
class Row:
    """One policy and mode."""

    label: str
    scores: BenchmarkScores
    times: tuple[tuple[str, float, float], ...]
    """What takes how many seconds an episode, and its percent of the slowest row."""


@dataclass(frozen=True)
class Section:
    """One benchmark."""

    name: str
    rows: Sequence[Row]
    published: Mapping[str, float]
    """Accuracy of others, percent."""
    groups: Sequence[tuple[str, Sequence[tuple[str, Sequence[Share | None]]]]]
    """By what the scores are told apart, its values with the share of each row."""
    scatters: Sequence[tuple[str, str]]
    """Title and SVG."""
    wrong: Sequence[Film]


def write_benchmarks(path: Path, results: Results, wrong: Mapping[str, Sequence[Trajectory]]) -> None:
    """Write the page; `wrong` are episodes to be shown of each benchmark, which were answered wrongly."""
    sections = [_section(name, scores, wrong.get(name, ())) for name, scores in results.items() if scores]
    values = {"sections": sections, "names": DIMENSIONS, "errors_shown_by_calls": errors_shown_by_calls}
    write_text(path, render(TEMPLATE, values, {"percent": percent, "number": number}))


def _section(name: str, scores: Mapping[tuple[str, str], BenchmarkScores], wrong: Sequence[Trajectory]) -> Section:
    slowest = max(1e-9, *(_total(one) for one in scores.values()))
    rows = [Row(f"{policy}, {mode}", one, _times(one, slowest)) for (policy, mode), one in scores.items()]
    groups = []
    for key in GROUPS:
        values = sorted({value for row in rows for value in row.scores.groups.get(key, {})})
        if len(values) > 1:
            shares = [(value, [row.scores.groups.get(key, {}).get(value) for row in rows]) for value in values]
            groups.append((key.replace("_", " "), shares))
    return Section(
        name, rows, PUBLISHED_RESULTS.get(name, {}), groups, _scatters(name, rows), [film(each) for each in wrong]
    )


def _total(scores: BenchmarkScores) -> float:
    return max(scores.seconds, scores.tool_seconds) + scores.judge_seconds


def _times(scores: BenchmarkScores, slowest: float) -> tuple[tuple[str, float, float], ...]:
    parts = {
        "policy": max(0.0, scores.seconds - scores.tool_seconds),
        "tools": scores.tool_seconds,
        "judge": scores.judge_seconds,
    }
    return tuple((what, seconds, 100 * seconds / slowest) for what, seconds in parts.items())


def _scatters(name: str, rows: Sequence[Row]) -> list[tuple[str, str]]:
    drawn = []
    for field, unit in EFFORTS.items():
        points = []
        for place, row in enumerate(rows, 1):
            low, high = row.scores.by_film
            if not (row.scores.frames and math.isfinite(getattr(row.scores, field))):
                continue
            points.append(Point(row.label, getattr(row.scores, field), row.scores.accuracy.mean, low, high, place))
        if not points:
            continue
        drawn.append((f"Accuracy by {unit}", scatter_chart(f"{name}, accuracy by {unit} an episode", points, unit)))
    return drawn
