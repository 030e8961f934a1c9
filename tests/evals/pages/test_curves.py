import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evals.pages.curves import Curve, line_chart, number, smooth, ticks


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_ticks_cover_the_values_with_few_even_steps(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assume(max(abs(low), abs(high)) > 1e-12 and (low == high or high - low > 1e-6 * max(abs(low), abs(high))))
    marks = ticks(low, high)
    span = marks[-1] - marks[0]
    assert marks[0] <= low + 1e-6 * span
    assert marks[-1] >= high - 1e-6 * span
    assert 2 <= len(marks) <= 7
    assert np.allclose(np.diff(marks), span / (len(marks) - 1))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.7125, "0.71"),
        (0.0025, "0.0025"),
        (12.34, "12.3"),
        (300, "300"),
        (1.5, "1.5"),
        (4e-5, "4e-5"),
        (-2.0, "-2"),
    ],
)
def test_figures_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_a_running_mean_leaves_a_constant_alone_and_does_not_lag_behind_a_line() -> None:
    assert np.allclose(smooth([3.0] * 9, 4), 3.0)
    line: Any = np.arange(21.0)
    assert np.allclose(smooth(line, 5)[2:-2], line[2:-2])


def test_a_chart_is_well_formed_svg_whose_alternative_text_tells_its_ends() -> None:
    curves = [Curve("accu<racy", range(30), np.linspace(0.25, 0.75, 30).tolist()), Curve("total", [0], [0.5])]
    svg = ET.fromstring(line_chart("Reward & parts", curves, (0.0, 1.0)))
    assert (
        svg.get("aria-label")
        == "Reward & parts over steps 0 to 29: accu<racy from 0.25 to 0.75; total from 0.5 to 0.5."
    )
    names = [text.text or "" for text in svg.iter("text") if "name" in (text.get("class") or "")]
    assert sorted(names) == ["accu<racy", "total"]


def test_a_point_lies_where_the_axes_say() -> None:
    svg = ET.fromstring(line_chart("x", [Curve("x", [0, 10], [0.0, 1.0])], (0.0, 1.0)))
    first, last = [(float(dot.attrib["cx"]), float(dot.attrib["cy"])) for dot in svg.iter("circle")]
    heights = sorted(
        float(path.attrib["d"].split()[1].split("H")[0]) for path in svg.iter("path") if path.get("class") == "grid"
    )
    assert first[0] < last[0]
    assert (first[1], last[1]) == (heights[-1], heights[0])
