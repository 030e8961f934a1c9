"""Training curves as inline SVG. Pure.

The drawings carry no colours of their own: their classes are styled by the page, in light and in dark.
"""

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 340, 190
_LEFT, _TOP, _BOTTOM = 40, 10, 24
COLOURS = 4
"""Classes `s0` and on that a page gives colours to."""
FEW = 8
"""Curves of up to this many points show each as a dot."""
_LABEL_GAP = 13
"""Least distance between two labels, in units of the drawing."""


@dataclass(frozen=True)
class Curve:
    """One quantity over the steps."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]


Scale = Callable[[float], float]
"""Data to drawing coordinates."""


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers that cover `low` to `high`, in at most 4 steps of 1, 2, 2.5 or 5 times a power of ten."""
    return [float(mark) for mark in MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]


def smooth(values: Sequence[float], window: int) -> np.ndarray:
    """The running mean over `window` values centred on each, over fewer near the ends, [n]."""
    kernel = np.ones(window)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def smoothing(points: int) -> int:
    """Steps that one point of the thick line averages: a twelfth of the curve."""
    return max(1, round(points / 12))


def number(value: float) -> str:
    """A figure as short as it can be read: 0.71, 12.3, 4e-5."""
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e5:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    digits = 1 - math.floor(math.log10(abs(value))) if abs(value) < 1 else (2 if abs(value) < 10 else 1)
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def line_chart(name: str, curves: Sequence[Curve], limits: tuple[float, float] | None = None) -> str:
    """The SVG of some curves over the same steps: each step thin, the running mean thick, labelled at its end.

    Args:
        name: Unique in the page; the alternative text starts with it.
        curves: At least one, each with at least one finite value.
        limits: Range of the vertical axis; None takes the data's, zero included.
    """
    right = 12 if len(curves) == 1 else 76
    values = [value for curve in curves for value in curve.values]
    low, high = limits or (min(0.0, *values), max(0.0, *values))
    marks = ticks(low, high)
    y = _scale(marks[0], marks[-1], HEIGHT - _BOTTOM, _TOP)
    steps = [step for curve in curves for step in curve.steps]
    x = _scale(min(steps), max(steps) if max(steps) > min(steps) else min(steps) + 1, _LEFT, WIDTH - right)
    body = [_grid(marks, y, right), _step_axis(min(steps), max(steps), x)]
    body += [_line(curve, i, x, y) for i, curve in enumerate(curves)]
    if len(curves) > 1:
        body += _labels(curves, y)
    words = "; ".join(f"{c.label} from {number(c.values[0])} to {number(c.values[-1])}" for c in curves)
    alt = html.escape(f"{name} over steps {number(min(steps))} to {number(max(steps))}: {words}.")
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{alt}">{"".join(body)}</svg>'


@dataclass(frozen=True)
class Point:
    """One measured thing of a scatter chart."""

    label: str
    x: float
    y: float
    low: float
    high: float
    """Ends of the interval of y."""
    place: int
    """What it is called in the drawing, from 1."""


def scatter_chart(name: str, points: Sequence[Point], unit: str) -> str:
    """The SVG of shares, 0 to 1, against something else; each point has its number.

    Args:
        name: Unique in the page; the alternative text starts with it.
        points: At least one.
        unit: What is at the horizontal axis.
    """
    marks = ticks(0.0, max(1e-6, *(point.x for point in points)))
    x, y = _scale(marks[0], marks[-1], _LEFT, WIDTH - 18), _scale(0.0, 1.0, HEIGHT - _BOTTOM, _TOP)
    body = [_grid([0.0, 0.25, 0.5, 0.75, 1.0], y, 18)]
    body += [f'<text class="tick" x="{x(m) - 3:.1f}" y="{HEIGHT - 6}">{number(m)}</text>' for m in marks[:-1]]
    body.append(f'<text class="tick end" x="{WIDTH - 4}" y="{HEIGHT - 6}">{html.escape(unit)}</text>')
    for point in points:
        at, of = f"{x(point.x):.1f}", f"s{(point.place - 1) % COLOURS}"
        body.append(f'<path class="line {of}" d="M{at} {y(point.low):.1f}V{y(point.high):.1f}"/>')
        body.append(f'<circle class="dot {of}" cx="{at}" cy="{y(point.y):.1f}" r="4"/>')
        body.append(f'<text class="name {of}" x="{x(point.x) + 7:.1f}" y="{y(point.y) + 4:.1f}">{point.place}</text>')
    words = "; ".join(f"{p.label} {number(100 * p.y)} % at {number(p.x)}" for p in points)
    alt = html.escape(f"{name}: {words}.")
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{alt}">{"".join(body)}</svg>'


def _grid(marks: Sequence[float], y: Scale, right: int) -> str:
    lines = [f'<path class="grid" d="M{_LEFT} {y(m):.1f}H{WIDTH - right}"/>' for m in marks]
    texts = [f'<text class="tick end" x="{_LEFT - 7}" y="{y(m) + 3.5:.1f}">{number(m)}</text>' for m in marks]
    return "".join(lines + texts)


def _step_axis(first: float, last: float, x: Scale) -> str:
    at = f'y="{HEIGHT - 6}"'
    text = f'<text class="tick" x="{x(first):.1f}" {at}>step {number(first)}</text>'
    return text if first == last else f'{text}<text class="tick end" x="{x(last):.1f}" {at}>{number(last)}</text>'


def _line(curve: Curve, index: int, x: Scale, y: Scale) -> str:
    window = smoothing(len(curve.values))
    if len(curve.values) <= FEW:
        points = zip(curve.steps, curve.values, strict=True)
        dots = [f'<circle class="dot s{index}" cx="{x(s):.1f}" cy="{y(v):.1f}" r="3"/>' for s, v in points]
        return f'<path class="line s{index}" d="{_path(curve.steps, curve.values, x, y)}"/>' + "".join(dots)
    mean = f'<path class="line s{index}" d="{_path(curve.steps, smooth(curve.values, window), x, y)}"/>'
    raw = f'<path class="raw s{index}" d="{_path(curve.steps, curve.values, x, y)}"/>' if window > 1 else ""
    return raw + mean


def _path(steps: Sequence[float], values: Sequence[float] | np.ndarray, x: Scale, y: Scale) -> str:
    return "M" + "L".join(f"{x(s):.1f} {y(v):.1f}" for s, v in zip(steps, values, strict=True))


def _labels(curves: Sequence[Curve], y: Scale) -> list[str]:
    """The curves' names at their ends, from the top down, pushed apart where they would meet."""
    ends = [y(float(smooth(c.values, smoothing(len(c.values)))[-1])) for c in curves]
    order = sorted(range(len(curves)), key=lambda i: ends[i])
    room = HEIGHT - _BOTTOM - _LABEL_GAP * (len(curves) - 1)
    texts, above = [], -math.inf
    for rank, i in enumerate(order):
        at = min(max(ends[i], above + _LABEL_GAP), room + _LABEL_GAP * rank)
        above = at
        texts.append(f'<text class="name s{i}" x="{WIDTH - 70}" y="{at + 4:.1f}">{html.escape(curves[i].label)}</text>')
    return texts
