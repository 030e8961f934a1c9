import itertools
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.pass_at_k import by_difficulty, pass_at_k

OUTCOMES = st.dictionaries(st.text(max_size=4), st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=1, max_size=8))


@given(OUTCOMES, st.floats(0, 0.4), st.floats(0.6, 1))
def test_every_task_is_counted_once_and_the_kept_lie_in_the_band(
    outcomes: dict[str, list[float]], low: float, high: float
) -> None:
    found = by_difficulty(outcomes, low, high)
    assert sum(found.counts.values()) == len(outcomes)
    assert list(found.kept) == [
        task for task, attempts in outcomes.items() if low < sum(attempts) / len(attempts) < high
    ]
    assert found.counts["always right"] == sum(set(attempts) == {1.0} for attempts in outcomes.values())
    assert found.counts["always wrong"] == sum(set(attempts) == {0.0} for attempts in outcomes.values())


@given(OUTCOMES)
def test_by_default_all_are_kept_but_the_always_right_and_the_always_wrong(outcomes: dict[str, list[float]]) -> None:
    found = by_difficulty(outcomes)
    assert found.counts["too easy"] == found.counts["too hard"] == 0


def test_the_table_tells_what_became_of_the_tasks() -> None:
    outcomes: dict[str, list[float]] = {
        "a": [1, 1],
        "b": [0, 0],
        "c": [1, 0.5],
        "d": [0, 0.5],
        "e": [1, 0],
        "f": [0.5, 0.5],
        "g": [0],
    }
    found = by_difficulty(outcomes, low=0.25, high=0.75)
    assert found.kept == ("e", "f")
    assert found.counts == {"always right": 1, "always wrong": 2, "too easy": 1, "too hard": 1, "kept": 2}


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_pass_at_k_is_the_share_of_all_draws_of_k_with_a_right_one(attempts: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(attempts)))
    draws = list(itertools.combinations(attempts, k))
    expected = Fraction(sum(any(draw) for draw in draws), len(draws))
    assert pass_at_k(sum(attempts), len(attempts), k) == pytest.approx(float(expected), abs=1e-12)


@given(st.integers(1, 500), st.data())
def test_pass_at_k_grows_with_k_and_with_the_number_right(attempts: int, data: st.DataObject) -> None:
    right, k = data.draw(st.integers(0, attempts)), data.draw(st.integers(1, attempts))
    value = pass_at_k(right, attempts, k)
    assert 0.0 <= value <= 1.0
    assert pass_at_k(right, attempts, 1) == pytest.approx(right / attempts)
    assert k == 1 or value >= pass_at_k(right, attempts, k - 1)
    assert right == 0 or value >= pass_at_k(right - 1, attempts, k)


@pytest.mark.parametrize(("right", "attempts", "k"), [(3, 2, 1), (-1, 2, 1), (1, 2, 3), (1, 2, 0), (0, 0, 0)])
def test_pass_at_k_of_impossible_numbers_is_an_error(right: int, attempts: int, k: int) -> None:
    with pytest.raises(ValueError, match="no pass@"):
        pass_at_k(right, attempts, k)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (({"t1": []},), "task t1: was never attempted"),
        (({"t1": [0.5, 1.5]},), "task t1: an accuracy lies between 0 and 1"),
        (({"t1": [float("nan")]},), "task t1: an accuracy lies between 0 and 1"),
        (({}, 0.5, 0.5), "a band of difficulty needs"),
        (({}, -0.1), "a band of difficulty needs"),
    ],
)
def test_what_is_no_outcome_or_no_band_is_an_error(arguments: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        by_difficulty(*arguments)
