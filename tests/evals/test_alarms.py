"""What makes an alarm ring, what does not, and what clears it."""

from collections.abc import Iterable

import pytest

from evals.alarms import FIRST, PARTS, WITHIN, Alarms

WEIGHTS = {"accuracy": 0.8, "format": 0.15, "parsimony": 0.05, "evidence": 0.1}


def rang(rows: Iterable[dict[str, float]], alarms: Alarms | None = None) -> list[tuple[int, str]]:
    """Step and name of each alarm."""
    alarms = alarms or Alarms(WEIGHTS)
    return [(alarm.step, alarm.name) for step, row in enumerate(rows, 1) for alarm in alarms.observe(step, row)]


def calls(values: Iterable[float]) -> list[dict[str, float]]:
    return [{"tool_calls": value} for value in values]


def entropy(values: Iterable[float]) -> list[dict[str, float]]:
    return [{"entropy": value} for value in values]


def test_calls_that_halve_within_ten_steps_ring_once_until_they_are_back() -> None:
    fall = [2.0] * 5 + [0.9] * 30
    assert rang(calls(fall)) == [(8, "tool_calls")], "three steps make a mean"
    assert rang(calls([*fall, *[1.9] * 5, *fall])) == [(8, "tool_calls"), (48, "tool_calls")]


@pytest.mark.parametrize(
    "values",
    [
        [2.0 * 0.95**step for step in range(40)],
        [0.1] * 5 + [0.0] * 10,
        [0.0] * 20,
        [2.0, 2.0, 0.5, 2.0, 2.0, 0.5, 2.0, 2.0],
    ],
    ids=["slowly", "were few", "no tools", "single steps"],
)
def test_calls_that_fall_slowly_or_were_none_do_not_ring(values: list[float]) -> None:
    assert rang(calls(values)) == []


@pytest.mark.parametrize("scale", [2.0, 0.02])
def test_entropy_below_a_tenth_of_what_it_began_with_rings(scale: float) -> None:
    begun = [scale] * FIRST
    assert rang(entropy([*begun, *[scale / 2] * 40])) == []
    assert rang(entropy([*begun, *[scale / 20] * 40])) == [(FIRST + 3, "entropy")]
    back = [*begun, *[scale / 20] * 5, *[scale / 7] * 5, *[scale / 3] * 5, *[scale / 20] * 5]
    assert [name for _, name in rang(entropy(back))] == ["entropy"] * 2, "a seventh is not back yet"


@pytest.mark.parametrize(("part", "metric"), list(PARTS.items()))
def test_a_part_of_the_reward_that_is_flat_rings_unless_it_is_at_its_most(part: str, metric: str) -> None:
    def rows(spread: float, mean: float, count: int) -> list[dict[str, float]]:
        return [{f"{part}_std_in_group": spread, metric: mean}] * count

    assert rang(rows(0.0, 0.5, WITHIN - 1)) == []
    assert rang(rows(0.0, 0.5, 3 * WITHIN)) == [(WITHIN, part)]
    assert rang(rows(0.0, 1.0, 3 * WITHIN)) == []
    assert rang([*rows(0.0, 0.5, 5), *rows(0.1, 0.5, 1), *rows(0.0, 0.5, 5)]) == []
    twice = [*rows(0.0, 0.0, WITHIN), *rows(0.2, 0.5, 1), *rows(0.0, 0.0, WITHIN)]
    assert rang(twice) == [(WITHIN, part), (2 * WITHIN + 1, part)]
    assert rang(rows(0.0, 0.5, 3 * WITHIN), Alarms({**WEIGHTS, part: 0.0})) == [], "it has no weight"


def test_a_step_without_figures_changes_nothing() -> None:
    rows = [*calls([2.0] * 5), {"version": 3.0}, *calls([0.9] * 5)]
    assert rang(rows) == [(9, "tool_calls")]
    alarms = Alarms(WEIGHTS)
    assert len(rang(rows, alarms)) == 1
    assert list(alarms.ringing) == ["tool_calls"]
