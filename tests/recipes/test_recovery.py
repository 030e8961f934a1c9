"""How often a run goes on after its parts have failed."""

from collections.abc import Callable

import pytest

from actors.errors import EngineError, RolloutError
from configs.training import GrpoConfig
from learner.ranks.group import RanksError
from learner.weights.engines import PublishError
from recipes.recovery import FAILURES, Recovery


def works() -> str:
    return "step-000004"


def fails(*errors: Exception) -> Callable[[], str]:
    """A rebuild that fails with these, one after the other, and then succeeds."""
    left = list(errors)

    def rebuild() -> str:
        if left:
            raise left.pop(0)
        return "the start"

    return rebuild


def recovery(most: int, window: int) -> Recovery:
    return Recovery(GrpoConfig(max_rebuilds=most, rebuild_window=window))


@pytest.mark.parametrize(
    "failure", [RanksError("died"), RolloutError("late"), EngineError("gone"), PublishError(3, {0: "failed"})]
)
def test_rebuilds_count_until_the_run_is_a_window_past_them(failure: Exception) -> None:
    assert isinstance(failure, FAILURES)
    run = recovery(2, 10)
    for step in (5, 14, 15, 24, 25):
        run.recover(failure, step, works)
    with pytest.raises(type(failure)) as raised:
        run.recover(failure, 25, works)
    assert raised.value is failure


def test_a_run_that_goes_back_and_fails_earlier_has_none_more() -> None:
    run = recovery(2, 10)
    run.recover(RanksError("died"), 25, works)
    run.recover(RanksError("died"), 12, works)
    with pytest.raises(RanksError):
        run.recover(RanksError("died"), 20, works)


def test_a_rebuild_that_fails_is_tried_again_and_counts(caplog: pytest.LogCaptureFixture) -> None:
    run = recovery(3, 10)
    run.recover(EngineError("engine: gone"), 5, fails(RanksError("load: rank 0 died")))
    assert "engine: gone; then, while it was mended: load: rank 0 died" in caplog.text
    assert "load: rank 0 died; the run goes on from the start" in caplog.text
    with pytest.raises(RolloutError, match="late"):
        run.recover(RanksError("died"), 6, fails(RolloutError("late"), EngineError("gone")))


def test_what_other_ranks_would_meet_too_ends_the_run_at_once() -> None:
    refusal = RanksError("refused", refused=True)
    with pytest.raises(RanksError, match="refused"):
        recovery(3, 10).recover(refusal, 1, works)
    with pytest.raises(RanksError, match="refused"):
        recovery(3, 10).recover(EngineError("gone"), 1, fails(refusal))


def test_other_errors_of_a_rebuild_are_not_tried_again() -> None:
    with pytest.raises(ValueError, match="dtype"):
        recovery(3, 10).recover(EngineError("gone"), 1, fails(ValueError("dtype")))
