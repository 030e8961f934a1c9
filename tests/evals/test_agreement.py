"""Agreement of a judge with labels."""

import pytest

from evals.agreement import Agreement


def test_agreement_beyond_chance() -> None:
    labels = [1.0] * 20 + [0.0] * 20
    found = Agreement.of(labels, [1.0] * 15 + [0.0] * 5 + [0.0] * 18 + [1.0] * 2)
    assert found.agreed == pytest.approx(33 / 40)
    chance = (20 * 17 + 20 * 23) / 40**2
    assert found.kappa == pytest.approx((33 / 40 - chance) / (1 - chance))
    assert found.too_high == pytest.approx(2 / 40)
    assert found.confusion == {(1.0, 1.0): 15, (1.0, 0.0): 5, (0.0, 0.0): 18, (0.0, 1.0): 2}


def test_one_who_always_says_the_same_is_at_chance() -> None:
    assert Agreement.of([1.0, 0.0, 0.5, 1.0], [1.0] * 4).kappa == 0.0
    assert Agreement.of([1.0, 1.0], [1.0, 1.0]).kappa == 1.0


def test_half_a_point_too_many_is_too_high() -> None:
    assert Agreement.of([0.0, 0.5, 1.0], [0.5, 0.5, 0.5]).too_high == pytest.approx(1 / 3)


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="no labelled pairs"):
        Agreement.of([], [])
