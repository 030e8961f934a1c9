"""Two policies on the same questions."""

from itertools import product

import pytest

from evals.compare import Scored, compare, sign_test


def answered(accuracies: dict[str, float]) -> dict[str, Scored]:
    return {name: Scored(accuracy, film=name[0]) for name, accuracy in accuracies.items()}


def test_the_questions_that_both_have_are_compared() -> None:
    first = answered({"a1": 1.0, "a2": 0.0, "b1": 0.0, "c1": 1.0, "x": 1.0})
    second = answered({"a1": 0.0, "a2": 1.0, "b1": 0.5, "c1": 1.0, "y": 0.0, "z": 0.0})
    found = compare(first, second)
    assert (found.questions, found.only_first, found.only_second) == (4, 1, 2)
    assert (found.first, found.second) == (0.5, 0.625)
    assert (found.gained, found.lost) == (("a2", "b1"), ("a1",))
    assert found.low <= found.second - found.first <= found.high


def test_flips_that_hang_together_are_less_sure_than_others() -> None:
    before, after = {f"{i:02}": 0.0 for i in range(60)}, {f"{i:02}": float(i < 20) for i in range(60)}
    alone = compare(
        {name: Scored(value, name) for name, value in before.items()},
        {name: Scored(value, name) for name, value in after.items()},
    )
    together = compare(answered(before), answered(after))
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    assert alone.p == together.p < 1e-4


@pytest.mark.parametrize(("more", "less"), [(0, 0), (3, 3), (5, 1), (1, 5), (10, 0), (7, 4)])
def test_the_sign_test_is_a_count_of_coin_throws(more: int, less: int) -> None:
    flips = more + less
    uneven = sum(abs(2 * sum(throws) - flips) >= abs(more - less) for throws in product((0, 1), repeat=flips))
    assert sign_test(more, less) == pytest.approx(uneven / 2**flips)


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(ValueError, match="no question in common"):
        compare(answered({"a": 1.0}), answered({"b": 1.0}))
